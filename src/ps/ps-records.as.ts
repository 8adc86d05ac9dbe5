// Where rows lie on disk: 64-bit keys to numbers of records, open addressing with linear probing. A slot is {key u64, record
// u32, unused u32}; key 0 is an empty slot. The caller keeps at least one slot empty.
import { mix64 } from "../table/random.as";

const NONE: u32 = 0xffffffff;

// @ts-ignore: decorator
@inline
function slotOf(map: usize, position: u32): usize {
  return map + (<usize>position << 4);
}

/** Where the key is, or where it belongs. */
// @ts-ignore: decorator
@inline
function positionOf(map: usize, mask: u32, key: u64): u32 {
  let position = <u32>(mix64(key) >> 20) & mask;
  let found = load<u64>(slotOf(map, position));
  while (found != key && found != 0) {
    position = (position + 1) & mask;
    found = load<u64>(slotOf(map, position));
  }
  return position;
}

/** Records of `n` keys, which are `step` bytes apart. */
export function put(map: usize, mask: u32, keys: usize, step: usize, n: u32, records: usize): void {
  for (const end = records + (<usize>n << 2); records < end; records += 4, keys += step) {
    const key = load<u64>(keys);
    const slot = slotOf(map, positionOf(map, mask, key));
    store<u64>(slot, key);
    store<u32>(slot, load<u32>(records), 8);
  }
}

/** The records of `n` keys to `records`, 0xffffffff for those that have none; returns how many have one. */
export function find(map: usize, mask: u32, keys: usize, n: u32, records: usize): u32 {
  let count: u32 = 0;
  for (const end = keys + (<usize>n << 3); keys < end; keys += 8, records += 4) {
    const slot = slotOf(map, positionOf(map, mask, load<u64>(keys)));
    const found = load<u64>(slot) != 0;
    store<u32>(records, found ? load<u32>(slot, 8) : NONE);
    count += u32(found);
  }
  return count;
}

/** Keeps the keys that have a record, with these; returns how many. */
export function compact(keys: usize, records: usize, places: usize, n: u32): u32 {
  let count: usize = 0;
  for (let i: usize = 0; i < <usize>n; i++) {
    const record = load<u32>(records + (i << 2));
    store<u64>(keys + (count << 3), load<u64>(keys + (i << 3)));
    store<u32>(places + (count << 2), load<u32>(places + (i << 2)));
    store<u32>(records + (count << 2), record);
    count += usize(record != NONE);
  }
  return <u32>count;
}

/**
 * Forgets `n` keys; those that have no record (any more) get 0xffffffff among `records`, the numbers of all. Returns how many
 * had one.
 */
export function remove(map: usize, mask: u32, keys: usize, step: usize, n: u32, records: usize): u32 {
  let count: u32 = 0;
  for (; n > 0; n--, keys += step, records += 4) {
    let hole = positionOf(map, mask, load<u64>(keys));
    if (load<u64>(slotOf(map, hole)) == 0) {
      store<u32>(records, NONE);
      continue;
    }
    count++;
    for (let at = (hole + 1) & mask; ; at = (at + 1) & mask) {
      const other = load<u64>(slotOf(map, at));
      if (other == 0) break;
      const home = <u32>(mix64(other) >> 20) & mask;
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      v128.store(slotOf(map, hole), v128.load(slotOf(map, at)));
      hole = at;
    }
    v128.store(slotOf(map, hole), i64x2.splat(0));
  }
  return count;
}

/** Copies all keys into a larger, empty map. */
export function move(map: usize, mask: u32, to: usize, toMask: u32): void {
  for (const end = slotOf(map, mask) + 16; map < end; map += 16) {
    const key = load<u64>(map);
    if (key != 0) v128.store(slotOf(to, positionOf(to, toMask, key)), v128.load(map));
  }
}

/** The records of all keys. */
export function list(map: usize, mask: u32, records: usize): void {
  for (const end = slotOf(map, mask) + 16; map < end; map += 16) {
    if (load<u64>(map) == 0) continue;
    store<u32>(records, load<u32>(map, 8));
    records += 4;
  }
}
