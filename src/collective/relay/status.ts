// What the two threads of a relay tell each other besides messages: whether it has connected, ended, or failed and why.
import type { Heap } from "../../memory/index.ts";
import { PeerError } from "../errors.ts";

export const Phase = { connecting: 0, open: 1, ended: 2, failed: 3 } as const;
const W = { phase: 0, culprit: 1, textBytes: 2 } as const;
const WORDS = 16;
const TEXT_BYTES = 960;
export const STATUS_BYTES: number = 4 * WORDS + TEXT_BYTES;

export class RelayStatus {
  readonly #words: Int32Array;
  readonly #text: Uint8Array;

  constructor(heap: Heap, address: number) {
    this.#words = heap.i32(address, WORDS);
    this.#text = heap.u8(address + 4 * WORDS, TEXT_BYTES);
  }

  set(phase: number): void {
    Atomics.store(this.#words, W.phase, phase);
    Atomics.notify(this.#words, W.phase);
  }

  fail(error: Error): void {
    const text = Buffer.from(error.message).subarray(0, TEXT_BYTES);
    this.#text.set(text);
    this.#words[W.textBytes] = text.length;
    this.#words[W.culprit] = error instanceof PeerError ? error.rank : -1;
    this.set(Phase.failed);
  }

  /** Waits while the relay is in a phase. */
  waitWhile(phase: number, ms: number): void {
    const deadline = performance.now() + ms;
    while (Atomics.load(this.#words, W.phase) === phase) {
      const left = deadline - performance.now();
      if (left <= 0) return;
      Atomics.wait(this.#words, W.phase, phase, left);
    }
  }

  get phase(): number {
    return Atomics.load(this.#words, W.phase);
  }

  throwIfFailed(): void {
    if (this.phase !== Phase.failed) return;
    const text = Buffer.from(this.#text.slice(0, this.#words[W.textBytes]!)).toString();
    const culprit = this.#words[W.culprit]!;
    throw culprit < 0 ? new Error(text) : new PeerError(culprit, text);
  }
}
