// Waiting for other threads on words of shared memory: a lock and a barrier. Both spin a little (the other side is
// usually microseconds away) and then sleep in the kernel, so that more threads than cores do no harm.

const SPINS = 2000;

/** A mutual-exclusion lock on one i32 word (0 = free, 1 = held, 2 = held and someone sleeps). */
export class Lock {
  readonly #words: Int32Array;
  readonly #index: number;

  constructor(words: Int32Array, index: number) {
    this.#words = words;
    this.#index = index;
  }

  /** @throws when the lock stays held for `timeoutMs`: its holder was terminated, or waits for this thread. */
  acquire(what: string, timeoutMs = 60_000): void {
    const words = this.#words;
    const index = this.#index;
    for (let spin = 0; spin < SPINS; spin++) {
      if (Atomics.compareExchange(words, index, 0, 1) === 0) return;
    }
    const deadline = performance.now() + timeoutMs;
    while (Atomics.exchange(words, index, 2) !== 0) {
      const left = deadline - performance.now();
      if (left <= 0 || Atomics.wait(words, index, 2, left) === "timed-out") {
        throw new Error(
          `${what} is locked for ${timeoutMs / 1000} s: a thread was terminated while it held the lock; restart the process`,
        );
      }
    }
  }

  release(): void {
    if (Atomics.exchange(this.#words, this.#index, 0) === 2) Atomics.notify(this.#words, this.#index, 1);
  }
}

/**
 * Lets `parties` threads wait for each other, again and again. Its state is three i32 words of shared memory, 0 at first:
 * arrivals, generation, stopped. Every thread makes its own `Barrier` over the same words.
 */
export class Barrier {
  static readonly words = 3;
  readonly parties: number;
  readonly #words: Int32Array;

  constructor(words: Int32Array, parties: number) {
    if (words.length < Barrier.words || !(words.buffer instanceof SharedArrayBuffer)) {
      throw new RangeError(`a barrier needs ${Barrier.words} i32 words of shared memory, got ${words.length}`);
    }
    if (!Number.isInteger(parties) || parties < 1) {
      throw new RangeError(`a barrier's parties must be a positive integer, got ${parties}`);
    }
    this.#words = words;
    this.parties = parties;
  }

  /**
   * Returns when all parties have arrived: true, or false when the barrier was stopped (also for later calls).
   * @throws when the others do not arrive within `timeoutMs`.
   */
  wait(timeoutMs = Number.POSITIVE_INFINITY): boolean {
    const words = this.#words;
    const generation = Atomics.load(words, 1);
    if (Atomics.load(words, 2) !== 0) return false;
    if (Atomics.add(words, 0, 1) + 1 === this.parties) {
      Atomics.store(words, 0, 0);
      Atomics.add(words, 1, 1);
      Atomics.notify(words, 1);
      return true;
    }
    for (let spin = 0; spin < SPINS; spin++) {
      if (Atomics.load(words, 1) !== generation) return Atomics.load(words, 2) === 0;
    }
    const deadline = performance.now() + timeoutMs;
    while (Atomics.load(words, 1) === generation) {
      if (Atomics.wait(words, 1, generation, Math.max(0, deadline - performance.now())) === "timed-out") {
        throw new Error(
          `only ${Atomics.load(words, 0)} of ${this.parties} threads reached the barrier in ${timeoutMs} ms`,
        );
      }
    }
    return Atomics.load(words, 2) === 0;
  }

  /** Wakes everyone, now and for ever: for a thread that fails and will never arrive. */
  stop(): void {
    Atomics.store(this.#words, 2, 1);
    Atomics.add(this.#words, 1, 1);
    Atomics.notify(this.#words, 1);
  }
}
