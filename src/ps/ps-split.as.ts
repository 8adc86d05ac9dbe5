// Sharing keys out to partitions: a stable counting sort by the partition's number, and moving keys and rows by it.
import { mix64 } from "../table/random.as";

// @ts-ignore: decorator
@inline
function partitionOf(key: u64, partitions: u64): u32 {
  return <u32>(((mix64(key ^ 0x9e3779b97f4a7c15) >> 32) * partitions) >> 32);
}

/**
 * Sorts the places 0…n−1 by the partition of their keys into `order` u32 [n]: those of partition p are at `starts`[p] to
 * `starts`[p + 1], in their old order. `starts` is u32 [partitions + 1], `owners` scratch u32 [n].
 */
export function split(keys: usize, n: u32, partitions: u32, owners: usize, starts: usize, order: usize): void {
  memory.fill(starts, 0, (<usize>partitions + 1) << 2);
  for (let i: usize = 0; i < <usize>n; i++) {
    const owner = partitionOf(load<u64>(keys + (i << 3)), partitions);
    store<u32>(owners + (i << 2), owner);
    const count = starts + ((<usize>owner + 1) << 2);
    store<u32>(count, load<u32>(count) + 1);
  }
  for (let p: usize = 1; p <= <usize>partitions; p++) {
    const at = starts + (p << 2);
    store<u32>(at, load<u32>(at) + load<u32>(at - 4));
  }
  for (let i: usize = 0; i < <usize>n; i++) {
    const at = starts + (<usize>load<u32>(owners + (i << 2)) << 2);
    const place = load<u32>(at);
    store<u32>(at, place + 1);
    store<u32>(order + (<usize>place << 2), <u32>i);
  }
  // Each start has moved to its end, which is the next one's start.
  for (let p: usize = partitions; p > 0; p--) store<u32>(starts + (p << 2), load<u32>(starts + ((p - 1) << 2)));
  store<u32>(starts, 0);
}

/** Keeps the keys of one partition: writes the places of theirs to `places` u32, returns how many. */
export function keep(keys: usize, n: u32, partitions: u32, partition: u32, places: usize): u32 {
  let count: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    store<u32>(places + (<usize>count << 2), i);
    count += u32(partitionOf(load<u64>(keys + (<usize>i << 3)), partitions) == partition);
  }
  return count;
}

const FIRST: u32 = 0x80000000;
const SKIP: u32 = 0x7fffffff;

/**
 * Numbers the distinct keys of `keys` [n] into `numbers` u32 [n] and appends them to `unique`, of which `count` are there
 * already; returns the new count. A number's top bit says that it is the key's first occurrence; key 0 is SKIP: what the
 * accumulate kernel of row gradients reads. `map` is scratch of (mask + 1) × 16 zeroed bytes, larger than all keys.
 */
export function numberKeys(keys: usize, n: u32, map: usize, mask: u32, unique: usize, count: u32, numbers: usize): u32 {
  for (const end = keys + (<usize>n << 3); keys < end; keys += 8, numbers += 4) {
    const key = load<u64>(keys);
    if (key == 0) {
      store<u32>(numbers, SKIP);
      continue;
    }
    let position = <u32>(mix64(key) >> 20) & mask;
    let slot = map + (<usize>position << 4);
    let found = load<u64>(slot);
    while (i32(found != 0) & i32(found != key)) {
      position = (position + 1) & mask;
      slot = map + (<usize>position << 4);
      found = load<u64>(slot);
    }
    if (found == 0) {
      store<u64>(slot, key);
      store<u32>(slot, count, 8);
      store<u64>(unique + (<usize>count << 3), key);
      store<u32>(numbers, count++ | FIRST);
    } else store<u32>(numbers, load<u32>(slot, 8));
  }
  return count;
}

/** out[i] = keys[order[i]] */
export function takeKeys(keys: usize, order: usize, n: u32, out: usize): void {
  for (const end = order + (<usize>n << 2); order < end; order += 4, out += 8) {
    store<u64>(out, load<u64>(keys + (<usize>load<u32>(order) << 3)));
  }
}

/** out[i] = rows[order[i]], rows of `bytes`, a multiple of 2. */
export function takeRows(rows: usize, order: usize, n: u32, bytes: usize, out: usize): void {
  for (const end = order + (<usize>n << 2); order < end; order += 4, out += bytes) {
    copy(out, rows + <usize>load<u32>(order) * bytes, bytes);
  }
}

/** out[order[i]] = rows[i], the inverse of takeRows. */
export function putRows(rows: usize, order: usize, n: u32, bytes: usize, out: usize): void {
  for (const end = order + (<usize>n << 2); order < end; order += 4, rows += bytes) {
    copy(out + <usize>load<u32>(order) * bytes, rows, bytes);
  }
}

// @ts-ignore: decorator
@inline
function copy(to: usize, from: usize, bytes: usize): void {
  let left = bytes;
  for (; left >= 16; left -= 16, to += 16, from += 16) v128.store(to, v128.load(from));
  for (; left > 0; left -= 2, to += 2, from += 2) store<u16>(to, load<u16>(from));
}
