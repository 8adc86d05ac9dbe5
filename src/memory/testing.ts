// For tests: a heap whose free memory lies above 4 GiB. What lies below was allocated and is never touched, so that it costs
// no memory.
import { Heap } from "./heap.ts";

const LOW_BYTES = 2 ** 32;

/** Every address that this heap gives needs more than 32 bits. `bytes` are left; default 256 MiB. */
export function highHeap(bytes: number = 2 ** 28): Heap {
  const heap = Heap.create({ maxBytes: LOW_BYTES + 2 ** 20 + bytes });
  heap.alloc(LOW_BYTES);
  return heap;
}
