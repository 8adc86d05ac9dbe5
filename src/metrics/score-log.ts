// Keeps every score of an evaluation, so that its metrics are exact: each trainer thread appends to a list of blocks of its
// own in the heap, afterwards one thread computes over all of them.
import { type Heap, instantiate } from "../memory/index.ts";
import { type BinaryStatsKernel, CELL_BYTES, cellMetrics } from "./cell.ts";
import { type ScoredSamples, type ScoreSegment, segmentsAuc, withSamplesInHeap } from "./exact-auc.ts";
import type { BinaryMetrics } from "./types.ts";

/** Plain data by which another thread attaches. */
export interface ScoreLogHandle {
  /** A u32 by thread: where the first block of its list is. Such words hold addresses / 64, 0 for none. */
  readonly heads: number;
  readonly threads: number;
}

/** A thread's way to append its batches. */
export interface ScoreRecorder {
  /** Appends logits, labels and weights (0: all 1), f32 [n] each; rows of weight 0 are padding and are left out. */
  record(logits: number, labels: number, weights: number, n: number): void;
}

interface AppendKernel {
  append(block: number, capacity: number, x: number, y: number, w: number, from: number, n: number): number;
}

/** What blocks start at a multiple of, so that their addresses fit into a u32. */
const ADDRESS_UNIT = 64;
const BLOCK_SAMPLES = 32_768;
const BLOCK_HEADER = 64;
const BLOCK_BYTES = BLOCK_HEADER + 3 * 4 * BLOCK_SAMPLES;
/** One cache line a thread. */
const HEAD_BYTES = 64;

export class ScoreLog {
  readonly handle: ScoreLogHandle;
  readonly #heap: Heap;
  readonly #append: AppendKernel["append"];

  private constructor(heap: Heap, handle: ScoreLogHandle) {
    this.#heap = heap;
    this.handle = handle;
    this.#append = instantiate<AppendKernel>("exact-auc", heap).append;
  }

  /** @throws RangeError for a wrong number of threads. */
  static create(heap: Heap, options: { threads: number }): ScoreLog {
    const { threads } = options;
    if (!Number.isInteger(threads) || threads < 1) {
      throw new RangeError(`ScoreLog: threads must be an integer of at least 1, got ${threads}`);
    }
    return new ScoreLog(heap, { heads: heap.alloc(threads * HEAD_BYTES), threads });
  }

  static attach(heap: Heap, handle: ScoreLogHandle): ScoreLog {
    return new ScoreLog(heap, handle);
  }

  /** The recorder of trainer thread `thread`; only that thread may use it. It takes 12 bytes of heap a sample. */
  recorder(thread: number): ScoreRecorder {
    const heap = this.#heap;
    const append = this.#append;
    const head = this.#head(thread);
    let last = 0;
    const grow = (): void => {
      const block = heap.alloc(BLOCK_BYTES);
      heap.u32(last === 0 ? head : last, 1)[0] = block / ADDRESS_UNIT;
      last = block;
    };
    return {
      record(logits, labels, weights, n): void {
        // `clear` drops the list under us: start anew.
        if (heap.u32(head, 1)[0] === 0) last = 0;
        for (let next = 0; next < n; ) {
          if (last === 0 || heap.u32(last, 2)[1] === BLOCK_SAMPLES) grow();
          next = append(last, BLOCK_SAMPLES, logits, labels, weights, next, n);
        }
      },
    };
  }

  /** Where all samples lie. Call it when the threads have finished recording and said so. */
  segments(): ScoreSegment[] {
    return this.#blocks().map((block) => {
      const scores = block + BLOCK_HEADER;
      const labels = scores + 4 * BLOCK_SAMPLES;
      return { scores, labels, weights: labels + 4 * BLOCK_SAMPLES, n: this.#heap.u32(block, 2)[1]! };
    });
  }

  /** Exact metrics over all samples recorded. */
  metrics(): BinaryMetrics {
    return segmentsMetrics(this.#heap, this.segments());
  }

  /** Drops all samples and their memory; recorders may go on. */
  clear(): void {
    const blocks = this.#blocks();
    for (let thread = 0; thread < this.handle.threads; thread++) this.#heap.u32(this.#head(thread), 1)[0] = 0;
    for (const block of blocks) this.#heap.free(block);
  }

  free(): void {
    this.clear();
    this.#heap.free(this.handle.heads);
  }

  #blocks(): number[] {
    const blocks: number[] = [];
    for (let thread = 0; thread < this.handle.threads; thread++) {
      let word = this.#heap.u32(this.#head(thread), 1)[0]!;
      while (word !== 0) {
        blocks.push(word * ADDRESS_UNIT);
        word = this.#heap.u32(word * ADDRESS_UNIT, 1)[0]!;
      }
    }
    return blocks;
  }

  #head(thread: number): number {
    if (!Number.isInteger(thread) || thread < 0 || thread >= this.handle.threads) {
      throw new RangeError(`ScoreLog: thread must be an integer from 0 to ${this.handle.threads - 1}, got ${thread}`);
    }
    return this.handle.heads + thread * HEAD_BYTES;
  }
}

/**
 * Metrics of logits in the heap: AUC and log loss exact; bins (and with them the calibration error) grouped by the
 * histogram's edges. Samples whose logit is not finite are counted in `nonFinite`, and then AUC is NaN.
 * @throws when a label is neither 0 nor 1.
 */
export function segmentsMetrics(heap: Heap, segments: readonly ScoreSegment[]): BinaryMetrics {
  const kernel = instantiate<BinaryStatsKernel>("binary-stats", heap);
  const cell = heap.alloc(CELL_BYTES);
  try {
    for (const { scores, labels, weights, n } of segments) kernel.update(cell, scores, labels, weights, 0, n);
    const { steps: _, measures: __, ...metrics } = cellMetrics(heap, cell);
    const auc = metrics.nonFinite > 0 ? Number.NaN : segmentsAuc(heap, segments);
    return { ...metrics, auc, aucErrorBound: Number.isNaN(auc) ? Number.NaN : 0 };
  } finally {
    heap.free(cell);
  }
}

/** All metrics of a binary classifier from its logits. @throws when lengths differ or a label is neither 0 nor 1. */
export function binaryMetrics(samples: {
  readonly logits: Float32Array;
  readonly labels: Float32Array;
  readonly weights?: Float32Array;
}): BinaryMetrics {
  const { logits, labels, weights } = samples;
  const scored: ScoredSamples = { scores: logits, labels, ...(weights === undefined ? {} : { weights }) };
  return withSamplesInHeap(scored, 16, (heap, segment) => segmentsMetrics(heap, [segment]));
}
