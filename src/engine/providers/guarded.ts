// For the contract: blocks of memory that tell whether something beside them was written, and numbers to fill them with.
import type { Heap } from "../../memory/index.ts";

const GUARD_BYTES = 64;
const GUARD = 0xa5;

export interface Guarded {
  readonly pointer: number;
  intact(): boolean;
  free(): void;
}

/** A block with guards right before and after it. */
export function guarded(heap: Heap, bytes: number): Guarded {
  const block = heap.alloc(GUARD_BYTES + bytes + GUARD_BYTES);
  const guards = [heap.u8(block, GUARD_BYTES), heap.u8(block + GUARD_BYTES + bytes, GUARD_BYTES)];
  for (const guard of guards) guard.fill(GUARD);
  return {
    pointer: block + GUARD_BYTES,
    intact: () => guards.every((guard) => guard.every((byte) => byte === GUARD)),
    free: () => heap.free(block),
  };
}

/** xorshift32: the same numbers in every thread. */
export function generator(seed: number): () => number {
  let state = (seed * 2654435761) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
