// Calls on their way to the communication thread, in words of the heap: any thread of the process starts calls and waits for
// them without messages or allocation. Calls are done in the order in which they were started, so a ticket is a number.
import { type Heap, Lock } from "../memory/index.ts";
import { MismatchError, PeerError, StallError } from "./errors.ts";

const W = { lock: 0, started: 16, finished: 32, state: 48, kind: 49, culprit: 50, textBytes: 51, calls: 64 } as const;
const PLACES = 256;
const TEXT_BYTES = 1024;
const WORDS = W.calls + PLACES + TEXT_BYTES / 4;
const TEXT = W.calls + PLACES;
/** Behind the words: when each call began and ended, two float64 a place. */
const TIMES = 4 * WORDS;
const State = { running: 0, failed: 1, closed: 2 } as const;
/** The call that ends the thread. */
const END = -1;

const kinds = [Error, PeerError, StallError, MismatchError] as const;

/** Threads count their own time from when they began; this one is the same in all of them. */
const clock = (): number => performance.timeOrigin + performance.now();

/** A call that was started. */
export type Ticket = number;

export class CallQueue {
  readonly address: number;
  readonly #words: Int32Array;
  readonly #text: Uint8Array;
  readonly #times: Float64Array;
  readonly #lock: Lock;

  /** A queue that `create` made, in any thread. */
  constructor(heap: Heap, address: number) {
    this.address = address;
    this.#words = heap.i32(address, WORDS);
    this.#text = heap.u8(address + 4 * TEXT, TEXT_BYTES);
    this.#times = heap.f64(address + TIMES, 2 * PLACES);
    this.#lock = new Lock(this.#words, W.lock);
  }

  static create(heap: Heap): CallQueue {
    return new CallQueue(heap, heap.alloc(TIMES + 16 * PLACES));
  }

  /**
   * Starts a prepared call. Threads that start calls at the same time must agree with other ranks on the order: usually one
   * thread of each rank starts them all.
   * @throws the group's failure
   */
  start(call: number): Ticket {
    this.#throwIfEnded();
    this.#lock.acquire("the queue of collectives");
    try {
      const started = Atomics.load(this.#words, W.started);
      while (((started - Atomics.load(this.#words, W.finished)) | 0) >= PLACES) {
        this.#sleep(Atomics.load(this.#words, W.finished));
        this.#throwIfEnded();
      }
      this.#words[W.calls + (started & (PLACES - 1))] = call;
      Atomics.store(this.#words, W.started, (started + 1) | 0);
      Atomics.notify(this.#words, W.started);
      return (started + 1) | 0;
    } finally {
      this.#lock.release();
    }
  }

  isDone(ticket: Ticket): boolean {
    if (((Atomics.load(this.#words, W.finished) - ticket) | 0) >= 0) return true;
    this.#throwIfEnded();
    return false;
  }

  /** Blocks until the call is done. @throws PeerError when a rank failed */
  wait(ticket: Ticket): void {
    for (;;) {
      const finished = Atomics.load(this.#words, W.finished);
      if (this.isDone(ticket)) return;
      this.#sleep(finished);
    }
  }

  /** When the communication thread began a call that is done, in milliseconds since 1970; known of the last 256 calls. */
  beganAt(ticket: Ticket): number {
    return this.#times[2 * ((ticket - 1) & (PLACES - 1))]!;
  }

  endedAt(ticket: Ticket): number {
    return this.#times[2 * ((ticket - 1) & (PLACES - 1)) + 1]!;
  }

  /** As `wait`, without blocking. */
  async done(ticket: Ticket): Promise<void> {
    for (;;) {
      const finished = Atomics.load(this.#words, W.finished);
      if (this.isDone(ticket)) return;
      const waiting = Atomics.waitAsync(this.#words, W.finished, finished);
      if (waiting.async) await waiting.value;
    }
  }

  /** For the communication thread: the next call, or undefined when the group ends. Blocks. */
  take(): number | undefined {
    const finished = Atomics.load(this.#words, W.finished);
    while (Atomics.load(this.#words, W.started) === finished) Atomics.wait(this.#words, W.started, finished);
    const call = this.#words[W.calls + (finished & (PLACES - 1))]!;
    this.#times[2 * (finished & (PLACES - 1))] = clock();
    return call === END ? undefined : call;
  }

  /** For the communication thread: the call that it took is done. */
  finish(): void {
    this.#times[2 * (Atomics.load(this.#words, W.finished) & (PLACES - 1)) + 1] = clock();
    Atomics.add(this.#words, W.finished, 1);
    Atomics.notify(this.#words, W.finished);
  }

  /** All calls that are not done fail with this error, as do later ones. The first failure counts. */
  fail(error: Error): void {
    if (Atomics.load(this.#words, W.state) !== State.running) return;
    const text = Buffer.from(error.message).subarray(0, TEXT_BYTES);
    this.#text.set(text);
    this.#words[W.textBytes] = text.length;
    this.#words[W.kind] = Math.max(
      0,
      kinds.findLastIndex((kind) => error instanceof kind),
    );
    this.#words[W.culprit] = error instanceof PeerError ? error.rank : -1;
    this.#end(State.failed);
  }

  /** Ends the communication thread after the calls that were started. */
  close(): void {
    if (Atomics.load(this.#words, W.state) === State.running) this.start(END);
  }

  /** From now on nothing can be started. */
  closed(): void {
    if (Atomics.load(this.#words, W.state) === State.running) this.#end(State.closed);
  }

  /** The call that the communication thread is at; undefined where all that were started are done. */
  get current(): number | undefined {
    const finished = Atomics.load(this.#words, W.finished);
    return Atomics.load(this.#words, W.started) === finished
      ? undefined
      : this.#words[W.calls + (finished & (PLACES - 1))]!;
  }

  /** Why nothing can be started any more; undefined while calls can. */
  get failure(): Error | undefined {
    try {
      this.#throwIfEnded();
      return undefined;
    } catch (error) {
      return error as Error;
    }
  }

  #end(state: number): void {
    Atomics.store(this.#words, W.state, state);
    Atomics.notify(this.#words, W.finished);
  }

  #sleep(finished: number): void {
    if (Atomics.load(this.#words, W.state) === State.running) Atomics.wait(this.#words, W.finished, finished, 1000);
  }

  #throwIfEnded(): void {
    const state = Atomics.load(this.#words, W.state);
    if (state === State.running) return;
    if (state === State.closed) throw new Error("the group is closed; no collective can follow");
    const text = Buffer.from(this.#text.slice(0, this.#words[W.textBytes]!)).toString();
    const culprit = this.#words[W.culprit]!;
    switch (kinds[this.#words[W.kind]!]) {
      case MismatchError:
        throw new MismatchError(culprit, text);
      case StallError:
        throw new StallError(culprit, text);
      case PeerError:
        throw new PeerError(culprit, text);
      default:
        throw new Error(text);
    }
  }
}
