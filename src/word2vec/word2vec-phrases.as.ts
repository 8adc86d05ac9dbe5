// Pairs of words that stand together: counted, scored, and joined to phrases in a text of numbers.

const NO_NEIGHBOUR: u32 = 0xfffffffe;
const NO_WORD: u32 = 0xfffffffd;

/** A table of pairs of words: slots of a key u64, 0 where it is empty, and a number f64. */
// @ts-ignore: decorator
@inline function pairKey(first: u32, second: u32): u64 {
  return ((<u64>first + 1) << 32) | (<u64>second + 1);
}

// @ts-ignore: decorator
@inline function pairSlot(slots: usize, mask: u32, key: u64): usize {
  let place = <u32>((key * 0x9e3779b97f4a7c15) >> 32) & mask;
  let slot = slots + (<usize>place << 4);
  for (let found = load<u64>(slot); found != key && found != 0; found = load<u64>(slot)) {
    place = (place + 1) & mask;
    slot = slots + (<usize>place << 4);
  }
  return slot;
}

/**
 * Counts pairs of neighbours in `ids` [n]; `room` new pairs may be added. Returns how many were, or 0xffffffff where
 * there was no room: then nothing of `ids` was counted.
 */
export function countPairs(ids: usize, n: u32, slots: usize, mask: u32, room: u32): u32 {
  if (room < n) return 0xffffffff;
  let before = NO_NEIGHBOUR;
  let added: u32 = 0;
  for (const end = ids + (<usize>n << 2); ids < end; ids += 4) {
    const id = load<u32>(ids);
    if (id == NO_WORD) continue;
    if (id < NO_WORD && before < NO_WORD) {
      const key = pairKey(before, id);
      const slot = pairSlot(slots, mask, key);
      added += u32(load<u64>(slot) == 0);
      store<u64>(slot, key);
      store<f64>(slot, load<f64>(slot, 8) + 1, 8);
    }
    before = id;
  }
  return added;
}

/** Adds the pairs of another table, for which there is room; returns how many were new. */
export function mergePairs(slots: usize, mask: u32, other: usize, otherMask: u32): u32 {
  let added: u32 = 0;
  for (let i: usize = 0; i <= <usize>otherMask; i++) {
    const from = other + (i << 4);
    const key = load<u64>(from);
    if (key == 0) continue;
    const slot = pairSlot(slots, mask, key);
    added += u32(load<u64>(slot) == 0);
    store<u64>(slot, key);
    store<f64>(slot, load<f64>(slot, 8) + load<f64>(from, 8), 8);
  }
  return added;
}

/**
 * Lists the pairs whose score, (count − least) · total / (count of one · count of the other), lies above `threshold`, as
 * two words u32 each, at most `room`; returns how many there are.
 */
export function phrasesOf(
  slots: usize, mask: u32, counts: usize, least: f64, total: f64, threshold: f64, list: usize, room: u32,
): u32 {
  let count: u32 = 0;
  for (let i: usize = 0; i <= <usize>mask; i++) {
    const slot = slots + (i << 4);
    const key = load<u64>(slot);
    if (key == 0) continue;
    const first = <u32>(key >> 32) - 1, second = <u32>key - 1;
    const product = load<f64>(counts + (<usize>first << 3)) * load<f64>(counts + (<usize>second << 3));
    if ((load<f64>(slot, 8) - least) * total <= threshold * product) continue;
    if (count < room) {
      store<u32>(list + (<usize>count << 3), first);
      store<u32>(list + (<usize>count << 3), second, 4);
    }
    count++;
  }
  return count;
}

/** Enters pairs `list` [n] with the numbers `first`, `first` + 1, … */
export function enterPhrases(slots: usize, mask: u32, list: usize, n: u32, first: u32): void {
  for (let i: u32 = 0; i < n; i++, list += 8) {
    const key = pairKey(load<u32>(list), load<u32>(list, 4));
    const slot = pairSlot(slots, mask, key);
    store<u64>(slot, key);
    store<f64>(slot, <f64>(first + i), 8);
  }
}

/** Puts phrases in the place of the first word of a pair and no word in that of the second, from left to right. */
export function joinPhrases(ids: usize, n: u32, slots: usize, mask: u32): void {
  let before: usize = 0;
  for (const end = ids + (<usize>n << 2); ids < end; ids += 4) {
    const id = load<u32>(ids);
    if (id == NO_WORD) continue;
    if (id > NO_WORD) {
      before = 0;
      continue;
    }
    if (before != 0) {
      const slot = pairSlot(slots, mask, pairKey(load<u32>(before), id));
      if (load<u64>(slot) != 0) {
        store<u32>(before, <u32>load<f64>(slot, 8));
        store<u32>(ids, NO_WORD);
        before = 0;
        continue;
      }
    }
    before = ids;
  }
}
