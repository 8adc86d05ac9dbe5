// A sparse table in the shared heap: 64-bit keys to rows of weights and optimizer state. All threads read, insert and
// update at once without locks; rows never move, so a row handle stays good for the table's life.
import { type Heap, instantiate, Lock } from "../memory/index.ts";
import * as C from "./control.ts";
import { chunksOf, insertChunk, type TableChunk, type TableSnapshot } from "./snapshot.ts";
import {
  columnsOf,
  type FieldLayout,
  layoutOf,
  type PlacedColumn,
  type TableLayout,
  type TableSpec,
  validateSpec,
} from "./spec.ts";
import {
  arrayBytes,
  createControl,
  disposeControl,
  type IndexKernel,
  type RowsKernel,
  slabsOf,
  statesOf,
  type TableSlab,
  takeState,
} from "./storage.ts";

/** What another thread needs to attach: plain data. */
export interface TableHandle {
  readonly control: number;
  readonly spec: TableSpec;
}

/**
 * One thread's view of a sparse table. Keys are u64; key 0 means "no feature" and always gives the zero row, whose
 * weights are 0 and are not to be written. A row handle is the row's byte address / 16, as u32.
 *
 * @example
 * const table = Table.create(heap, {
 *   name: "ids", seed: 1,
 *   fields: [{ name: "embedding", dim: 16, slots: [], init: { kind: "uniform", scale: 0.01 } }],
 * });
 * table.lookup(keys, n, rows, true);
 * table.gather("embedding", rows, n, out);
 * // In another thread: Table.attach(Heap.attach(memory), handle)
 */
export class Table {
  readonly handle: TableHandle;
  readonly spec: TableSpec;
  readonly layout: TableLayout;
  /** The handle of the zero row. */
  readonly zeroRow: number;
  readonly heap: Heap;
  readonly #columns: readonly PlacedColumn[];
  readonly #index: IndexKernel;
  readonly #rows: RowsKernel;
  readonly #control: Uint32Array;
  readonly #segments: Int32Array;
  readonly #growing: Int32Array;
  readonly #lock: Lock;
  readonly #state: Uint32Array;

  private constructor(heap: Heap, handle: TableHandle) {
    this.heap = heap;
    this.handle = handle;
    this.spec = handle.spec;
    this.layout = layoutOf(handle.spec);
    this.#columns = columnsOf(handle.spec, this.layout);
    this.#index = instantiate<IndexKernel>("table-index", heap);
    this.#rows = instantiate<RowsKernel>("table-rows", heap);
    const control = heap.u32(handle.control, C.INIT / 4);
    this.#control = control;
    this.#segments = heap.i32(control[C.SEGMENTS / 4]! * C.ADDRESS_UNIT, 1 << C.SEGMENT_BITS);
    this.#growing = heap.i32(control[C.GROWING / 4]! * C.ADDRESS_UNIT, 1 << C.SEGMENT_BITS);
    this.#lock = new Lock(heap.i32(handle.control, C.INIT / 4), C.LOCK / 4);
    this.zeroRow = control[C.ZERO_ROW / 4]!;
    this.#state = takeState(heap, control);
  }

  /**
   * Makes an empty table.
   * @throws RangeError that names a wrong option, or when the heap is full.
   */
  static create(heap: Heap, spec: TableSpec): Table {
    validateSpec(spec);
    return new Table(heap, { control: createControl(heap, spec), spec });
  }

  /** The same table in another thread (or once more in this one). Call `detach` before the thread ends. */
  static attach(heap: Heap, handle: TableHandle): Table {
    return new Table(heap, handle);
  }

  get name(): string {
    return this.spec.name;
  }

  /** Rows, the zero row not counted. Exact when no thread inserts. */
  size(): number {
    let rows = 0;
    // A thread may have removed rows that others inserted.
    for (const state of statesOf(this.heap, this.#control)) rows += Atomics.load(state, C.INSERTED / 4) | 0;
    return rows;
  }

  /**
   * The rows of `n` u64 keys at `keys` into `n` u32 handles at `rows` (byte offsets; they must not overlap). A missing key
   * gets a new row if `insert`, else the zero row.
   * @throws RangeError when a new row does not fit in the heap.
   */
  lookup(keys: number, n: number, rows: number, insert: boolean): void {
    const control = this.handle.control;
    const state = this.#state.byteOffset;
    for (let done = 0; ; ) {
      done += this.#index.lookup(control, state, keys + 8 * done, n - done, rows + 4 * done, insert ? 1 : 0) >>> 0;
      if (done === n) return;
      this.#serve();
    }
  }

  /** Weights of `field` of `n` rows to out [n, dim] f32, whose rows lie `strideBytes` apart (default dense). */
  gather(field: string, rows: number, n: number, out: number, strideBytes?: number): void {
    const { offset, dim } = this.field(field);
    this.#rows.gather(rows, n, offset, dim, out, strideBytes ?? 4 * dim);
  }

  /**
   * Pools bags of rows [n, length] to out [n, dim] f32: their sum, or the mean over the rows that are not the zero row (0
   * for a bag without any).
   */
  gatherPool(
    field: string,
    rows: number,
    n: number,
    length: number,
    mode: "sum" | "mean",
    out: number,
    strideBytes?: number,
  ): void {
    const { offset, dim } = this.field(field);
    const mean = mode === "mean" ? 1 : 0;
    this.#rows.gatherPool(rows, n, length, offset, dim, out, strideBytes ?? 4 * dim, mean, this.zeroRow);
  }

  /** Where a field lies in the row. @throws RangeError when there is no such field. */
  field(name: string): FieldLayout {
    const field = this.layout.fields[name];
    if (field === undefined) {
      const known = Object.keys(this.layout.fields).join(", ");
      throw new RangeError(`table "${this.name}" has no field "${name}"; it has ${known}`);
    }
    return field;
  }

  /** The key of a row handle, for messages; undefined for the zero row and for what is no row. Slow. */
  keyOf(row: number): bigint | undefined {
    for (const { keys, rows, places } of this.slabs()) {
      const index = (row * C.ADDRESS_UNIT - rows) / this.layout.strideBytes;
      if (!Number.isInteger(index) || index < 0 || index >= places) continue;
      return this.heap.u64(keys, places)[index] || undefined;
    }
    return undefined;
  }

  /**
   * All rows as a stream of chunks, in ascending order of keys (default; equal tables give equal streams) or in the order
   * of memory, which needs no sorting. Rows that other threads insert meanwhile are left out; their updates may show.
   */
  snapshot(options: { order?: "key" | "memory" } = {}): TableSnapshot {
    const slabs = this.slabs();
    const tools = { heap: this.heap, columns: this.#columns, rows: this.#rows, table: this };
    return {
      name: this.name,
      rows: this.size(),
      columns: this.#columns,
      chunks: () => chunksOf(tools, slabs, options),
    };
  }

  /**
   * Writes the rows of a snapshot's chunk, of this or another table with the same columns; missing keys are inserted.
   * @throws RangeError when the chunk's columns do not fit.
   */
  load(chunk: TableChunk): void {
    insertChunk({ heap: this.heap, columns: this.#columns, rows: this.#rows, table: this }, chunk);
  }

  /** Ends this thread's use of the table, which others may go on using. */
  detach(): void {
    Atomics.store(this.#state, C.IN_USE / 4, 0);
  }

  /** Frees the table. No thread may use it any more. */
  dispose(): void {
    disposeControl(this.heap, this.#control);
  }

  /** Where all rows lie. */
  slabs(): TableSlab[] {
    return slabsOf(this.heap, this.#control);
  }

  /**
   * Removes the rows at `places` (`n` u32 numbers of places in the slab). No other thread may use the table meanwhile; handles
   * of removed rows are void, those of others stay good. Later inserts of this thread take the memory.
   */
  remove({ keys, rows }: TableSlab, places: number, n: number): void {
    this.#index.remove(this.handle.control, this.#state.byteOffset, keys, rows, places, n);
  }

  /**
   * Writes the rows that missing keys would get to `scratch` (of a stride each, at a multiple of 16) and puts their handles
   * in place of the zero row in `rows`, as `lookup` without inserting left them. Returns how many.
   */
  initial(keys: number, n: number, rows: number, scratch: number): number {
    return this.#index.initial(this.handle.control, keys, n, rows, scratch) >>> 0;
  }

  /** Does what a look-up asked for when it stopped early. */
  #serve(): void {
    const status = this.#state[C.STATUS / 4]!;
    const segment = this.#state[C.SEGMENT / 4]!;
    try {
      if (status === C.NEEDS_SLAB) this.#addSlab(this.#state[C.CLAIM / 4]!);
      else if (status === C.NEEDS_GROWTH) this.#grow(segment);
      else throw new Error("another thread takes too long to grow it; was a thread terminated? Restart the process");
    } catch (cause) {
      throw new RangeError(`table "${this.name}" of ${this.size()} rows: ${(cause as Error).message}`, { cause });
    }
  }

  /** Sees to it that the slab of row number `claim` exists. */
  #addSlab(claim: number): void {
    const log2 = this.#control[C.ROWS_LOG2 / 4]!;
    const slabs = this.heap.u32(this.#control[C.SLABS / 4]! * C.ADDRESS_UNIT, (claim >>> log2) + 1);
    this.#lock.acquire(`table "${this.name}"`);
    try {
      for (let count = this.#control[C.SLAB_COUNT / 4]!; count < slabs.length; count++) {
        slabs[count] = this.heap.alloc((C.KEY_BYTES + this.layout.strideBytes) << log2) / C.ADDRESS_UNIT;
        Atomics.store(this.#control, C.SLAB_COUNT / 4, count + 1);
      }
    } finally {
      this.#lock.release();
    }
  }

  /** Doubles a segment, unless another thread does or did. */
  #grow(segment: number): void {
    if (Atomics.compareExchange(this.#growing, segment, 0, 1) !== 0) return;
    try {
      const word = Atomics.load(this.#segments, segment) >>> 0;
      const log2 = word >>> C.ARRAY_BITS;
      const old = (word % 2 ** C.ARRAY_BITS) * C.ARRAY_UNIT;
      const slots = 2 ** log2;
      if (Atomics.load(this.heap.u32(old + C.ARRAY_COUNT, 1), 0) * 4 <= slots * 3) return;
      const next = this.heap.alloc(arrayBytes(log2 + 1), C.ARRAY_UNIT);
      this.#index.grow(this.handle.control, segment, next, log2 + 1);
      this.#retire(old);
    } finally {
      Atomics.store(this.#growing, segment, 0);
      Atomics.notify(this.#segments, segment);
    }
  }

  /**
   * Keeps a replaced array until every look-up that may still read it has ended, and frees those for which that is so: a
   * look-up shows the epoch in which it began, retiring an array ends the epoch.
   */
  #retire(array: number): void {
    this.#lock.acquire(`table "${this.name}"`);
    try {
      const header = this.heap.u32(array, C.ARRAY_HEADER / 4);
      header[C.ARRAY_EPOCH / 4] = Atomics.add(this.#control, C.EPOCH / 4, 1);
      header[C.ARRAY_NEXT / 4] = this.#control[C.RETIRED / 4]!;
      this.#control[C.RETIRED / 4] = array / C.ADDRESS_UNIT;
      let oldest = 0xffffffff;
      for (const state of statesOf(this.heap, this.#control)) {
        const epoch = Atomics.load(state, C.ACTIVE_EPOCH / 4);
        if (epoch !== 0) oldest = Math.min(oldest, epoch);
      }
      let place = this.#control.subarray(C.RETIRED / 4);
      while (place[0] !== 0) {
        const pointer = place[0]! * C.ADDRESS_UNIT;
        const retired = this.heap.u32(pointer, C.ARRAY_HEADER / 4);
        const next = retired.subarray(C.ARRAY_NEXT / 4);
        if (retired[C.ARRAY_EPOCH / 4]! < oldest) {
          place[0] = next[0]!;
          this.heap.free(pointer);
        } else {
          place = next;
        }
      }
    } finally {
      this.#lock.release();
    }
  }
}
