// Rings of slots in the heap between two threads, one that fills and one that empties, in order: what the communicator
// prepares for a trainer, and the gradients that a trainer leaves for the communicator.
import { alignUp } from "../../data/layout.ts";
import type { Heap } from "../../memory/index.ts";

/** What it takes to find a ring; plain data. */
export interface RingHandle {
  readonly address: number;
  readonly slots: number;
  /** Of a slot without its header. */
  readonly bytes: number;
}

// Words of a ring.
const FILLED = 0;
const EMPTIED = 16;
const STATE = 32;
/** Bumped by everything that happens. */
const SIGNAL = 33;
/** Where the f64 is that says how long somebody was blocked. */
const WAITED_BYTE = 192;
const CONTROL_BYTES = 256;
const HEADER_BYTES = 64;

const RUNNING = 0;
const ENDED = 1;
const BROKEN = 2;

/** Why `take` gives no slot. */
export const RING_ENDED = 0;
export const RING_BROKEN = -2;

/** Fields of a prepared slot's header. */
export const HEADER_ROWS = 0;
export const HEADER_WEIGHT = 1;
export const HEADER_SEQUENCE = 2;
/** Field of a gradient slot's header. */
export const HEADER_SAMPLES = 0;

const ringBytes = (slots: number, bytes: number): number => CONTROL_BYTES + slots * (HEADER_BYTES + alignUp(bytes));

const waitedOf = (heap: Heap, { address }: RingHandle): Float64Array => heap.f64(address + WAITED_BYTE, 1);

/** For how many milliseconds `waitFree` and `waitFilled` have blocked. One side of a ring may use them. */
export const waitedMs = (heap: Heap, handle: RingHandle): number => waitedOf(heap, handle)[0]!;

/**
 * One side's view. Slots are numbers that count up; both sides may hold several. Numbers of a slot's header: f64 0 to 7.
 */
export class Ring {
  readonly handle: RingHandle;
  readonly #words: Int32Array;
  readonly #waited: Float64Array;
  readonly #headers: readonly Float64Array[];
  readonly #addresses: readonly number[];
  readonly #slots: number;
  readonly #heap: Heap;
  /** Slots that this side has begun to fill or to empty. */
  #begun: number;

  private constructor(heap: Heap, handle: RingHandle, side: "fill" | "empty") {
    this.#heap = heap;
    this.handle = handle;
    this.#slots = handle.slots;
    this.#words = heap.i32(handle.address, CONTROL_BYTES / 4);
    this.#waited = waitedOf(heap, handle);
    const stride = HEADER_BYTES + alignUp(handle.bytes);
    const at = (slot: number): number => handle.address + CONTROL_BYTES + slot * stride;
    this.#headers = Array.from({ length: handle.slots }, (_, slot) => heap.f64(at(slot), 8));
    this.#addresses = this.#headers.map(({ byteOffset }) => byteOffset + HEADER_BYTES);
    this.#begun = Atomics.load(this.#words, side === "fill" ? FILLED : EMPTIED);
  }

  static create(heap: Heap, slots: number, bytes: number): RingHandle {
    return { address: heap.alloc(ringBytes(slots, bytes)), slots, bytes };
  }

  static attach(heap: Heap, handle: RingHandle, side: "fill" | "empty"): Ring {
    return new Ring(heap, handle, side);
  }

  free(): void {
    this.#heap.free(this.handle.address);
  }

  address(slot: number): number {
    return this.#addresses[slot % this.#slots]!;
  }

  header(slot: number): Float64Array {
    return this.#headers[slot % this.#slots]!;
  }

  /** Whether a slot is free to be filled. */
  get hasFree(): boolean {
    return ((this.#begun - Atomics.load(this.#words, EMPTIED)) | 0) < this.#slots;
  }

  /** Whether a filled slot has not been taken. */
  get hasFilled(): boolean {
    return Atomics.load(this.#words, FILLED) !== this.#begun;
  }

  get broken(): boolean {
    return Atomics.load(this.#words, STATE) === BROKEN;
  }

  /** Slots given back so far. */
  get emptied(): number {
    return Atomics.load(this.#words, EMPTIED) >>> 0;
  }

  isEmptied(slot: number): boolean {
    return ((slot - Atomics.load(this.#words, EMPTIED)) | 0) < 0;
  }

  /** The next slot: to be filled where one is free, or to be emptied where one is filled. */
  begin(): number {
    const slot = this.#begun;
    this.#begun = (slot + 1) | 0;
    return slot >>> 0;
  }

  /** The oldest slot that was begun is filled. */
  fill(): void {
    Atomics.add(this.#words, FILLED, 1);
    this.#wake();
  }

  /** The oldest slot that was begun is empty again. */
  empty(): void {
    Atomics.add(this.#words, EMPTIED, 1);
    this.#wake();
  }

  /** No more will be filled. */
  end(): void {
    Atomics.compareExchange(this.#words, STATE, RUNNING, ENDED);
    this.#wake();
  }

  /** Nobody shall wait any more, nor take what is there. */
  break(): void {
    Atomics.store(this.#words, STATE, BROKEN);
    this.#wake();
  }

  /** Blocks until a slot is free; −2 when the ring is broken. */
  waitFree(): number {
    for (;;) {
      const signal = Atomics.load(this.#words, SIGNAL);
      if (this.broken) return RING_BROKEN;
      if (this.hasFree) return 1;
      this.#block(signal);
    }
  }

  /** Blocks until a slot is filled; 0 when no more will come, −2 when the ring is broken. */
  waitFilled(): number {
    for (;;) {
      const signal = Atomics.load(this.#words, SIGNAL);
      if (this.broken) return RING_BROKEN;
      if (this.hasFilled) return 1;
      if (Atomics.load(this.#words, STATE) === ENDED) return RING_ENDED;
      this.#block(signal);
    }
  }

  /** Resolves when `ready` says so, which is asked after everything that happens to the ring. */
  async until(ready: () => boolean): Promise<void> {
    for (;;) {
      const signal = Atomics.load(this.#words, SIGNAL);
      if (ready()) return;
      const waiting = Atomics.waitAsync(this.#words, SIGNAL, signal);
      if (waiting.async) await waiting.value;
    }
  }

  /** Resolves when something has happened to the ring since this was called. */
  async changed(): Promise<void> {
    const waiting = Atomics.waitAsync(this.#words, SIGNAL, Atomics.load(this.#words, SIGNAL));
    if (waiting.async) await waiting.value;
  }

  #block(signal: number): void {
    const start = performance.now();
    Atomics.wait(this.#words, SIGNAL, signal);
    this.#waited[0]! += performance.now() - start;
  }

  #wake(): void {
    Atomics.add(this.#words, SIGNAL, 1);
    Atomics.notify(this.#words, SIGNAL);
  }
}
