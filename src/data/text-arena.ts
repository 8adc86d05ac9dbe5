// Texts of any number and length in the heap, known by their index: the dictionary entries of a row group.
import type { Heap } from "../memory/index.ts";

const CHUNK_BYTES = 256 * 1024;
/** Kernels may read this far beyond a text. */
const PADDING = 8;

export class TextArena {
  readonly #heap: Heap;
  #chunks: { address: number; bytes: number }[] = [];
  #chunk = -1;
  #view: Uint8Array = new Uint8Array();
  #used = 0;
  #starts = new Uint32Array(1024);
  #lengths = new Uint32Array(1024);
  #count = 0;

  constructor(heap: Heap) {
    this.#heap = heap;
  }

  /** Forgets all texts and keeps the memory. */
  clear(): void {
    this.#count = 0;
    this.#chunk = -1;
    this.#view = new Uint8Array();
    this.#used = 0;
  }

  /** Copies a text in; returns its index. */
  add(bytes: Uint8Array): number {
    if (this.#used + bytes.length + PADDING > this.#view.length) this.#nextChunk(bytes.length + PADDING);
    this.#view.set(bytes, this.#used);
    if (this.#count === this.#starts.length) this.#grow();
    this.#starts[this.#count] = this.#view.byteOffset + this.#used;
    this.#lengths[this.#count] = bytes.length;
    this.#used += bytes.length;
    return this.#count++;
  }

  /** Addresses and lengths of the texts with indices `values[next]`…; no index: the empty text. */
  copyEntries(
    { values, next }: { readonly values: ArrayLike<unknown>; readonly next: number },
    count: number,
    starts: Uint32Array,
    lengths: Uint32Array,
    at: number,
  ): void {
    for (let i = 0; i < count; i++) {
      const index = values[next + i] as number | null | undefined;
      const known = index !== null && index !== undefined;
      starts[at + i] = known ? this.#starts[index]! : 0;
      lengths[at + i] = known ? this.#lengths[index]! : 0;
    }
  }

  #nextChunk(bytes: number): void {
    this.#chunk++;
    const chunk = this.#chunks[this.#chunk];
    if (chunk === undefined || chunk.bytes < bytes) {
      const size = Math.max(CHUNK_BYTES, bytes);
      this.#chunks.splice(this.#chunk, 0, { address: this.#heap.alloc(size), bytes: size });
    }
    const { address, bytes: size } = this.#chunks[this.#chunk]!;
    this.#view = this.#heap.u8(address, size);
    this.#used = 0;
  }

  #grow(): void {
    const starts = new Uint32Array(2 * this.#count);
    starts.set(this.#starts);
    this.#starts = starts;
    const lengths = new Uint32Array(2 * this.#count);
    lengths.set(this.#lengths);
    this.#lengths = lengths;
  }

  free(): void {
    for (const { address } of this.#chunks) this.#heap.free(address);
    this.#chunks = [];
  }
}
