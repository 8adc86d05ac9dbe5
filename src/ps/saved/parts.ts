// A saved model as a whole: one checkpoint, or those of all partitions of servers, whose rows together are its tables.
import { stat } from "node:fs/promises";
import {
  bytesOfRow,
  type Checkpoint,
  CheckpointError,
  openCheckpoint,
  openTableFile,
  type SavedTable,
  type TableColumn,
} from "../../checkpoint/index.ts";
import { partsIn } from "../part-folders.ts";
import { STATISTICS_TABLE } from "../saved-partition.ts";
import { statisticsColumns } from "../scans.ts";

/** A table's rows in one of the checkpoints, and their statistics where they have some. */
export interface TablePart {
  readonly rows: SavedTable;
  readonly statistics: SavedTable | undefined;
}

export interface WholeTable {
  readonly name: string;
  readonly rows: number;
  /** Fields, and behind a point their optimizer state. */
  readonly columns: readonly TableColumn[];
  readonly hasStatistics: boolean;
  /** Of the files. */
  readonly bytes: number;
  /** In each of them rows come in ascending order of keys. */
  readonly parts: readonly TablePart[];
  /** Whether the parts are those of partitions, by which a key tells its part. */
  readonly partitioned: boolean;
}

export interface OpenTablesOptions {
  /** Check every file against its hash; default false. */
  readonly verify?: boolean;
  /** What of the files has been checked, of those of partitions each by itself. */
  readonly onProgress?: (progress: { readonly bytes: number; readonly totalBytes: number }) => void;
}

/** A checkpoint, or an exported file as one. */
type TablesSource = Pick<Checkpoint, "tool" | "createdAt" | "tensors" | "tables" | "table" | "close">;

/** Close it, or declare it with `await using`. */
export class SavedTables {
  readonly path: string;
  readonly checkpoints: readonly TablesSource[];
  /** Of partitions, not the stretches of an exported file. */
  readonly partitioned: boolean;
  readonly tables: ReadonlyMap<string, WholeTable>;

  /** Use `openTables`. */
  constructor(path: string, checkpoints: readonly TablesSource[], partitioned: boolean) {
    this.path = path;
    this.checkpoints = checkpoints;
    this.partitioned = partitioned;
    const names = [...checkpoints[0]!.tables.keys()].filter((name) => !name.endsWith(STATISTICS_TABLE));
    this.tables = new Map(names.map((name) => [name, wholeTable(path, { checkpoints, partitioned }, name)]));
  }

  /** @throws CheckpointError when there is no such table, or without a name when there are several */
  table(name?: string): WholeTable {
    const names = [...this.tables.keys()];
    if (name === undefined && names.length !== 1) {
      throw new CheckpointError(this.path, `has ${names.length} tables: ${names.join(", ") || "none"}; name one`);
    }
    const table = this.tables.get(name ?? names[0]!);
    if (table !== undefined) return table;
    throw new CheckpointError(this.path, `has no table "${name}"; it has ${names.join(", ") || "none"}`);
  }

  /** Dense parameters and optimizer state. */
  get tensors(): { readonly count: number; readonly bytes: number } {
    const all = this.checkpoints.flatMap(({ tensors }) => [...tensors.values()]);
    return { count: all.length, bytes: all.reduce((sum, { byteLength }) => sum + byteLength, 0) };
  }

  async close(): Promise<void> {
    await Promise.all(this.checkpoints.map((checkpoint) => checkpoint.close()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Opens the checkpoint of a single process, the folder into which servers saved their partitions, or a table that was
 * exported as safetensors.
 * @throws CheckpointError when there is none, it is damaged, or partitions are missing
 */
export async function openTables(path: string, options: OpenTablesOptions = {}): Promise<SavedTables> {
  const { verify = false, onProgress } = options;
  if (path.endsWith(".safetensors")) return new SavedTables(path, await exportedFile(path), false);
  const folders = partsIn(path) ?? [path];
  const checkpoints: Checkpoint[] = [];
  try {
    for (const folder of folders) {
      checkpoints.push(await openCheckpoint(folder, { verify, ...(onProgress === undefined ? {} : { onProgress }) }));
    }
    return new SavedTables(path, checkpoints, true);
  } catch (error) {
    await Promise.all(checkpoints.map((checkpoint) => checkpoint.close()));
    throw error;
  }
}

/** An exported table as its stretches of ascending keys: one for each partition that it was saved by. */
async function exportedFile(path: string): Promise<TablesSource[]> {
  const whole = await openTableFile(path);
  const { mtime } = await stat(path);
  const bounds = [0];
  let [before, last] = [0, 0n];
  for await (const { rows, keys } of whole.chunks(undefined, { columns: [] })) {
    for (let row = 0; row < rows; row++) {
      const key = keys[row]!;
      if (key < last) bounds.push(before + row);
      last = key;
    }
    before += rows;
  }
  return bounds.map((from, i) => {
    const to = bounds[i + 1] ?? whole.rows;
    const table: SavedTable = {
      ...whole,
      rows: to - from,
      chunks: (maxRows, { first = 0, end = to - from, ...range } = {}) =>
        whole.chunks(maxRows, { ...range, first: from + first, end: from + end }),
    };
    return {
      ...{ tool: "an exported table", createdAt: mtime.toISOString(), tensors: new Map(), close: async () => {} },
      ...{ tables: new Map([[table.name, table]]), table: () => table },
    };
  });
}

function wholeTable(
  path: string,
  { checkpoints, partitioned }: Pick<SavedTables, "checkpoints" | "partitioned">,
  name: string,
): WholeTable {
  const parts = checkpoints.map((checkpoint): TablePart => {
    const statistics = checkpoint.tables.get(`${name}${STATISTICS_TABLE}`);
    const whole = statisticsColumns.every((column) => statistics?.columns.some((found) => found.name === column));
    return { rows: checkpoint.table(name), statistics: whole ? statistics : undefined };
  });
  const { columns } = parts[0]!.rows;
  const shape = (table: SavedTable): string => table.columns.map((column) => `${column.name} ${column.width}`).join();
  if (parts.some(({ rows }) => shape(rows) !== shape(parts[0]!.rows))) {
    throw new CheckpointError(path, `its parts have other columns of table "${name}"; they are of several models`);
  }
  return {
    ...{ name, columns, parts, partitioned },
    rows: parts.reduce((sum, { rows }) => sum + rows.rows, 0),
    hasStatistics: parts.every(({ statistics }) => statistics !== undefined),
    bytes: parts.reduce((sum, part) => sum + bytesOfTable(part.rows) + bytesOfTable(part.statistics), 0),
  };
}

const bytesOfTable = (table: SavedTable | undefined): number =>
  table === undefined ? 0 : table.rows * bytesOfRow(table.columns);
