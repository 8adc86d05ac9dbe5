// Mode `geo`: the rows that trainers move without waiting, beside what servers know of them.
import { type Heap, instantiate } from "../../memory/index.ts";
import { Table } from "../../table/index.ts";
import { type BatchKernel, batchKernel } from "../kernels.ts";
import type { ChangesReply } from "../row-messages.ts";
import { Blocks } from "./blocks.ts";
import type { GeoLayout } from "./geo-layout.ts";
import { type WorkerKernel, workerKernel } from "./kernel.ts";

interface PutKernel {
  put(rows: number, n: number, offset: number, dim: number, values: number, stride: number): void;
}

/** Rows of a reply to be handled together. */
export const CHANGED_ROWS = 16_384;

export class GeoTable {
  readonly table: Table;
  readonly fields: readonly { readonly offset: number; readonly old: number; readonly dim: number }[];
  readonly width: number;
  readonly #heap: Heap;
  readonly #kernel: WorkerKernel;
  readonly #batch: BatchKernel;
  readonly #put: PutKernel;
  readonly #blocks: Blocks;
  readonly #most: number;
  readonly #rows: number;
  readonly #places: number;
  readonly #missing: number;
  readonly #values: number;
  readonly #keys: number;

  /** @param most distinct ids of a batch */
  constructor(heap: Heap, handle: GeoLayout["tables"][number], most: number) {
    this.#heap = heap;
    this.table = Table.attach(heap, handle);
    this.#kernel = workerKernel(heap);
    this.#batch = batchKernel(heap);
    this.#put = instantiate<PutKernel>("table-rows", heap);
    this.fields = handle.spec.fields.map(({ name }) => {
      const { offset, dim, slotOffsets } = this.table.field(name);
      return { offset, dim, old: slotOffsets[0]! };
    });
    this.width = this.fields.reduce((sum, { dim }) => sum + dim, 0);
    this.#blocks = new Blocks(heap);
    this.#most = Math.max(most, CHANGED_ROWS);
    this.#rows = this.#blocks.take(4 * this.#most);
    this.#places = this.#blocks.take(4 * this.#most);
    this.#missing = this.#blocks.take(8 * this.#most);
    this.#keys = this.#blocks.take(8 * this.#most);
    this.#values = this.#blocks.take(4 * this.#most * this.width);
  }

  free(): void {
    this.table.detach();
    this.#blocks.free();
  }

  /** Those of `n` ids that have no row here, to `into`; returns how many. */
  missing(ids: number, n: number, into: number): number {
    this.table.lookup(ids, n, this.#rows, false);
    return this.#batch.missing(this.#rows, ids, n, this.table.zeroRow, this.#places, into) >>> 0;
  }

  /** Makes rows of new ids. @param values rows of weights, `stride` bytes apart; `offsets` of the fields in them */
  insert(ids: number, n: number, values: number, stride: number, offsets: readonly number[]): void {
    this.table.lookup(ids, n, this.#rows, true);
    for (const [i, { offset, old, dim }] of this.fields.entries()) {
      for (const at of [offset, old]) this.#put.put(this.#rows, n, at, dim, values + offsets[i]!, stride);
    }
  }

  /** What trainers have changed since: f32 [n, width] to `out`; servers are then taken to know it. */
  takeDeltas(ids: number, n: number, share: number, out: number): void {
    for (let first = 0; first < n; first += this.#most) {
      const count = Math.min(this.#most, n - first);
      this.table.lookup(ids + 8 * first, count, this.#rows, false);
      let at = out + 4 * first * this.width;
      for (const { offset, old, dim } of this.fields) {
        this.#kernel.takeRowDeltas(this.#rows, count, offset, old, dim, share, at, 4 * this.width);
        at += 4 * dim;
      }
    }
  }

  /** Takes over what others have changed. */
  receive({ keys, values }: ChangesReply): void {
    const n = keys.length;
    this.#heap.u64(this.#keys, n).set(keys);
    this.#heap.u8(this.#values, values.byteLength).set(values);
    const stride = 4 * this.width;
    const offsets = this.fields.map((_, i) => 4 * this.fields.slice(0, i).reduce((sum, { dim }) => sum + dim, 0));
    const missing = this.missing(this.#keys, n, this.#missing);
    // Whatever they begin with, the difference to it is added below.
    if (missing > 0) this.insert(this.#missing, missing, this.#values, stride, offsets);
    this.table.lookup(this.#keys, n, this.#rows, false);
    for (const [i, { offset, old, dim }] of this.fields.entries()) {
      this.#kernel.putFreshRows(this.#rows, n, offset, old, dim, this.#values + offsets[i]!, stride);
    }
  }
}
