// A saved model as a whole: one checkpoint, or those of all partitions of servers, whose rows together are its tables.
import { existsSync, readdirSync } from "node:fs";
import {
  bytesOfRow,
  type Checkpoint,
  CheckpointError,
  openCheckpoint,
  type SavedTable,
  type TableColumn,
} from "../../checkpoint/index.ts";
import { partFolder, STATISTICS_TABLE } from "../saved-partition.ts";
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
  /** By partition; one of a single process. */
  readonly parts: readonly TablePart[];
}

export interface OpenTablesOptions {
  /** Check every file against its hash; default false. */
  readonly verify?: boolean;
  /** What of the files has been checked, of those of partitions each by itself. */
  readonly onProgress?: (progress: { readonly bytes: number; readonly totalBytes: number }) => void;
}

/** Close it, or declare it with `await using`. */
export class SavedTables {
  readonly path: string;
  readonly checkpoints: readonly Checkpoint[];
  readonly tables: ReadonlyMap<string, WholeTable>;

  /** Use `openTables`. */
  constructor(path: string, checkpoints: readonly Checkpoint[]) {
    this.path = path;
    this.checkpoints = checkpoints;
    const names = [...checkpoints[0]!.tables.keys()].filter((name) => !name.endsWith(STATISTICS_TABLE));
    this.tables = new Map(names.map((name) => [name, wholeTable(path, checkpoints, name)]));
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
 * Opens the checkpoint of a single process, or the folder into which servers saved their partitions.
 * @throws CheckpointError when there is none, it is damaged, or partitions are missing
 */
export async function openTables(path: string, options: OpenTablesOptions = {}): Promise<SavedTables> {
  const { verify = false, onProgress } = options;
  const folders = partsIn(path) ?? [path];
  const checkpoints: Checkpoint[] = [];
  try {
    for (const folder of folders) {
      checkpoints.push(await openCheckpoint(folder, { verify, ...(onProgress === undefined ? {} : { onProgress }) }));
    }
    return new SavedTables(path, checkpoints);
  } catch (error) {
    await Promise.all(checkpoints.map((checkpoint) => checkpoint.close()));
    throw error;
  }
}

/** The folders of all partitions, in their order; undefined where there are none. */
function partsIn(path: string): string[] | undefined {
  if (!existsSync(path)) return undefined;
  const found = readdirSync(path).flatMap((name) => {
    const match = /^part-(\d+)-of-(\d+)$/.exec(name);
    return match === null ? [] : [{ part: Number(match[1]), of: Number(match[2]) }];
  });
  if (found.length === 0) return undefined;
  const counts = [...new Set(found.map(({ of }) => of))].sort((a, b) => a - b);
  if (counts.length > 1) {
    throw new CheckpointError(
      path,
      `has parts of several saves, of ${counts.join(" and of ")} partitions; keep one save`,
    );
  }
  const partitions = counts[0]!;
  const all = Array.from({ length: partitions }, (_, i) => i);
  const missing = all.filter((i) => !found.some(({ part }) => part === i + 1)).map((i) => i + 1);
  if (missing.length > 0) {
    throw new CheckpointError(
      path,
      `lacks part ${missing.join(", ")} of ${partitions}; copy the parts that other servers saved into this folder`,
    );
  }
  return all.map((partition) => partFolder(path, partition, partitions));
}

function wholeTable(path: string, checkpoints: readonly Checkpoint[], name: string): WholeTable {
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
    ...{ name, columns, parts },
    rows: parts.reduce((sum, { rows }) => sum + rows.rows, 0),
    hasStatistics: parts.every(({ statistics }) => statistics !== undefined),
    bytes: parts.reduce((sum, part) => sum + bytesOfTable(part.rows) + bytesOfTable(part.statistics), 0),
  };
}

const bytesOfTable = (table: SavedTable | undefined): number =>
  table === undefined ? 0 : table.rows * bytesOfRow(table.columns);
