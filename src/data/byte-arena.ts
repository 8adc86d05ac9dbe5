// Bytes of unforeseen number and size in the heap, forgotten all at once.
import type { Heap } from "../memory/index.ts";

const CHUNK_BYTES = 512 * 1024;
/** Kernels may read this far beyond what was put in. */
const PADDING = 16;

export class ByteArena {
  readonly #heap: Heap;
  readonly #chunks: Uint8Array[] = [];
  #chunk = -1;
  #view: Uint8Array = new Uint8Array();
  #used = 0;

  constructor(heap: Heap) {
    this.#heap = heap;
  }

  /** Forgets everything and keeps the memory. */
  clear(): void {
    this.#chunk = -1;
    this.#view = new Uint8Array();
    this.#used = 0;
  }

  /** Room for `bytes` bytes, at a multiple of `align`, until `clear`. */
  reserve(bytes: number, align = 1): number {
    let at = Math.ceil(this.#used / align) * align;
    if (at + bytes + PADDING > this.#view.length) {
      this.#nextChunk(bytes + PADDING);
      at = 0;
    }
    this.#used = at + bytes;
    return this.#view.byteOffset + at;
  }

  /** A copy of the bytes. */
  put(bytes: Uint8Array): number {
    const address = this.reserve(bytes.length);
    this.#view.set(bytes, address - this.#view.byteOffset);
    return address;
  }

  #nextChunk(bytes: number): void {
    this.#chunk++;
    const chunk = this.#chunks[this.#chunk];
    if (chunk === undefined || chunk.length < bytes) {
      const size = Math.max(CHUNK_BYTES, bytes);
      this.#chunks.splice(this.#chunk, 0, this.#heap.u8(this.#heap.alloc(size), size));
    }
    this.#view = this.#chunks[this.#chunk]!;
  }

  free(): void {
    for (const chunk of this.#chunks.splice(0)) this.#heap.free(chunk.byteOffset);
    this.clear();
  }
}
