// Text to numbers of words. A thread collects its words in a table of its own: entries in order of first appearance, their
// bytes in one arena, and slots of open addressing that find an entry by the hash of its bytes. What runs full makes a
// call return early; the caller makes room and goes on where it stopped.
import { ADDRESS_BYTES, loadAddress, storeAddress } from "../data/address.as";
import { hashText, seedOf } from "../data/feature-hash.as";

// The table: addresses, then numbers. `WordTable` in word-table.ts writes it.
const SLOTS: usize = 0;
const ENTRIES: usize = 1;
const BYTES: usize = 2;
/** Where the text goes on. */
const AT: usize = 3;
const NUMBERS: usize = 4 * ADDRESS_BYTES;
const MASK: usize = NUMBERS;
const COUNT: usize = NUMBERS + 4;
const CAPACITY: usize = NUMBERS + 8;
const BYTES_USED: usize = NUMBERS + 12;
const BYTES_ROOM: usize = NUMBERS + 16;
/** Words written. */
const WRITTEN: usize = NUMBERS + 20;
/** What is left of a word is dropped: 1 because the word is too long, 2 because it belongs to the text before. */
const DROPPING: usize = NUMBERS + 24;
const TOO_LONG: usize = NUMBERS + 28;

// An entry: hash u64, count u64, offset of its bytes u32, their number u32.
const ENTRY: usize = 24;
const ENTRY_COUNT: usize = 8;
const ENTRY_OFFSET: usize = 16;
const ENTRY_LENGTH: usize = 20;

/** Bytes of a word; longer ones are no words. */
const LONGEST: usize = 255;
const SENTENCE_END: u32 = 0xffffffff;
const NO_WORD: u32 = 0xfffffffd;
const NEWLINE: u32 = 10;
const SPACE: u32 = 32;

// Why `tokenise` returns.
const TEXT_ENDED: u32 = 0;
const OUTPUT_FULL: u32 = 1;
const TABLE_FULL: u32 = 2;
const NUL_FOUND: u32 = 3;

/** The first byte of at most SPACE at or after `at`; `end` where there is none. Reads up to 15 bytes beyond. */
// @ts-ignore: decorator
@inline function wordEnd(at: usize, end: usize): usize {
  for (; at < end; at += 16) {
    const breaks = i8x16.bitmask(i8x16.le_u(v128.load(at), i8x16.splat(<i8>SPACE)));
    if (breaks != 0) {
      const found = at + <usize>ctz(breaks);
      return found < end ? found : end;
    }
  }
  return end;
}

/** The entry of a word, made where it is new; -1 where there is no room. */
function entryOf(table: usize, hash: u64, bytes: usize, length: u32): i32 {
  const slots = loadAddress(table, SLOTS), mask = load<u32>(table + MASK), entries = loadAddress(table, ENTRIES);
  const tag = hash & 0xffffffff00000000;
  let place = <u32>hash & mask;
  for (let found = load<u64>(slots + (<usize>place << 3)); found != 0; found = load<u64>(slots + (<usize>place << 3))) {
    if ((found & 0xffffffff00000000) == tag) {
      const index = <u32>found - 1;
      const entry = entries + <usize>index * ENTRY;
      if (load<u64>(entry) == hash && load<u32>(entry, ENTRY_LENGTH) == length) return <i32>index;
    }
    place = (place + 1) & mask;
  }
  const count = load<u32>(table + COUNT), used = load<u32>(table + BYTES_USED);
  if (count == load<u32>(table + CAPACITY) || load<u32>(table + BYTES_ROOM) - used < length) return -1;
  const entry = entries + <usize>count * ENTRY;
  store<u64>(entry, hash);
  store<u64>(entry, 0, ENTRY_COUNT);
  store<u32>(entry, used, ENTRY_OFFSET);
  store<u32>(entry, length, ENTRY_LENGTH);
  memory.copy(loadAddress(table, BYTES) + <usize>used, bytes, <usize>length);
  store<u32>(table + BYTES_USED, used + length);
  store<u32>(table + COUNT, count + 1);
  store<u64>(slots + (<usize>place << 3), tag | <u64>(count + 1));
  return <i32>count;
}

/**
 * Reads the words that start before `stop` from the text between the table's AT and `end`, and writes their entries to
 * `out` [room]. A word that reaches `end` is left for the next call, as more of it may come. Returns why it stopped.
 */
export function tokenise(table: usize, stop: usize, end: usize, out: usize, room: u32): u32 {
  let at = loadAddress(table, AT);
  let written: u32 = 0;
  let reason = TEXT_ENDED;
  if (load<u32>(table + DROPPING) != 0) {
    at = wordEnd(at, end);
    if (at < end) {
      if (load<u32>(table + DROPPING) == 1) store<u32>(table + TOO_LONG, load<u32>(table + TOO_LONG) + 1);
      store<u32>(table + DROPPING, 0);
    }
  }
  while (at < stop && at < end) {
    if (written == room) {
      reason = OUTPUT_FULL;
      break;
    }
    const byte = <u32>load<u8>(at);
    if (byte <= SPACE) {
      if (byte == 0) {
        reason = NUL_FOUND;
        break;
      }
      if (byte == NEWLINE) {
        store<u32>(out + (<usize>written << 2), SENTENCE_END);
        written++;
      }
      at++;
      continue;
    }
    const next = wordEnd(at + 1, end);
    const length = next - at;
    if (length > LONGEST) {
      store<u32>(table + DROPPING, u32(next == end));
      if (next < end) store<u32>(table + TOO_LONG, load<u32>(table + TOO_LONG) + 1);
      at = next;
      continue;
    }
    if (next == end) break;
    const entry = entryOf(table, hashText(seedOf(0), at, length), at, <u32>length);
    if (entry < 0) {
      reason = TABLE_FULL;
      break;
    }
    const count = loadAddress(table, ENTRIES) + <usize>entry * ENTRY + ENTRY_COUNT;
    store<u64>(count, load<u64>(count) + 1);
    store<u32>(out + (<usize>written << 2), <u32>entry);
    written++;
    at = next;
  }
  storeAddress(table, AT, at);
  store<u32>(table + WRITTEN, written);
  return reason;
}

/** Finds every entry again after the slots, cleared by the caller, have become more. */
export function rehash(table: usize): void {
  const slots = loadAddress(table, SLOTS), mask = load<u32>(table + MASK), count = load<u32>(table + COUNT);
  let entry = loadAddress(table, ENTRIES);
  for (let index: u32 = 1; index <= count; index++, entry += ENTRY) {
    const hash = load<u64>(entry);
    let place = <u32>hash & mask;
    while (load<u64>(slots + (<usize>place << 3)) != 0) place = (place + 1) & mask;
    store<u64>(slots + (<usize>place << 3), (hash & 0xffffffff00000000) | <u64>index);
  }
}

/**
 * Adds the entries from number `from` on of another table, with their counts, and writes which entry each became to
 * `numbers`. Returns the first that found no room.
 */
export function merge(table: usize, other: usize, from: u32, numbers: usize): u32 {
  const count = load<u32>(other + COUNT), entries = loadAddress(other, ENTRIES), bytes = loadAddress(other, BYTES);
  for (; from < count; from++) {
    const entry = entries + <usize>from * ENTRY;
    const text = bytes + <usize>load<u32>(entry, ENTRY_OFFSET);
    const found = entryOf(table, load<u64>(entry), text, load<u32>(entry, ENTRY_LENGTH));
    if (found < 0) break;
    const own = loadAddress(table, ENTRIES) + <usize>found * ENTRY + ENTRY_COUNT;
    store<u64>(own, load<u64>(own) + load<u64>(entry, ENTRY_COUNT));
    store<u32>(numbers + (<usize>from << 2), <u32>found);
  }
  return from;
}

/** Replaces each word of `ids` [n] by its number in `numbers`. */
export function renumber(ids: usize, n: u32, numbers: usize): void {
  for (const end = ids + (<usize>n << 2); ids < end; ids += 4) {
    const id = load<u32>(ids);
    if (id < NO_WORD) store<u32>(ids, load<u32>(numbers + (<usize>id << 2)));
  }
}

/** numbers[i] = final[numbers[i]], `n` times. */
export function compose(numbers: usize, n: u32, final: usize): void {
  for (const end = numbers + (<usize>n << 2); numbers < end; numbers += 4) {
    store<u32>(numbers, load<u32>(final + (<usize>load<u32>(numbers) << 2)));
  }
}

/** Adds how often each word occurs in `ids` [n]. */
export function countWords(ids: usize, n: u32, counts: usize): void {
  for (const end = ids + (<usize>n << 2); ids < end; ids += 4) {
    const id = load<u32>(ids);
    if (id >= NO_WORD) continue;
    const at = counts + (<usize>id << 3);
    store<f64>(at, load<f64>(at) + 1);
  }
}
