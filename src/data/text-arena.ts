// Texts in the heap, known by their index.
import type { Heap } from "../memory/index.ts";
import { ByteArena } from "./byte-arena.ts";

export class TextArena {
  readonly #bytes: ByteArena;
  readonly #starts: number[] = [];
  readonly #lengths: number[] = [];

  constructor(heap: Heap) {
    this.#bytes = new ByteArena(heap);
  }

  /** Forgets all texts and keeps the memory. */
  clear(): void {
    this.#bytes.clear();
    this.#starts.length = 0;
    this.#lengths.length = 0;
  }

  /** Copies a text in; returns its index. */
  add(bytes: Uint8Array): number {
    this.#starts.push(this.#bytes.put(bytes));
    return this.#lengths.push(bytes.length) - 1;
  }

  /** Addresses and lengths, from entry `at` on, of the texts with the given indices; no index: the empty text. */
  copyEntries(indices: ArrayLike<unknown>, starts: Uint32Array | Float64Array, lengths: Uint32Array, at: number): void {
    for (let i = 0; i < indices.length; i++) {
      const index = indices[i] as number | null | undefined;
      const known = index !== null && index !== undefined;
      starts[at + i] = known ? this.#starts[index]! : 0;
      lengths[at + i] = known ? this.#lengths[index]! : 0;
    }
  }

  free(): void {
    this.#bytes.free();
  }
}
