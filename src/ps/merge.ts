// One optimizer step of several workers (mode `sync`): gradients are weighted by their rows and summed by key, in the order
// of ranks, so that the result is that of one process with the union of the batches.
import type { Heap } from "../memory/index.ts";
import { type BatchKernel, batchKernel, type SumKernel, sumKernel } from "./kernels.ts";
import type { Scratch } from "./scratch.ts";
import { type SplitKernel, splitKernel } from "./split.ts";
import type { SparseGradientBatch } from "./table-part.ts";

/** A section of one worker, in memory. */
export interface Weighted<T> {
  readonly batch: T;
  /** The share of the worker's rows in those of all. */
  readonly share: number;
}

export class Merger {
  readonly #heap: Heap;
  readonly #scratch: Scratch;
  readonly #split: SplitKernel;
  readonly #sum: SumKernel;
  readonly #batch: BatchKernel;

  constructor(heap: Heap, scratch: Scratch) {
    this.#heap = heap;
    this.#scratch = scratch;
    this.#split = splitKernel(heap);
    this.#sum = sumKernel(heap);
    this.#batch = batchKernel(heap);
  }

  /** Batches for the same fields as one with distinct keys. Their values are overwritten. */
  sparse(parts: readonly Weighted<SparseGradientBatch>[]): SparseGradientBatch {
    const { fields, width } = parts[0]!.batch;
    const total = parts.reduce((sum, { batch }) => sum + batch.n, 0);
    const slots = 2 ** Math.ceil(Math.log2(2 * Math.max(1, total)));
    const map = this.#scratch.take(16 * slots);
    this.#heap.u8(map, 16 * slots).fill(0);
    const keys = this.#scratch.take(8 * total);
    const values = this.#scratch.take(4 * width * total);
    const counts = parts.some(({ batch }) => batch.shows !== 0 || batch.clicks !== 0);
    const shows = counts || parts.length > 1 ? this.#scratch.take(4 * total) : 0;
    const clicks = counts ? this.#scratch.take(4 * total) : 0;
    let n = 0;
    for (const { batch, share } of parts) {
      const numbers = this.#scratch.take(4 * batch.n);
      n = this.#split.numberKeys(batch.keys, batch.n, map, slots - 1, keys, n, numbers) >>> 0;
      this.#batch.scale(batch.values, batch.n * width, share);
      this.#sum.accumulate(numbers, batch.n, batch.values, width, values, 1);
      if (shows !== 0) this.#accumulateCounts(numbers, batch.n, batch.shows, 1, shows);
      if (clicks !== 0) this.#accumulateCounts(numbers, batch.n, batch.clicks, 0, clicks);
    }
    return { fields, width, n, keys, values, shows, clicks };
  }

  /** Σ share · values into new memory. */
  dense(parts: readonly Weighted<number>[], length: number): number {
    const sum = this.#scratch.take(4 * length);
    this.#heap.f32(sum, length).fill(0);
    for (const { batch, share } of parts) this.#batch.addScaled(sum, batch, length, share);
    return sum;
  }

  #accumulateCounts(numbers: number, n: number, counts: number, fallback: number, sums: number): void {
    let own = counts;
    if (own === 0) {
      own = this.#scratch.take(4 * n);
      this.#heap.f32(own, n).fill(fallback);
    }
    this.#sum.accumulate(numbers, n, own, 1, sums, 1);
  }
}
