// The files of a dataset: globs expanded, each looked at once for its size, compression and columns.
import { closeSync, existsSync, globSync, openSync, readSync, statSync } from "node:fs";
import { gunzipSync, constants as zlib } from "node:zlib";
import { readHeader } from "./csv-header.ts";
import { DataError } from "./errors.ts";
import { readFooter } from "./parquet-file.ts";
import { sourceColumns } from "./schema.ts";
import type { CsvSpec, FileSpec, ParquetSpec, TensorSpec } from "./spec.ts";

/** Plain data, sent to readers. */
export interface DataFile {
  readonly path: string;
  readonly bytes: number;
  readonly gzip: boolean;
  /** Where the rows start: after header lines, in bytes of text. */
  readonly start: number;
  /** Where they end: bytes of text, or rows of Parquet; Infinity where only reading tells. */
  readonly end: number;
  /** Columns of a CSV file in its order. */
  readonly columns: readonly string[];
  /** First rows of the row groups of a Parquet file. */
  readonly rowGroups: readonly number[];
}

const HEAD_BYTES = 64 * 1024;

/** Sorted paths of all files that the patterns name. @throws when one names none. */
export function expandPatterns(patterns: readonly string[]): string[] {
  const paths = new Set<string>();
  for (const pattern of patterns) {
    const matches = existsSync(pattern) ? [pattern] : globSync(pattern);
    const files = matches.filter((path) => statSync(path).isFile());
    if (files.length === 0) {
      throw new Error(
        `no file matches ${JSON.stringify(pattern)} (from ${process.cwd()})${matches.length > 0 ? "; it is a folder: add /*" : ""}`,
      );
    }
    for (const path of files) paths.add(path);
  }
  return [...paths].sort();
}

/** Columns in memory, as if they were one file of rows. */
export function memoryFile({ rows, columns }: TensorSpec): DataFile {
  const bytes = columns.reduce((sum, { data }) => sum + data.byteLength, 0);
  return { path: "memory", bytes, gzip: false, start: 0, end: rows, columns: [], rowGroups: [0] };
}

/** @throws DataError when the file is not of the dataset's format or lacks a column. */
export function inspect(path: string, spec: FileSpec): DataFile {
  const bytes = statSync(path).size;
  const head = readHead(path, bytes);
  const gzip = isGzip(head);
  const isParquet = head.subarray(0, 4).toString("latin1") === "PAR1";
  if (spec.format === "parquet") {
    if (!isParquet) throw new DataError("is no Parquet file (it does not start with PAR1)", path);
    return inspectParquet(path, bytes, spec);
  }
  if (isParquet) throw new DataError("is a Parquet file; read it with data.parquet", path);
  const file = {
    path,
    bytes,
    gzip,
    start: 0,
    end: gzip ? Number.POSITIVE_INFINITY : bytes,
    columns: [],
    rowGroups: [],
  };
  if (spec.format === "criteo" || bytes === 0) return file;
  const { columns, start } = readHeader(gzip ? unzipHead(head, path) : head, spec, path);
  requireColumns(spec, columns, path);
  return { ...file, columns, start };
}

/** A text file, plain or gzip, of which nothing is known. */
export function inspectText(path: string): DataFile {
  const bytes = statSync(path).size;
  const gzip = isGzip(readHead(path, bytes));
  const end = gzip ? Number.POSITIVE_INFINITY : bytes;
  return { path, bytes, gzip, start: 0, end, columns: [], rowGroups: [] };
}

const isGzip = (head: Buffer): boolean => head.length >= 2 && head[0] === 0x1f && head[1] === 0x8b;

function inspectParquet(path: string, bytes: number, spec: ParquetSpec): DataFile {
  const footer = readFooter(path);
  requireColumns(spec, footer.columns, path);
  return { path, bytes, gzip: false, start: 0, end: footer.rows, columns: footer.columns, rowGroups: footer.rowGroups };
}

function requireColumns(spec: CsvSpec | ParquetSpec, columns: readonly string[], path: string): void {
  for (const name of sourceColumns(spec.schema, spec.where)) {
    if (columns.includes(name)) continue;
    throw new DataError(`has no column "${name}", which the schema reads; its columns are ${columns.join(", ")}`, path);
  }
}

function readHead(path: string, bytes: number): Buffer {
  const fd = openSync(path, "r");
  try {
    const head = Buffer.alloc(Math.min(bytes, HEAD_BYTES));
    return head.subarray(0, readSync(fd, head, 0, head.length, 0));
  } finally {
    closeSync(fd);
  }
}

function unzipHead(head: Buffer, path: string): Buffer {
  try {
    return gunzipSync(head, { finishFlush: zlib.Z_SYNC_FLUSH });
  } catch (cause) {
    throw new DataError(`is a damaged gzip file (${(cause as Error).message})`, path);
  }
}
