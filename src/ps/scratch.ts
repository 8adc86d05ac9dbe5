// Memory of a partition for the time of one request.
import type { Heap } from "../memory/index.ts";

const FIRST_BYTES = 1 << 20;
const ALIGN = 64;
/** Kernels that work on whole groups of elements may reach so far beyond what was asked for. */
const MARGIN = 4096;

export interface ScratchMark {
  readonly blocks: number;
  readonly used: number;
}

/**
 * Hands out stretches one after the other; `reset` takes them all back. Where a request needed several blocks, the next one
 * gets a single one of their size.
 */
export class Scratch {
  readonly #heap: Heap;
  #blocks: { pointer: number; bytes: number }[] = [];
  #used = 0;

  constructor(heap: Heap) {
    this.#heap = heap;
  }

  /** @throws RangeError when the heap is full */
  take(bytes: number): number {
    const wanted = Math.ceil((bytes + MARGIN) / ALIGN) * ALIGN;
    let block = this.#blocks.at(-1);
    if (block === undefined || this.#used + wanted > block.bytes) {
      const size = Math.max(wanted, FIRST_BYTES);
      block = { pointer: this.#heap.alloc(size), bytes: size };
      this.#blocks.push(block);
      this.#used = 0;
    }
    const pointer = block.pointer + this.#used;
    this.#used += wanted;
    return pointer;
  }

  /** What is taken from now on can be given back alone, by `release`. */
  mark(): ScratchMark {
    return { blocks: this.#blocks.length, used: this.#used };
  }

  /** Takes back what was taken since the mark. */
  release({ blocks, used }: ScratchMark): void {
    // The first block after a mark without any stays: it is the next one's.
    for (const { pointer } of this.#blocks.splice(Math.max(1, blocks))) this.#heap.free(pointer);
    this.#used = blocks === 0 ? 0 : used;
  }

  /** Everything that was taken is free again. */
  reset(): void {
    this.#used = 0;
    if (this.#blocks.length <= 1) return;
    const bytes = this.#blocks.reduce((sum, block) => sum + block.bytes, 0);
    for (const { pointer } of this.#blocks) this.#heap.free(pointer);
    this.#blocks = [];
    this.#blocks.push({ pointer: this.#heap.alloc(bytes), bytes });
  }

  /** Gives the memory back to the heap. */
  dispose(): void {
    for (const { pointer } of this.#blocks.splice(0)) this.#heap.free(pointer);
    this.#used = 0;
  }
}
