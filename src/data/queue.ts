// The trainer's end of a pipeline: takes ready batches from its own ring and gives the slots back.
import type { Heap } from "../memory/index.ts";
import type { BatchLayout } from "./layout.ts";
import {
  ACTIVE,
  COMMAND,
  FAILED,
  FREE,
  FREED,
  INTERRUPT,
  PAUSE,
  type PipelineHandle,
  READY,
  RELEASED,
  Rings,
  ROWS,
  SIGNAL,
  SLOT_SEQUENCE,
  STATE,
  TAKEN,
  WAITING,
} from "./ring.ts";

/** What `next` returns instead of an address. */
export const EPOCH_END = 0;
export const TIMED_OUT = -1;
export const INTERRUPTED = -2;

/**
 * @example
 * const queue = BatchQueue.attach(heap, handle, trainer);
 * for (let slot = queue.next(); slot > 0; slot = queue.next()) {
 *   step(slot, queue.rows);
 *   queue.release();
 * }
 */
export class BatchQueue {
  readonly layout: BatchLayout;
  readonly trainer: number;
  readonly #rings: Rings;
  readonly #words: Int32Array;
  readonly #signal: number;
  readonly #interrupt: number;
  readonly #first: number;
  readonly #wakeFrom: number;
  #current = -1;

  private constructor(rings: Rings, trainer: number) {
    this.#rings = rings;
    this.#words = rings.words;
    this.layout = rings.handle.layout;
    this.trainer = trainer;
    this.#signal = rings.ringWord(trainer, SIGNAL);
    this.#interrupt = rings.ringWord(trainer, INTERRUPT);
    this.#first = trainer * rings.handle.slots;
    this.#wakeFrom = Math.ceil(rings.handle.slots / 2);
  }

  /** The queue of one trainer, in whichever thread it runs; one consumer at a time. */
  static attach(heap: Heap, handle: PipelineHandle, trainer: number): BatchQueue {
    if (!Number.isInteger(trainer) || trainer < 0 || trainer >= handle.trainers) {
      throw new RangeError(`this pipeline serves trainers 0 to ${handle.trainers - 1}, got trainer ${trainer}`);
    }
    return new BatchQueue(new Rings(heap, handle), trainer);
  }

  /**
   * Blocks until a batch is there and returns the address of its slot, which stays the caller's until `release`.
   * Otherwise `EPOCH_END` (0) when all rows are delivered, the reader failed, or the pipeline is paused and this ring is
   * empty; `INTERRUPTED` (−2) after `pipeline.interrupt()`; `TIMED_OUT` (−1) after `timeoutMs`.
   */
  next(timeoutMs = Number.POSITIVE_INFINITY): number {
    let deadline = Number.NaN;
    for (;;) {
      const signal = Atomics.load(this.#words, this.#signal);
      const found = this.#take();
      if (found !== TIMED_OUT) return found;
      let left = timeoutMs;
      if (timeoutMs !== Number.POSITIVE_INFINITY) {
        if (Number.isNaN(deadline)) deadline = performance.now() + timeoutMs;
        left = Math.max(0, deadline - performance.now());
      }
      this.#beginWait();
      const woken = Atomics.wait(this.#words, this.#signal, signal, left);
      Atomics.sub(this.#words, WAITING, 1);
      if (woken === "timed-out") return TIMED_OUT;
    }
  }

  /** As `next`, without blocking the thread: for the main thread. */
  async nextAsync(): Promise<number> {
    for (;;) {
      const signal = Atomics.load(this.#words, this.#signal);
      const found = this.#take();
      if (found !== TIMED_OUT) return found;
      this.#beginWait();
      const waiting = Atomics.waitAsync(this.#words, this.#signal, signal);
      if (waiting.async) await waiting.value;
      Atomics.sub(this.#words, WAITING, 1);
    }
  }

  /**
   * Gives the current batch's slot back to the readers. Waking one that sleeps costs a trainer up to 50 µs, so it is done
   * only when half of the ring is free again, or when a trainer waits for a batch.
   */
  release(): void {
    if (this.#current < 0) throw new Error("release: no batch is taken; call next() first");
    const header = this.#rings.header(this.#current);
    this.#current = -1;
    Atomics.add(this.#words, RELEASED, 1);
    Atomics.store(header, STATE, FREE);
    Atomics.add(this.#words, FREED, 1);
    if (Atomics.load(this.#words, WAITING) > 0 || this.#free() >= this.#wakeFrom) Atomics.notify(this.#words, FREED);
  }

  /** Rows in the current batch; the rest of the slot is padding of weight 0. */
  get rows(): number {
    return this.#header(ROWS);
  }

  /** What these rows weigh together: their number unless the data has weights. */
  get weight(): number {
    if (this.#current < 0) throw new Error("no batch is taken; call next() first");
    return this.#rings.weight(this.#current);
  }

  /** Number of the current batch in the order in which batches of the epoch were published. */
  get sequence(): number {
    return this.#header(SLOT_SEQUENCE) >>> 0;
  }

  get paused(): boolean {
    return Atomics.load(this.#words, COMMAND) === PAUSE;
  }

  /** Whether the readers met an error; the pipeline's promise carries it. */
  get failed(): boolean {
    return Atomics.load(this.#words, FAILED) !== 0;
  }

  /** From here on every slot that is given back wakes the readers; slots of before are shown to them now. */
  #beginWait(): void {
    Atomics.add(this.#words, WAITING, 1);
    Atomics.notify(this.#words, FREED);
  }

  #free(): number {
    let free = 0;
    for (let slot = this.#first; slot < this.#first + this.#rings.handle.slots; slot++) {
      if (Atomics.load(this.#rings.header(slot), STATE) === FREE) free++;
    }
    return free;
  }

  #header(field: number): number {
    if (this.#current < 0) throw new Error("no batch is taken; call next() first");
    return this.#rings.header(this.#current)[field]!;
  }

  #take(): number {
    if (this.#current >= 0) throw new Error("next: release() the current batch first");
    if (Atomics.load(this.#words, this.#interrupt) !== 0) return INTERRUPTED;
    // Asked before the search: a reader publishes first and leaves afterwards.
    const ended = Atomics.load(this.#words, ACTIVE) <= 0;
    // A reader publishes in order. While a scan went by, an older batch and then a younger one may have come: what is older
    // than the batch that a scan found was there before it, so that a second scan finds it.
    const oldest = this.#oldest() < 0 ? -1 : this.#oldest();
    if (oldest < 0) return ended ? EPOCH_END : TIMED_OUT;
    Atomics.store(this.#rings.header(oldest), STATE, TAKEN);
    this.#current = oldest;
    return this.#rings.address(oldest);
  }

  /** The ready slot of the lowest sequence number that one look over the ring finds, or −1. */
  #oldest(): number {
    let oldest = -1;
    let sequence = Number.POSITIVE_INFINITY;
    for (let slot = this.#first; slot < this.#first + this.#rings.handle.slots; slot++) {
      const header = this.#rings.header(slot);
      if (Atomics.load(header, STATE) !== READY || header[SLOT_SEQUENCE]! >>> 0 >= sequence) continue;
      oldest = slot;
      sequence = header[SLOT_SEQUENCE]! >>> 0;
    }
    return oldest;
  }
}
