// Statistics of running training: every trainer thread adds its batches to a cell of its own by one WASM call, any thread
// reads windows of the sum at any time. No locks: counters only grow, a window is the difference to the reader's last look.
import { type Heap, instantiate } from "../memory/index.ts";
import { type BinaryStatsKernel, CELL_BYTES, cellMetrics, type WindowMetrics } from "./cell.ts";

/** Plain data by which another thread attaches. */
export interface WindowStatsHandle {
  readonly cells: number;
  readonly threads: number;
}

/** A thread's way to add its batches. All pointers are byte offsets in the heap; it allocates nothing. */
export interface StatsRecorder {
  /**
   * Adds a batch of a binary classifier: logits, labels (0 to 1), weights and losses, each f32 [n]. Rows of weight 0 are
   * padding. `weights` 0 means all 1; `losses` 0 means the log loss of the logits.
   */
  record(logits: number, labels: number, weights: number, losses: number, n: number): void;
  /**
   * Adds a batch of another task: losses f32 [n], `count` measures a row f32 [n, count] (at most 16) whose means are kept
   * too, weights f32 [n] (or 0). Metrics of binary classifiers stay NaN.
   */
  recordLoss(losses: number, measures: number, count: number, weights: number, n: number): void;
}

const SNAPSHOT_TRIES = 64;

export class WindowStats {
  readonly handle: WindowStatsHandle;
  readonly #heap: Heap;
  readonly #kernel: BinaryStatsKernel;

  private constructor(heap: Heap, handle: WindowStatsHandle) {
    this.#heap = heap;
    this.handle = handle;
    this.#kernel = instantiate<BinaryStatsKernel>("binary-stats", heap);
  }

  /** Makes cells for `threads` trainer threads, 98 KB each. @throws RangeError for a wrong number of threads. */
  static create(heap: Heap, options: { threads: number }): WindowStats {
    const { threads } = options;
    if (!Number.isInteger(threads) || threads < 1) {
      throw new RangeError(`WindowStats: threads must be an integer of at least 1, got ${threads}`);
    }
    return new WindowStats(heap, { cells: heap.alloc(threads * CELL_BYTES), threads });
  }

  static attach(heap: Heap, handle: WindowStatsHandle): WindowStats {
    return new WindowStats(heap, handle);
  }

  /** The recorder of trainer thread `thread`; only that thread may use it. */
  recorder(thread: number): StatsRecorder {
    const cell = this.#cell(thread);
    const kernel = this.#kernel;
    return {
      record: (logits, labels, weights, losses, n) => kernel.update(cell, logits, labels, weights, losses, n),
      recordLoss: (losses, measures, count, weights, n) => kernel.updateLoss(cell, losses, measures, count, weights, n),
    };
  }

  /** A reader whose first window starts now. Readers do not disturb each other: each has its own windows. */
  reader(): WindowReader {
    const { threads } = this.handle;
    return new WindowReader(
      this.#heap,
      this.#kernel,
      Array.from({ length: threads }, (_, thread) => this.#cell(thread)),
    );
  }

  /** Frees the cells; no thread may record any more. */
  free(): void {
    this.#heap.free(this.handle.cells);
  }

  #cell(thread: number): number {
    if (!Number.isInteger(thread) || thread < 0 || thread >= this.handle.threads) {
      throw new RangeError(
        `WindowStats: thread must be an integer from 0 to ${this.handle.threads - 1}, got ${thread}`,
      );
    }
    return this.handle.cells + thread * CELL_BYTES;
  }
}

/** Reads windows over all threads. Belongs to the thread that made it. */
export class WindowReader {
  readonly #heap: Heap;
  readonly #kernel: BinaryStatsKernel;
  readonly #cells: readonly number[];
  /** One block: the cell as it is now, the sum over threads, then the last look at each thread. */
  readonly #memory: number;

  /** Use `WindowStats.reader()`. */
  constructor(heap: Heap, kernel: BinaryStatsKernel, cells: readonly number[]) {
    this.#heap = heap;
    this.#kernel = kernel;
    this.#cells = cells;
    this.#memory = heap.alloc((2 + cells.length) * CELL_BYTES);
    this.#collect();
  }

  /** Metrics of what was recorded since the last call (or since the reader was made). */
  read(): WindowMetrics {
    this.#collect();
    return cellMetrics(this.#heap, this.#memory + CELL_BYTES);
  }

  free(): void {
    this.#heap.free(this.#memory);
  }

  #collect(): void {
    const now = this.#memory;
    const sum = now + CELL_BYTES;
    this.#heap.u8(sum, CELL_BYTES).fill(0);
    for (const [thread, cell] of this.#cells.entries()) {
      // A copy of one moment when possible. A thread that was paused in the middle of its call would keep us waiting, so
      // after some tries its batch may be split between this window and the next: still nothing is lost or counted twice.
      for (let tries = 0; tries < SNAPSHOT_TRIES; tries++) {
        if (this.#kernel.snapshot(cell, now) === 1) break;
      }
      this.#kernel.accumulateDifference(now, sum + CELL_BYTES * (1 + thread), sum);
    }
  }
}
