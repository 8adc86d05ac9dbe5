// The words of the heap that all threads of a run share: the step counter, the barrier of mode `sync` and the number of
// rows that each thread brings to a step.
import { Barrier, type Heap } from "../memory/index.ts";

const STEP_WORD = 0;
const BARRIER_WORD = 16;
const ROWS_WORD = 32;

export class Control {
  readonly address: number;
  readonly #heap: Heap;
  readonly #words: Int32Array;
  readonly #threads: number;

  private constructor(heap: Heap, address: number, threads: number) {
    this.address = address;
    this.#heap = heap;
    this.#threads = threads;
    this.#words = heap.i32(address, ROWS_WORD + threads);
  }

  static create(heap: Heap, threads: number): Control {
    return new Control(heap, heap.alloc(4 * (ROWS_WORD + threads)), threads);
  }

  static attach(heap: Heap, address: number, threads: number): Control {
    return new Control(heap, address, threads);
  }

  free(): void {
    this.#heap.free(this.address);
  }

  /** Optimizer steps done or begun, over all threads. */
  get step(): number {
    return Atomics.load(this.#words, STEP_WORD) >>> 0;
  }

  set step(value: number) {
    Atomics.store(this.#words, STEP_WORD, value);
  }

  /** Takes the next step's number. */
  nextStep(): number {
    return Atomics.add(this.#words, STEP_WORD, 1) >>> 0;
  }

  barrier(): Barrier {
    return new Barrier(this.#words.subarray(BARRIER_WORD, BARRIER_WORD + Barrier.words), this.#threads);
  }

  /** Lets nobody wait at the barrier any more: a thread failed, perhaps without a word. */
  stop(): void {
    this.barrier().stop();
  }

  /** Says how many rows this thread brings to the coming step; read by the others after a barrier. */
  setRows(thread: number, rows: number): void {
    Atomics.store(this.#words, ROWS_WORD + thread, rows);
  }

  /** Rows of the union batch. */
  totalRows(): number {
    let total = 0;
    for (let thread = 0; thread < this.#threads; thread++) total += Atomics.load(this.#words, ROWS_WORD + thread);
    return total;
  }
}
