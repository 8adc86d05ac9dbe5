// The words of the heap that all threads of a run share: the step counter, the barrier of mode `sync` and what each thread
// brings to a step: the number of rows and what they weigh.
import { Barrier, type Heap } from "../memory/index.ts";

const STEP_WORD = 0;
/** What this rank asks of all, what all have agreed on, and the rows of all ranks; their weight is a float64. */
const ASKED_WORD = 1;
const AGREED_WORD = 2;
const ALL_ROWS_WORD = 3;
const ALL_WEIGHT_WORD = 4;
const BARRIER_WORD = 16;
const WEIGHTS_WORD = 32;
/** Of the word of agreements: nobody is to wait for one any more. */
const ENDED = 1 << 30;
/** Words a thread: its weight as float64, then, after all threads' weights, its rows. */
const WORDS_A_THREAD = 3;

/** What a rank can ask all ranks for, between two steps; added up. */
export const Wish = { pause: 1, stop: 2 } as const;

export class Control {
  readonly address: number;
  readonly #heap: Heap;
  readonly #words: Int32Array;
  readonly #weights: Float64Array;
  readonly #allWeight: Float64Array;
  readonly #threads: number;

  private constructor(heap: Heap, address: number, threads: number) {
    this.address = address;
    this.#heap = heap;
    this.#threads = threads;
    this.#words = heap.i32(address, WEIGHTS_WORD + WORDS_A_THREAD * threads);
    this.#allWeight = heap.f64(address + 4 * ALL_WEIGHT_WORD, 1);
    this.#weights = heap.f64(address + 4 * WEIGHTS_WORD, threads);
  }

  static create(heap: Heap, threads: number): Control {
    return new Control(heap, heap.alloc(4 * (WEIGHTS_WORD + WORDS_A_THREAD * threads)), threads);
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

  /** Says how many rows of which weight this thread brings to the coming step; read by the others after a barrier. */
  bring(thread: number, rows: number, weight: number): void {
    this.#weights[thread] = weight;
    Atomics.store(this.#words, this.#rowsWord(thread), rows);
  }

  /** Rows of the union batch. */
  totalRows(): number {
    let total = 0;
    for (let thread = 0; thread < this.#threads; thread++) {
      total += Atomics.load(this.#words, this.#rowsWord(thread));
    }
    return total;
  }

  /** What these rows weigh together. */
  totalWeight(): number {
    let total = 0;
    for (let thread = 0; thread < this.#threads; thread++) total += this.#weights[thread]!;
    return total;
  }

  /** What this rank asks all ranks for: a sum of `Wish`es. */
  get asked(): number {
    return Atomics.load(this.#words, ASKED_WORD);
  }

  ask(wish: number): void {
    Atomics.or(this.#words, ASKED_WORD, wish);
  }

  /** What all ranks have agreed on. */
  get agreed(): number {
    return Atomics.load(this.#words, AGREED_WORD) & ~ENDED;
  }

  agree(wishes: number): void {
    if (wishes === 0) return;
    Atomics.or(this.#words, AGREED_WORD, wishes);
    Atomics.notify(this.#words, AGREED_WORD);
  }

  /** Forgets wishes and what was agreed on. */
  clearWishes(): void {
    Atomics.store(this.#words, ASKED_WORD, 0);
    Atomics.store(this.#words, AGREED_WORD, 0);
  }

  /** Resolves when the ranks have agreed on something, or nobody is to wait for that any more. */
  async agreement(): Promise<void> {
    while (Atomics.load(this.#words, AGREED_WORD) === 0) {
      const waiting = Atomics.waitAsync(this.#words, AGREED_WORD, 0);
      if (waiting.async) await waiting.value;
    }
  }

  /** Ends the wait for an agreement. */
  endAgreement(): void {
    Atomics.or(this.#words, AGREED_WORD, ENDED);
    Atomics.notify(this.#words, AGREED_WORD);
  }

  /** Says what all ranks have brought together; read by the other threads after a barrier. */
  bringAll(rows: number, weight: number): void {
    this.#allWeight[0] = weight;
    Atomics.store(this.#words, ALL_ROWS_WORD, rows);
  }

  get allRows(): number {
    return Atomics.load(this.#words, ALL_ROWS_WORD);
  }

  get allWeight(): number {
    return this.#allWeight[0]!;
  }

  #rowsWord(thread: number): number {
    return WEIGHTS_WORD + 2 * this.#threads + thread;
  }
}
