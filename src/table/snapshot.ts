// A table's rows as a stream of chunks, for checkpoints and for moving rows between tables.
import type { Heap } from "../memory/index.ts";
import type { PlacedColumn, TableColumn } from "./spec.ts";
import type { RowsKernel } from "./storage.ts";
import type { Table } from "./table.ts";

/** Some rows of a table. A snapshot's views lie in the heap and are good until the next chunk is asked for. */
export interface TableChunk {
  readonly rows: number;
  /** [rows] */
  readonly keys: BigUint64Array;
  /** One [rows × width] array per column, in the order of the table's columns. */
  readonly columns: readonly Float32Array[];
}

export interface TableSnapshot {
  readonly name: string;
  /** The number of rows that `chunks` gives. */
  readonly rows: number;
  readonly columns: readonly TableColumn[];
  chunks(): Iterable<TableChunk>;
}

export interface SnapshotTools {
  readonly heap: Heap;
  readonly columns: readonly PlacedColumn[];
  readonly rows: RowsKernel;
  readonly table: Table;
}

const CHUNK_ROWS = 16384;

/** Yields the rows of slabs, given by where each keeps its keys and for how many rows it has places. */
export function* chunksOf(
  tools: SnapshotTools,
  slabs: readonly { keys: number; places: number }[],
  options: { order?: "key" | "memory" },
): Generator<TableChunk> {
  const { heap, table, rows: kernel } = tools;
  const { order = "key" } = options;
  if (order !== "key" && order !== "memory") {
    throw new RangeError(`snapshot of table "${table.name}": order must be "key" or "memory", got "${order}"`);
  }
  const places = slabs.reduce((sum, slab) => sum + slab.places, 0);
  const keys = heap.alloc(8 * places);
  const buffers = new ChunkBuffers(tools, CHUNK_ROWS);
  try {
    let count = 0;
    for (const slab of slabs) count += kernel.collectKeys(slab.keys, slab.places, keys + 8 * count) >>> 0;
    if (order === "key") heap.u64(keys, count).sort();
    for (let start = 0; start < count; start += CHUNK_ROWS) {
      const n = Math.min(CHUNK_ROWS, count - start);
      const chunkKeys = keys + 8 * start;
      table.lookup(chunkKeys, n, buffers.rows, false);
      const columns = tools.columns.map(({ offset, width }, i) => {
        kernel.gather(buffers.rows, n, offset, width, buffers.columns[i]!, 4 * width);
        return heap.f32(buffers.columns[i]!, n * width);
      });
      yield { rows: n, keys: heap.u64(chunkKeys, n), columns };
    }
  } finally {
    heap.free(keys);
    buffers.free();
  }
}

/** Writes a chunk's rows into the table. @throws RangeError when the chunk does not fit the table's columns. */
export function insertChunk(tools: SnapshotTools, chunk: TableChunk): void {
  const { heap, table, rows: kernel } = tools;
  checkChunk(tools, chunk);
  const buffers = new ChunkBuffers(tools, Math.min(CHUNK_ROWS, chunk.rows));
  try {
    for (let start = 0; start < chunk.rows; start += CHUNK_ROWS) {
      const end = Math.min(chunk.rows, start + CHUNK_ROWS);
      heap.u64(buffers.keys, end - start).set(chunk.keys.subarray(start, end));
      table.lookup(buffers.keys, end - start, buffers.rows, true);
      for (const [i, { offset, width }] of tools.columns.entries()) {
        const values = chunk.columns[i]!.subarray(start * width, end * width);
        heap.f32(buffers.columns[i]!, values.length).set(values);
        kernel.put(buffers.rows, end - start, offset, width, buffers.columns[i]!, 4 * width);
      }
    }
  } finally {
    buffers.free();
  }
}

function checkChunk({ table, columns }: SnapshotTools, chunk: TableChunk): void {
  const fail = (what: string): never => {
    throw new RangeError(`table "${table.name}" cannot load this chunk: ${what}`);
  };
  if (chunk.keys.length !== chunk.rows) fail(`it has ${chunk.keys.length} keys for ${chunk.rows} rows`);
  if (chunk.columns.length !== columns.length) {
    const names = columns.map((column) => column.name).join(", ");
    fail(`it has ${chunk.columns.length} columns, the table ${columns.length} (${names})`);
  }
  for (const [i, { name, width }] of columns.entries()) {
    const found = chunk.columns[i]!.length;
    if (found !== chunk.rows * width) {
      fail(`column "${name}" has ${found} numbers, expected ${chunk.rows} rows × ${width}`);
    }
  }
  const zero = chunk.keys.indexOf(0n);
  if (zero >= 0) fail(`its row ${zero} has key 0, which means "no feature" and has no row`);
}

/** Blocks of the heap for one chunk's keys, rows and columns. */
class ChunkBuffers {
  readonly keys: number;
  readonly rows: number;
  readonly columns: readonly number[];
  readonly #heap: Heap;
  readonly #block: number;

  constructor({ heap, columns }: SnapshotTools, rows: number) {
    this.#heap = heap;
    const width = columns.reduce((sum, column) => sum + column.width, 0);
    this.#block = heap.alloc(rows * (8 + 4 + 4 * width));
    this.keys = this.#block;
    this.rows = this.keys + 8 * rows;
    let end = this.rows + 4 * rows;
    this.columns = columns.map((column) => {
      const start = end;
      end += 4 * rows * column.width;
      return start;
    });
  }

  free(): void {
    this.#heap.free(this.#block);
  }
}
