// The kernel that shares keys and rows out to partitions, for workers and for loading.
import { type Heap, instantiate } from "../memory/index.ts";

/** Pointers are byte offsets into the heap. */
export interface SplitKernel {
  /**
   * Sorts the places of `n` keys by partition into `order` u32 [n]: those of partition p stand from `starts`[p] to
   * `starts`[p + 1] in their old order. `starts` is u32 [partitions + 1], `owners` is scratch u32 [n].
   */
  split(keys: number, n: number, partitions: number, owners: number, starts: number, order: number): void;
  /** The places of the keys of one partition to `places` u32 [n]; returns how many. */
  keep(keys: number, n: number, partitions: number, partition: number, places: number): number;
  /**
   * Numbers the distinct keys into `numbers` u32 [n] and appends them to `unique` u64, where `count` are already; returns the
   * new count. `map` is scratch of (mask + 1) × 16 zeroed bytes; mask + 1 is a power of two larger than all keys together.
   * Then `accumulate(numbers, n, values, width, sums, 1)` of the kernel "row-gradients" adds values up by key.
   */
  numberKeys(
    keys: number,
    n: number,
    map: number,
    mask: number,
    unique: number,
    count: number,
    numbers: number,
  ): number;
  /** out[i] = keys[order[i]] */
  takeKeys(keys: number, order: number, n: number, out: number): void;
  /** out[i] = rows[order[i]], rows of `bytes`, a multiple of 2 */
  takeRows(rows: number, order: number, n: number, bytes: number, out: number): void;
  /** out[order[i]] = rows[i] */
  putRows(rows: number, order: number, n: number, bytes: number, out: number): void;
}

export const splitKernel = (heap: Heap): SplitKernel => instantiate<SplitKernel>("ps-split", heap);
