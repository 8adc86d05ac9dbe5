// The index of a sparse table: 64-bit keys to rows, open addressing, lock-free.
//
// The top bits of a key's hash choose a segment, whose word names its current array of slots {key u64, row u32}. A slot
// is claimed by compare-and-swap of its key, then published by compare-and-swap of its row: whoever finds a claimed slot
// without a row makes the row itself, so no thread waits for another one's insert. To grow, one thread walks the old
// array: it closes empty slots and claims without a row by MOVED and copies the others; then it publishes the new array.
// Whoever meets MOVED finds all that was ever inserted in the next array: readers take the key for absent until that is
// published, inserters wait for it. The usual case (key and row are there) needs only plain loads: values that another
// thread is just writing look empty at worst, and whatever looks unusual is looked at again by atomic loads.
import {
  ACTIVE_EPOCH, ADDRESS_UNIT, ARRAY_BITS, ARRAY_COUNT, ARRAY_HEADER, ARRAY_UNIT, BLOCK, CLAIM, CLAIM_ROWS, CLAIMED, CURSOR, EPOCH,
  FREE_COUNT, FREE_KEY, FREE_ROW, FREED, GROUP_BYTES, GROWING, INSERTED, KEY_BYTES, MOVED, NEEDS_GROWTH, NEEDS_SLAB, ROWS_LOG2, SEGMENT,
  SEGMENT_BITS, SEGMENTS, SLAB_COUNT, SLABS, SLOT_BYTES, STALLED, STATUS, STRIDE, TOUCHED, ZERO_ROW,
} from "./control";
import { initRow, mix64 } from "./random.as";

/** Marks, with MOVED as its row, a slot that was empty. As a user's key it is as good as any. */
const CLOSED: u64 = 0xffffffffffffffff;
const SPINS: i32 = 4096;

/** The address that a word holds. */
// @ts-ignore: decorator
@inline
function addressAt(base: usize, offset: usize): usize {
  return <usize>load<u32>(base + offset) * ADDRESS_UNIT;
}

// @ts-ignore: decorator
@inline
function arrayOf(word: u32): usize {
  return <usize>(word & ((1 << ARRAY_BITS) - 1)) * ARRAY_UNIT;
}

// @ts-ignore: decorator
@inline
function maskOf(word: u32): u32 {
  return (1 << (word >> ARRAY_BITS)) - 1;
}

// @ts-ignore: decorator
@inline
function groupOf(segments: usize, key: u64): usize {
  const hash = mix64(key);
  const word = load<u32>(segments + (<usize>(hash >> (64 - SEGMENT_BITS)) << 2));
  return arrayOf(word) + ARRAY_HEADER + (<usize>startOf(hash, maskOf(word)) << 4);
}

/** Keys are looked for from the start of a cache line on, whose four slots are compared at once. */
// @ts-ignore: decorator
@inline
function startOf(hash: u64, mask: u32): u32 {
  return <u32>hash & mask & ~3;
}

/** The row beside `key` in a group of four slots, 0 when the key is not there. */
// @ts-ignore: decorator
@inline
function matchGroup(group: usize, key: u64): u32 {
  const wanted = i64x2.splat(key);
  const a = matchSlot(v128.load(group), wanted);
  const b = matchSlot(v128.load(group, 16), wanted);
  const c = matchSlot(v128.load(group, 32), wanted);
  const d = matchSlot(v128.load(group, 48), wanted);
  return i32x4.extract_lane(v128.or(v128.or(a, b), v128.or(c, d)), 2);
}

// @ts-ignore: decorator
@inline
function matchSlot(slot: v128, wanted: v128): v128 {
  const equal = i64x2.eq(slot, wanted);
  return v128.and(slot, v128.shuffle<i64>(equal, equal, 0, 0));
}

/**
 * Rows of `n` keys into `rows`; a missing key is inserted or gets the zero row. Returns how many were done: fewer than `n`
 * when the state's STATUS asks for something first.
 */
export function lookup(control: usize, state: usize, keys: usize, n: u32, rows: usize, insert: bool): u32 {
  atomic.xchg<u32>(state + ACTIVE_EPOCH, atomic.load<u32>(control, EPOCH));
  const done = lookupBlocks(control, state, keys, n, rows, insert);
  atomic.store<u32>(state, 0, ACTIVE_EPOCH);
  return done;
}

function lookupBlocks(control: usize, state: usize, keys: usize, n: u32, rows: usize, insert: bool): u32 {
  const segments = addressAt(control, SEGMENTS);
  let unusual: u32 = 0;
  for (let from: u32 = 0; from < n; from += BLOCK) {
    const count = min<u32>(BLOCK, n - from);
    if (unusual > <u32>(BLOCK / 4)) store<u32>(state, touch(segments, keys, count), TOUCHED);
    unusual = 0;
    for (let i: u32 = 0; i < count; i++) {
      const key = load<u64>(keys + (<usize>i << 3));
      const group = groupOf(segments, key);
      let row = matchGroup(group, key);
      if (row <= <u32>MOVED) {
        // A group fills in order: behind one that is not full there is nothing to find.
        if (load<u64>(group, GROUP_BYTES - SLOT_BYTES) != 0) row = matchGroup(group + GROUP_BYTES, key);
        if (row <= <u32>MOVED) {
          row = key == 0 ? load<u32>(control, ZERO_ROW) : find(control, state, key, insert);
          if (row == 0) return from + i;
          unusual++;
        }
      }
      store<u32>(rows + (<usize>i << 2), row);
    }
    keys += BLOCK << 3;
    rows += BLOCK << 2;
  }
  return n;
}

/**
 * Loads the first groups of all keys, so that their cache misses overlap: inserts cannot do that by themselves, since an
 * atomic exchange waits for all before it.
 */
function touch(segments: usize, keys: usize, n: u32): u32 {
  let touched: u32 = 0;
  for (const end = keys + (<usize>n << 3); keys < end; keys += 8) touched |= load<u32>(groupOf(segments, load<u64>(keys)), 8);
  return touched;
}

/** The row of one key, whatever the index is going through; 0 when the state's STATUS asks for something first. */
function find(control: usize, state: usize, key: u64, insert: bool): u32 {
  const hash = mix64(key);
  const segment = <u32>(hash >> (64 - SEGMENT_BITS));
  const place = addressAt(control, SEGMENTS) + (segment << 2);
  const zeroRow = load<u32>(control, ZERO_ROW);
  let status: u32 = 0;
  while (status == 0) {
    const word = atomic.load<u32>(place);
    const row = insert ? findOrInsert(control, state, key, hash, word) : findOnly(zeroRow, key, hash, word);
    if (row != MOVED) return row;
    if (insert) status = awaitGrowth(control, segment, place, word);
    else if (atomic.load<u32>(place) == word) return zeroRow;
  }
  store<u32>(state, status, STATUS);
  store<u32>(state, segment, SEGMENT);
  return 0;
}

/** The row; the zero row for an absent key; MOVED when only the next array can tell. */
function findOnly(zeroRow: u32, key: u64, hash: u64, word: u32): u32 {
  const slots = arrayOf(word) + ARRAY_HEADER;
  const mask = maskOf(word);
  let position = startOf(hash, mask);
  for (let probes: u32 = 0; probes <= mask; probes++) {
    const slot = slots + (<usize>position << 4);
    const found = atomic.load<u64>(slot);
    if (found == 0) return zeroRow;
    if (found == key || found == CLOSED) {
      const row = atomic.load<u32>(slot, 8);
      if (row == MOVED) return MOVED;
      if (found == key) return row == 0 ? zeroRow : row;
    }
    position = (position + 1) & mask;
  }
  return zeroRow;
}

/** The row, made if need be; MOVED when the key belongs into the next array or this one is full; 0 with a STATUS. */
function findOrInsert(control: usize, state: usize, key: u64, hash: u64, word: u32): u32 {
  const array = arrayOf(word);
  const slots = array + ARRAY_HEADER;
  const mask = maskOf(word);
  let position = startOf(hash, mask);
  for (let probes: u32 = 0; probes <= mask; probes++) {
    const slot = slots + (<usize>position << 4);
    let found = atomic.load<u64>(slot);
    if (found == 0) {
      if (atomic.load<u32>(array, ARRAY_COUNT) > mask - (mask >> 2) && mayGrow(control, state, hash)) return 0;
      if (!haveRow(control, state)) return 0;
      found = atomic.cmpxchg<u64>(slot, 0, key);
      if (found == 0) {
        atomic.add<u32>(array, 1, ARRAY_COUNT);
        found = key;
      }
    }
    if (found == key || found == CLOSED) {
      const row = atomic.load<u32>(slot, 8);
      if (row == MOVED) return MOVED;
      if (found == key) return row != 0 ? row : publish(control, state, key, slot);
    }
    position = (position + 1) & mask;
  }
  return MOVED;
}

/** Asks for the growth of a segment that is three quarters full; false when someone is at it already. */
function mayGrow(control: usize, state: usize, hash: u64): bool {
  const segment = <u32>(hash >> (64 - SEGMENT_BITS));
  if (atomic.load<u32>(addressAt(control, GROWING) + (segment << 2)) != 0) return false;
  store<u32>(state, NEEDS_GROWTH, STATUS);
  store<u32>(state, segment, SEGMENT);
  return true;
}

/** Gives a claimed slot its row, unless another thread was faster; MOVED when growth closed the slot; 0 with a STATUS. */
function publish(control: usize, state: usize, key: u64, slot: usize): u32 {
  if (!haveRow(control, state)) return 0;
  if (load<u32>(state, FREED) != 0) return publishFreed(control, state, key, slot);
  const row = load<u32>(state, FREE_ROW);
  initRow(control, key, <usize>row * ADDRESS_UNIT);
  const winner = atomic.cmpxchg<u32>(slot, 0, row, 8);
  if (winner != 0) return winner;
  const keyPlace = load<u32>(state, FREE_KEY);
  store<u64>(<usize>keyPlace * KEY_BYTES, key);
  store<u32>(state, keyPlace + 1, FREE_KEY);
  store<u32>(state, row + load<u32>(control, STRIDE) / ADDRESS_UNIT, FREE_ROW);
  store<u32>(state, load<u32>(state, FREE_COUNT) - 1, FREE_COUNT);
  store<u32>(state, load<u32>(state, INSERTED) + 1, INSERTED);
  return row;
}

/** As `publish`, with a row that was removed. */
function publishFreed(control: usize, state: usize, key: u64, slot: usize): u32 {
  const row = load<u32>(state, FREED);
  const address = <usize>row * ADDRESS_UNIT;
  const next = load<u32>(address);
  const keyPlace = load<u32>(address, 4);
  memory.fill(address, 0, load<u32>(control, STRIDE));
  initRow(control, key, address);
  const winner = atomic.cmpxchg<u32>(slot, 0, row, 8);
  if (winner != 0) {
    store<u32>(address, next);
    store<u32>(address, keyPlace, 4);
    return winner;
  }
  store<u64>(<usize>keyPlace * KEY_BYTES, key);
  store<u32>(state, next, FREED);
  store<u32>(state, load<u32>(state, INSERTED) + 1, INSERTED);
  return row;
}

/**
 * Removes the rows at `places` u32 [n] of a slab with keys at `keys` and rows at `rows`; empty places are skipped. No other
 * thread may use the table meanwhile.
 */
export function remove(control: usize, state: usize, keys: usize, rows: usize, places: usize, n: u32): void {
  const stride = <usize>load<u32>(control, STRIDE);
  for (const end = places + (<usize>n << 2); places < end; places += 4) {
    const place = <usize>load<u32>(places);
    const keyAt = keys + place * KEY_BYTES;
    const key = load<u64>(keyAt);
    if (key == 0) continue;
    unlink(control, key);
    store<u64>(keyAt, 0);
    const row = rows + place * stride;
    store<u32>(row, load<u32>(state, FREED));
    store<u32>(row, <u32>(keyAt / KEY_BYTES), 4);
    store<u32>(state, <u32>(row / ADDRESS_UNIT), FREED);
    store<u32>(state, load<u32>(state, INSERTED) - 1, INSERTED);
  }
}

/** Takes a key out of the index; keys behind it that would no longer be found move up. */
function unlink(control: usize, key: u64): void {
  const hash = mix64(key);
  const word = load<u32>(addressAt(control, SEGMENTS) + (<usize>(hash >> (64 - SEGMENT_BITS)) << 2));
  const array = arrayOf(word);
  const slots = array + ARRAY_HEADER;
  const mask = maskOf(word);
  let hole = startOf(hash, mask);
  while (load<u64>(slots + (<usize>hole << 4)) != key) hole = (hole + 1) & mask;
  for (let at = (hole + 1) & mask; ; at = (at + 1) & mask) {
    const slot = slots + (<usize>at << 4);
    const other = load<u64>(slot);
    if (other == 0) break;
    const home = startOf(mix64(other), mask);
    if (((at - home) & mask) < ((at - hole) & mask)) continue;
    v128.store(slots + (<usize>hole << 4), v128.load(slot));
    hole = at;
  }
  v128.store(slots + (<usize>hole << 4), i64x2.splat(0));
  store<u32>(array, load<u32>(array, ARRAY_COUNT) - 1, ARRAY_COUNT);
}

/**
 * The rows that missing keys would get: for each of `n` keys with the zero row in `rows`, the initial row is written to the
 * next place of `scratch` and takes the zero row's place in `rows`. Key 0 keeps the zero row. Returns how many.
 */
export function initial(control: usize, keys: usize, n: u32, rows: usize, scratch: usize): u32 {
  const zeroRow = load<u32>(control, ZERO_ROW);
  const stride = <usize>load<u32>(control, STRIDE);
  let count: u32 = 0;
  for (const end = rows + (<usize>n << 2); rows < end; rows += 4, keys += 8) {
    const key = load<u64>(keys);
    if (load<u32>(rows) != zeroRow || key == 0) continue;
    memory.fill(scratch, 0, stride);
    initRow(control, key, scratch);
    store<u32>(rows, <u32>(scratch / ADDRESS_UNIT));
    scratch += stride;
    count++;
  }
  return count;
}

/** Sees to it that the thread has a free row; false when a slab must be allocated first. */
function haveRow(control: usize, state: usize): bool {
  if (load<u32>(state, FREED) != 0 || load<u32>(state, FREE_COUNT) > 0) return true;
  if (!load<u32>(state, CLAIMED)) {
    store<u32>(state, atomic.add<u32>(control, CLAIM_ROWS, CURSOR), CLAIM);
    store<u32>(state, 1, CLAIMED);
  }
  const claim = load<u32>(state, CLAIM);
  const log2 = load<u32>(control, ROWS_LOG2);
  const slab = claim >> log2;
  if (slab >= atomic.load<u32>(control, SLAB_COUNT)) {
    store<u32>(state, NEEDS_SLAB, STATUS);
    return false;
  }
  const keys = addressAt(addressAt(control, SLABS), <usize>slab << 2);
  const rows = keys + (<usize>KEY_BYTES << log2);
  const index = <usize>(claim & ((1 << log2) - 1));
  store<u32>(state, <u32>(keys / KEY_BYTES + index), FREE_KEY);
  store<u32>(state, <u32>((rows + index * load<u32>(control, STRIDE)) / ADDRESS_UNIT), FREE_ROW);
  store<u32>(state, CLAIM_ROWS, FREE_COUNT);
  store<u32>(state, 0, CLAIMED);
  return true;
}

/** Waits until the segment has another array: 0, or a STATUS when nobody is making one or takes a minute for it. */
function awaitGrowth(control: usize, segment: u32, place: usize, word: u32): u32 {
  const growing = addressAt(control, GROWING) + (segment << 2);
  for (let spins = 0; atomic.load<u32>(place) == word; spins++) {
    if (atomic.load<u32>(growing) == 0) return atomic.load<u32>(place) == word ? NEEDS_GROWTH : 0;
    if (spins >= SPINS) atomic.wait<u32>(place, word, 1000000);
    if (spins >= SPINS + 60000) return STALLED;
  }
  return 0;
}

/** Moves a segment into a new zeroed array of 1 << log2 slots. The caller holds the segment's GROWING word. */
export function grow(control: usize, segment: u32, next: usize, log2: u32): void {
  const place = addressAt(control, SEGMENTS) + (segment << 2);
  const word = atomic.load<u32>(place);
  const mask: u32 = (1 << log2) - 1;
  let slot = arrayOf(word) + ARRAY_HEADER;
  let count: u32 = 0;
  for (const end = slot + ((<usize>maskOf(word) + 1) << 4); slot < end; slot += SLOT_BYTES) {
    let key = atomic.load<u64>(slot);
    if (key == 0) {
      key = atomic.cmpxchg<u64>(slot, 0, CLOSED);
      if (key == 0) key = CLOSED;
    }
    const row = atomic.cmpxchg<u32>(slot, 0, MOVED, 8);
    if (row == 0) continue;
    let position = startOf(mix64(key), mask);
    while (load<u64>(next + ARRAY_HEADER + (<usize>position << 4)) != 0) position = (position + 1) & mask;
    store<u64>(next + ARRAY_HEADER + (<usize>position << 4), key);
    store<u32>(next + ARRAY_HEADER + (<usize>position << 4), row, 8);
    count++;
  }
  atomic.store<u32>(next, count, ARRAY_COUNT);
  atomic.store<u32>(place, <u32>(next / ARRAY_UNIT) | (log2 << ARRAY_BITS));
  atomic.notify(place, -1);
}
