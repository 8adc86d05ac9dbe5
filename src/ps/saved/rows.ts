// The rows of a saved table that an export holds, with the columns that it wants, in the order of the files.
import { CheckpointError, type SavedTable, type TableChunk, type TableColumn } from "../../checkpoint/index.ts";
import type { SaveMode } from "../requests.ts";
import { statisticsColumns } from "../scans.ts";
import type { TablePart, WholeTable } from "./parts.ts";
import { isFiltered, type RowStatistics, rowFilter, type SaveRules } from "./save-rules.ts";

const CHUNK_ROWS = 65_536;

export interface RowsRequest {
  readonly mode: SaveMode;
  readonly rules: SaveRules;
  /** Of the table's columns and of the statistics. */
  readonly columns: readonly TableColumn[];
}

const isStatistic = (name: string): boolean => (statisticsColumns as readonly string[]).includes(name);

/**
 * The columns that names mean. Default: the weights of all fields.
 * @throws CheckpointError for what there is not
 */
export function chosenColumns(path: string, table: WholeTable, names?: readonly string[]): TableColumn[] {
  if (names === undefined) return table.columns.filter(({ name }) => !name.includes("."));
  const statistics = table.hasStatistics ? statisticsColumns.map((name) => ({ name, width: 1 })) : [];
  const all = [...table.columns, ...statistics];
  return [...new Set(names)].map((name) => {
    const column = all.find((each) => each.name === name);
    if (column !== undefined) return column;
    const known = all.map((each) => each.name).join(", ");
    throw new CheckpointError(path, `table "${table.name}" has no column "${name}"; it has ${known}`);
  });
}

/** Chunks are only valid until the next one is asked for. */
export async function* readRows(path: string, table: WholeTable, request: RowsRequest): AsyncGenerator<TableChunk> {
  const { mode, columns } = request;
  const needed = isFiltered(mode) || columns.some(({ name }) => isStatistic(name));
  if (needed && !table.hasStatistics) {
    throw new CheckpointError(
      path,
      `the rows of table "${table.name}" have no statistics, which mode "${mode}" goes by; export all, or train with an accessor`,
    );
  }
  for (const part of table.parts) {
    if (needed) yield* withStatistics(path, part, request);
    else yield* plainRows(part.rows, columns);
  }
}

/** How many rows there are; of a mode that goes by statistics they are counted. */
export async function countRows(path: string, table: WholeTable, request: RowsRequest): Promise<number> {
  return isFiltered(request.mode) ? lengthOf(readRows(path, table, { ...request, columns: [] })) : table.rows;
}

export async function lengthOf(chunks: AsyncIterable<TableChunk>): Promise<number> {
  let rows = 0;
  for await (const chunk of chunks) rows += chunk.rows;
  return rows;
}

export async function* plainRows(table: SavedTable, columns: readonly TableColumn[]): AsyncGenerator<TableChunk> {
  const names = columns.map(({ name }) => name);
  const order = namesIn(table, names);
  for await (const { rows, keys, columns: read } of table.chunks(CHUNK_ROWS, { columns: names })) {
    yield { rows, keys, columns: names.map((name) => read[order.indexOf(name)]!) };
  }
}

/** Chunks have columns in the table's order. */
const namesIn = (table: SavedTable, names: readonly string[]): string[] =>
  table.columns.map(({ name }) => name).filter((name) => names.includes(name));

async function* withStatistics(
  path: string,
  { rows: table, statistics }: TablePart,
  { mode, rules, columns }: RowsRequest,
): AsyncGenerator<TableChunk> {
  const own = columns.map(({ name }) => name).filter((name) => !isStatistic(name));
  const order = namesIn(table, own);
  const keep = rowFilter(mode, rules);
  const joined = new StatisticsOfRows(path, statistics!);
  try {
    for await (const { rows, keys, columns: read } of table.chunks(CHUNK_ROWS, { columns: own })) {
      const found = await joined.of(keys);
      if (mode === "daily") for (const [i, days] of found.unseen.entries()) found.unseen[i] = days + 1;
      const wanted = columns.map(({ name, width }) => {
        const values = isStatistic(name) ? found[name as keyof RowStatistics] : read[order.indexOf(name)]!;
        return { width, values };
      });
      const kept = isFiltered(mode) ? compact(rows, (row) => keep(found, row), keys, wanted) : rows;
      yield {
        rows: kept,
        keys: keys.subarray(0, kept),
        columns: wanted.map(({ width, values }) => values.subarray(0, kept * width)),
      };
    }
  } finally {
    await joined.close();
  }
}

/** Moves the rows that are kept to the front; returns how many. Neighbours move together. */
function compact(
  rows: number,
  keep: (row: number) => boolean,
  keys: BigUint64Array,
  columns: readonly { readonly width: number; readonly values: Float32Array }[],
): number {
  let kept = 0;
  for (let row = 0; row < rows; ) {
    if (!keep(row)) {
      row++;
      continue;
    }
    const first = row;
    do row++;
    while (row < rows && keep(row));
    keys.copyWithin(kept, first, row);
    for (const { width, values } of columns) values.copyWithin(kept * width, first * width, row * width);
    kept += row - first;
  }
  return kept;
}

/** Finds the statistics of rows: both come in ascending order of keys, and every row has statistics. */
class StatisticsOfRows {
  readonly #path: string;
  readonly #chunks: AsyncIterator<TableChunk>;
  readonly #columns: readonly number[];
  #chunk: TableChunk | undefined;
  #at = 0;

  constructor(path: string, table: SavedTable) {
    this.#path = path;
    this.#columns = statisticsColumns.map((name) => table.columns.findIndex((column) => column.name === name));
    this.#chunks = table.chunks(CHUNK_ROWS)[Symbol.asyncIterator]();
  }

  async of(keys: BigUint64Array): Promise<RowStatistics> {
    const [show, click, unseen, delta] = this.#columns.map(() => new Float32Array(keys.length)) as [
      Float32Array,
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const out = [show, click, unseen, delta];
    for (let row = 0; row < keys.length; row++) {
      const key = keys[row]!;
      while (this.#chunk === undefined || this.#chunk.keys[this.#at]! < key) {
        if (this.#chunk !== undefined && ++this.#at < this.#chunk.rows) continue;
        const next = await this.#chunks.next();
        if (next.done === true) throw this.#missing(key);
        this.#chunk = next.value;
        this.#at = 0;
      }
      if (this.#chunk.keys[this.#at] !== key) throw this.#missing(key);
      for (const [i, column] of this.#columns.entries()) out[i]![row] = this.#chunk.columns[column]![this.#at]!;
    }
    return { show, click, unseen, delta };
  }

  #missing(key: bigint): CheckpointError {
    return new CheckpointError(
      this.#path,
      `the row of key ${key} has no statistics, or rows are not in order; save again`,
    );
  }

  async close(): Promise<void> {
    await this.#chunks.return?.();
  }
}
