// A saved table with deltas laid over it, oldest first: rows of a delta take the place of those before, or join them.
import { CheckpointError, type SavedTable, type TableChunk, type TableColumn } from "../../checkpoint/index.ts";
import type { SavedTables, WholeTable } from "./parts.ts";
import { plainRows } from "./rows.ts";

const CHUNK_ROWS = 65_536;

/**
 * The table of each delta, to be laid over one.
 * @throws CheckpointError where one has other columns
 */
export function deltasOf(
  table: WholeTable,
  columns: readonly TableColumn[],
  deltas: readonly SavedTables[],
): WholeTable[] {
  return deltas.map((model) => {
    const delta = model.table(table.name);
    for (const { name, width } of columns) {
      const found = delta.columns.find((column) => column.name === name);
      if (found?.width === width) continue;
      const has = delta.columns.map((column) => `${column.name} [${column.width}]`).join(", ");
      throw new CheckpointError(model.path, `table "${table.name}" has no column ${name} [${width}]; it has ${has}`);
    }
    return delta;
  });
}

/** Rows in ascending order of keys within each partition; chunks are only valid until the next one is asked for. */
export async function* overlaidRows(
  table: WholeTable,
  deltas: readonly WholeTable[],
  columns: readonly TableColumn[],
): AsyncGenerator<TableChunk> {
  const tables = [table, ...deltas];
  const layers = tables.map(({ parts }) => parts.map(({ rows }) => rows));
  const partitions = layers[0]!.length;
  if (tables.every(({ parts, partitioned }) => partitioned && parts.length === partitions)) {
    for (let part = 0; part < partitions; part++) {
      const own = layers.map((layer) => layer[part]!);
      yield* merged(
        own.map((rows, layer) => new Source(rows, columns, layer)),
        columns,
      );
    }
    return;
  }
  const sources = layers.flatMap((parts, layer) => parts.map((rows) => new Source(rows, columns, layer)));
  yield* merged(sources, columns);
}

/** Rows of one file after the other, in ascending order of keys. */
class Source {
  readonly layer: number;
  readonly #chunks: AsyncGenerator<TableChunk>;
  chunk: TableChunk | undefined;
  at = 0;

  constructor(table: SavedTable, columns: readonly TableColumn[], layer: number) {
    this.layer = layer;
    this.#chunks = plainRows(table, columns);
  }

  get key(): bigint {
    return this.chunk!.keys[this.at]!;
  }

  /** Whether another chunk must be read before there is a key. */
  get empty(): boolean {
    return this.chunk === undefined || this.at === this.chunk.rows;
  }

  /** False at the end. */
  async read(): Promise<boolean> {
    do {
      const next = await this.#chunks.next();
      if (next.done === true) return false;
      this.chunk = next.value;
    } while (this.chunk.rows === 0);
    this.at = 0;
    return true;
  }

  async close(): Promise<void> {
    await this.#chunks.return(undefined);
  }
}

async function* merged(all: readonly Source[], columns: readonly TableColumn[]): AsyncGenerator<TableChunk> {
  const keys = new BigUint64Array(CHUNK_ROWS);
  const values = columns.map(({ width }) => new Float32Array(CHUNK_ROWS * width));
  let rows = 0;
  const take = (): TableChunk => {
    const n = rows;
    rows = 0;
    const filled = values.map((array, i) => array.subarray(0, n * columns[i]!.width));
    return { rows: n, keys: keys.subarray(0, n), columns: filled };
  };
  try {
    let sources = [...all];
    for (;;) {
      for (const source of sources) {
        if (source.empty && !(await source.read())) sources = sources.filter((each) => each !== source);
      }
      if (sources.length === 0) break;
      let newest = sources[0]!;
      for (const source of sources) {
        if (source.key < newest.key || (source.key === newest.key && source.layer > newest.layer)) newest = source;
      }
      const { key, chunk, at } = newest;
      keys[rows] = key;
      for (const [i, { width }] of columns.entries()) {
        values[i]!.set(chunk!.columns[i]!.subarray(at * width, (at + 1) * width), rows * width);
      }
      rows++;
      for (const source of sources) if (source.key === key) source.at++;
      if (rows === CHUNK_ROWS) yield take();
    }
    if (rows > 0) yield take();
  } finally {
    await Promise.all(all.map((source) => source.close()));
  }
}
