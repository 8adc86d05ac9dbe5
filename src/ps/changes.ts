// Who changed which row since when (Geo-SGD): a ring of the keys of changed rows in order, and in each row its last change,
// the author, and the last change by another one. Nothing is kept about readers: they say how far they have read. A reader
// whose position the ring no longer has, or that speaks of another life of the server, gets all rows.
import { randomBytes } from "node:crypto";
import type { Heap } from "../memory/index.ts";
import { type BatchKernel, batchKernel, type ScanKernel, scanKernel } from "./kernels.ts";
import { type ChangesPosition, seenNothing } from "./row-messages.ts";
import type { RowStore } from "./row-store.ts";
import type { Scratch } from "./scratch.ts";

/** Changes that a reader may lie behind. */
const LOG_ENTRIES = 1 << 20;
/** Entries of the log that one request looks at, at least. */
const LEAST_ENTRIES = 1024;

/** What there is for a reader: `n` keys at a pointer into scratch memory. */
export interface ChangedKeys {
  readonly keys: number;
  readonly n: number;
  readonly position: ChangesPosition;
  readonly more: boolean;
}

export class ChangeLog {
  readonly epoch: bigint;
  readonly #heap: Heap;
  readonly #scratch: Scratch;
  readonly #store: RowStore;
  readonly #batch: BatchKernel;
  readonly #scan: ScanKernel;
  readonly #log: number;
  readonly #entries: number;
  /** Changes so far, and one more. */
  #end = 1;

  constructor(heap: Heap, scratch: Scratch, store: RowStore, entries: number = LOG_ENTRIES) {
    this.#heap = heap;
    this.#scratch = scratch;
    this.#store = store;
    this.#entries = entries;
    this.#batch = batchKernel(heap);
    this.#scan = scanKernel(heap);
    this.#log = heap.alloc(8 * entries);
    this.epoch = randomBytes(8).readBigUInt64LE() | 1n;
  }

  /** `author` has changed the rows at `n` handles, 0 for none, of these keys. */
  mark(rows: number, keys: number, n: number, author: number): void {
    const [position, mask] = [this.#end >>> 0, this.#entries - 1];
    const end = this.#batch.markChanged(rows, n, this.#store.changes, keys, this.#log, mask, position, author) >>> 0;
    this.#end += (end - position) >>> 0;
  }

  /** Keys that somebody else than `reader` has changed since it read up to `position`. */
  since(position: ChangesPosition, reader: number, maxRows: number): ChangedKeys {
    const { epoch, since, scan } = position;
    if (epoch === seenNothing.epoch) return this.#answer(0, 0, this.#end, 0n);
    if (epoch !== this.epoch) return this.#all(this.#end, 0);
    if ((scan & 1n) === 1n) return this.#all(Number(since), Number(scan >> 1n));
    const from = Number(since);
    const at = scan === 0n ? from : Number(scan >> 1n);
    if (at > this.#end || this.#end - at > this.#entries) return this.#all(this.#end, 0);
    const n = Math.min(this.#end - at, Math.max(LEAST_ENTRIES, maxRows));
    const keys = this.#scratch.take(8 * n);
    const first = at % this.#entries;
    const head = Math.min(n, this.#entries - first);
    this.#heap.u64(keys, head).set(this.#heap.u64(this.#log + 8 * first, head));
    this.#heap.u64(keys + 8 * head, n - head).set(this.#heap.u64(this.#log, n - head));
    const rows = this.#scratch.take(4 * n);
    this.#store.peek(keys, n, rows);
    const out = this.#scratch.take(8 * n);
    const found = this.#batch.changedFor(keys, rows, n, this.#store.changes, at >>> 0, from >>> 0, reader, out) >>> 0;
    // What others changed counts from where the reader began, also where the answer comes in parts.
    const rest = at + n < this.#end;
    return this.#answer(out, found, rest ? from : this.#end, rest ? BigInt(at + n) << 1n : 0n);
  }

  dispose(): void {
    this.#heap.free(this.#log);
  }

  /** The keys of one slab after the other; changes from `since` on come afterwards. */
  #all(since: number, index: number): ChangedKeys {
    const slab = this.#store.table.slabs()[index];
    if (slab === undefined) return this.#answer(0, 0, since, 0n);
    const keys = this.#scratch.take(8 * slab.places);
    const n = this.#scan.collect(slab.keys, 8, slab.places, keys) >>> 0;
    return this.#answer(keys, n, since, (BigInt(index + 1) << 1n) | 1n);
  }

  #answer(keys: number, n: number, since: number, scan: bigint): ChangedKeys {
    const position = { epoch: this.epoch, since: BigInt(since), scan };
    return { keys, n, position, more: scan !== 0n || since < this.#end };
  }
}
