// Tables as safetensors files: a tensor `keys` U64 [rows] and a tensor F32 [rows, width] per column, split by rows into
// files of limited size. Rows stream in and out in chunks of all columns.
import { open } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { CheckpointError } from "./error.ts";
import { type OnBytes, RegionWriter, replaceFile, writeAll } from "./files.ts";
import type { ManifestTable } from "./manifest.ts";
import { SafetensorsFile } from "./safetensors.ts";
import { encodeHeader, type TensorShape } from "./safetensors-header.ts";
import type { SavedTable, TableChunk, TableColumn, TableRange, TableSource } from "./types.ts";

const KEYS = "keys";
const DEFAULT_CHUNK_ROWS = 65_536;

export function bytesOfRow(columns: readonly TableColumn[]): number {
  return columns.reduce((bytes, { width }) => bytes + 4 * width, 8);
}

/** Writes and syncs the files of one table into `folder`. @throws CheckpointError when the source breaks its word. */
export async function writeTable(
  folder: string,
  source: TableSource,
  maxFileBytes: number,
  onBytes: OnBytes,
): Promise<ManifestTable> {
  const { name, rows } = source;
  const where = join(folder, `table "${name}"`);
  const columns = checkedColumns(where, source);
  const shards = splitRows(where, rows, columns, maxFileBytes);
  const files = shards.map((rows, i) => ({ name: shardName(name, i + 1, shards.length), rows }));
  const cursor = new ChunkCursor(where, source);
  try {
    for (const file of files) await writeShard(join(folder, file.name), file.rows, columns, cursor, { onBytes });
    await cursor.expectEnd();
  } finally {
    await cursor.close();
  }
  return { name, rows, columns, files };
}

/**
 * Writes a table as one file, in place of one that may be there only when it is complete: a tensor `keys` U64 [rows] and a
 * tensor F32 [rows, width] per column.
 * @throws CheckpointError when the source breaks its word or the disk fails
 */
export async function writeTableFile(
  path: string,
  source: TableSource,
  options: { readonly metadata?: Readonly<Record<string, string>>; readonly onBytes?: OnBytes } = {},
): Promise<void> {
  const columns = checkedColumns(path, source);
  await replaceFile(path, async (temporary) => {
    const cursor = new ChunkCursor(path, source);
    try {
      await writeShard(temporary, source.rows, columns, cursor, options);
      await cursor.expectEnd();
    } finally {
      await cursor.close();
    }
  });
}

function checkedColumns(where: string, { rows, columns }: TableSource): TableColumn[] {
  if (!Number.isSafeInteger(rows) || rows < 0) throw new CheckpointError(where, `rows must be a count, got ${rows}`);
  for (const { name, width } of columns) {
    if (name === KEYS) throw new CheckpointError(where, `a column must not be named "${KEYS}"; rename it`);
    if (!Number.isSafeInteger(width) || width < 1) {
      throw new CheckpointError(where, `column "${name}" must have a width of at least 1, got ${width}`);
    }
  }
  return columns.map(({ name, width }) => ({ name, width }));
}

function splitRows(table: string, rows: number, columns: readonly TableColumn[], maxFileBytes: number): number[] {
  const header = encodeHeader(table, shapesOf(rows, columns)).bytes.length;
  const perFile = Math.max(1, Math.floor((maxFileBytes - header) / bytesOfRow(columns)));
  const files = Math.max(1, Math.ceil(rows / perFile));
  return Array.from({ length: files }, (_, i) => Math.min(perFile, rows - i * perFile));
}

function shardName(table: string, index: number, count: number): string {
  const safe = [...new TextEncoder().encode(table)]
    .map((byte) =>
      /[\w-]/.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : `%${byte.toString(16).padStart(2, "0")}`,
    )
    .join("");
  const digits = (n: number): string => String(n).padStart(5, "0");
  return `table-${safe}-${digits(index)}-of-${digits(count)}.safetensors`;
}

function shapesOf(rows: number, columns: readonly TableColumn[]): TensorShape[] {
  return [
    { name: KEYS, dtype: "U64", shape: [rows] },
    ...columns.map(({ name, width }): TensorShape => ({ name, dtype: "F32", shape: [rows, width] })),
  ];
}

async function writeShard(
  path: string,
  rows: number,
  columns: readonly TableColumn[],
  cursor: ChunkCursor,
  { metadata = {}, onBytes = () => {} }: { metadata?: Readonly<Record<string, string>>; onBytes?: OnBytes },
): Promise<void> {
  const header = encodeHeader(path, shapesOf(rows, columns), metadata);
  const file = await open(path, "wx");
  try {
    await writeAll(file, header.bytes, 0);
    const region = (name: string): RegionWriter =>
      new RegionWriter(file, { path, label: `column "${name}"`, ...header.tensors.get(name)!, onBytes });
    const keys = region(KEYS);
    const writers = columns.map(({ name, width }) => ({ width, writer: region(name) }));
    for (let left = rows; left > 0; ) {
      const { chunk, start, end } = await cursor.take(left);
      await keys.write(chunk.keys.subarray(start, end));
      for (const [i, { width, writer }] of writers.entries()) {
        await writer.write(chunk.columns[i]!.subarray(start * width, end * width));
      }
      left -= end - start;
    }
    for (const writer of [keys, ...writers.map(({ writer }) => writer)]) await writer.finish();
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Hands out the rows of a source across the borders of files. */
class ChunkCursor {
  readonly #where: string;
  readonly #source: TableSource;
  readonly #iterator: Iterator<TableChunk> | AsyncIterator<TableChunk>;
  #chunk: TableChunk | undefined;
  #used = 0;
  #given = 0;

  constructor(where: string, source: TableSource) {
    this.#where = where;
    this.#source = source;
    const chunks = source.chunks();
    this.#iterator = Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  }

  /** Rows `start` to `end` of a chunk, at most `wanted`. */
  async take(wanted: number): Promise<{ chunk: TableChunk; start: number; end: number }> {
    while (this.#chunk === undefined || this.#used === this.#chunk.rows) {
      if (!(await this.#advance())) {
        throw this.#error(
          `gave ${this.#given} rows but promised ${this.#source.rows}; did rows go while it was saved?`,
        );
      }
    }
    const start = this.#used;
    this.#used = Math.min(this.#chunk.rows, start + wanted);
    this.#given += this.#used - start;
    return { chunk: this.#chunk, start, end: this.#used };
  }

  async expectEnd(): Promise<void> {
    while (this.#chunk === undefined || this.#used === this.#chunk.rows) {
      if (!(await this.#advance())) return;
    }
    throw this.#error(`gave more than the ${this.#source.rows} rows it promised; pause training while it is saved`);
  }

  async close(): Promise<void> {
    await this.#iterator.return?.();
  }

  async #advance(): Promise<boolean> {
    const next = await this.#iterator.next();
    this.#chunk = next.done ? undefined : next.value;
    this.#used = 0;
    if (this.#chunk !== undefined) this.#check(this.#chunk);
    return this.#chunk !== undefined;
  }

  #check({ rows, keys, columns }: TableChunk): void {
    const wanted = this.#source.columns.map(({ width }) => rows * width);
    if (keys.length !== rows || columns.length !== wanted.length || columns.some((c, i) => c.length !== wanted[i])) {
      throw this.#error(
        `gave a chunk of ${rows} rows with ${keys.length} keys and columns of ${columns.map((c) => c.length).join(", ")} numbers, ` +
          `expected ${wanted.join(", ")}`,
      );
    }
  }

  #error(reason: string): CheckpointError {
    return new CheckpointError(this.#where, reason);
  }
}

/** Checks the headers of a table's files against the manifest and gives the way to read its rows. */
export async function openTable(folder: string, table: ManifestTable): Promise<SavedTable> {
  const { name, rows, columns, files } = table;
  for (const { name, rows } of files) {
    await using file = await SafetensorsFile.open(join(folder, name));
    for (const { name, dtype, shape } of shapesOf(rows, columns)) {
      const found = file.entry(name);
      if (found.dtype !== dtype || found.shape.join() !== shape.join()) {
        throw new CheckpointError(
          file.path,
          `tensor "${name}" is ${found.dtype} [${found.shape}], the manifest says ${dtype} [${shape}]`,
        );
      }
    }
  }
  if (files.reduce((sum, { rows }) => sum + rows, 0) !== rows) {
    throw new CheckpointError(folder, `the files of table "${name}" do not have its ${rows} rows together`);
  }
  const chunks = (maxRows = DEFAULT_CHUNK_ROWS, range: TableRange = {}): AsyncIterable<TableChunk> =>
    readRows(folder, table, maxRows, range);
  return { name, rows, columns, chunks };
}

/**
 * A table that `writeTableFile` wrote, named by the file's metadata.
 * @throws CheckpointError when the file is something else, or damaged
 */
export async function openTableFile(path: string): Promise<SavedTable> {
  await using file = await SafetensorsFile.open(path);
  const { dtype, shape } = file.entry(KEYS);
  const rows = shape[0] ?? 0;
  if (dtype !== "U64" || shape.length !== 1) {
    throw new CheckpointError(path, `is no table: tensor "${KEYS}" is ${dtype} [${shape}], expected U64 [rows]`);
  }
  const columns = [...file.tensors]
    .filter(([name]) => name !== KEYS)
    .map(([name, entry]) => ({ name, width: entry.shape[1] ?? 0 }));
  const name = file.metadata.table ?? basename(path, ".safetensors");
  return await openTable(dirname(path), { name, rows, columns, files: [{ name: basename(path), rows }] });
}

async function* readRows(
  folder: string,
  table: ManifestTable,
  maxRows: number,
  { columns: names, first: from = 0, end: to = table.rows }: TableRange,
): AsyncGenerator<TableChunk> {
  if (!Number.isInteger(maxRows) || maxRows < 1) {
    throw new RangeError(`chunks of table "${table.name}": maxRows must be an integer of at least 1, got ${maxRows}`);
  }
  const stray = names?.find((name) => table.columns.every((column) => column.name !== name));
  if (stray !== undefined) throw new RangeError(`chunks of table "${table.name}": it has no column "${stray}"`);
  const wanted = table.columns.filter(({ name }) => names?.includes(name) ?? true);
  const largest = Math.min(maxRows, Math.max(1, to - from), Math.max(...table.files.map(({ rows }) => rows)));
  const keys = new BigUint64Array(largest);
  const columns = wanted.map(({ width }) => new Float32Array(largest * width));
  let before = 0;
  for (const { name, rows } of table.files) {
    const end = Math.min(rows, to - before);
    let first = Math.max(0, from - before);
    before += rows;
    if (first >= end) continue;
    await using file = await SafetensorsFile.open(join(folder, name));
    for (; first < end; first += largest) {
      const n = Math.min(largest, end - first);
      const chunk = {
        rows: n,
        keys: keys.subarray(0, n),
        columns: wanted.map(({ width }, i) => columns[i]!.subarray(0, n * width)),
      };
      await file.read(KEYS, chunk.keys, first);
      for (const [i, { name, width }] of wanted.entries()) await file.read(name, chunk.columns[i]!, first * width);
      yield chunk;
    }
  }
}
