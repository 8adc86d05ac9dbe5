// Blocks of the heap that are freed together.
import type { Heap } from "../../memory/index.ts";

/** Kernels that work on whole groups of elements may reach so far beyond what they are for. */
const MARGIN = 4096;

export class Blocks {
  readonly #heap: Heap;
  readonly #blocks: number[] = [];

  constructor(heap: Heap) {
    this.#heap = heap;
  }

  /** @throws RangeError when the heap is full */
  take(bytes: number): number {
    const block = this.#heap.alloc(bytes + MARGIN);
    this.#blocks.push(block);
    return block;
  }

  free(): void {
    for (const block of this.#blocks.splice(0)) this.#heap.free(block);
  }
}
