// Passes over all rows of a partition's table, in memory (a slab: keys, then rows) or in records from disk (key and row
// together): `keyStep` and `rowStep` are the bytes from one to the next; places with key 0 are empty. Statistics of a row are
// f32: show, click, unseen, delta.

// @ts-ignore: decorator
@inline
function scoreAt(at: usize, nonClick: f32, click: f32): f32 {
  const clicked = load<f32>(at, 4);
  return nonClick * (load<f32>(at) - clicked) + click * clicked;
}

/** Decays shows and clicks, then writes the places of rows to drop to `out`; returns how many. */
export function decay(
  keys: usize, keyStep: usize, rows: usize, rowStep: usize, places: u32, offset: usize,
  factor: f32, nonClick: f32, click: f32, dropScore: f32, dropUnseen: f32, out: usize,
): u32 {
  let count: u32 = 0;
  for (let place: u32 = 0; place < places; place++, keys += keyStep, rows += rowStep) {
    if (load<u64>(keys) == 0) continue;
    const at = rows + offset;
    store<f32>(at, load<f32>(at) * factor);
    store<f32>(at, load<f32>(at, 4) * factor, 4);
    store<u32>(out + (<usize>count << 2), place);
    count += u32(scoreAt(at, nonClick, click) < dropScore || load<f32>(at, 8) > dropUnseen);
  }
  return count;
}

/** unseen += 1 */
export function age(keys: usize, keyStep: usize, rows: usize, rowStep: usize, places: u32, offset: usize): void {
  for (; places > 0; places--, keys += keyStep, rows += rowStep) {
    if (load<u64>(keys) != 0) store<f32>(rows + offset, load<f32>(rows + offset, 8) + 1, 8);
  }
}

/**
 * Copies the keys of rows of at least a score and a delta, unseen for at most so many days; returns how many. `clear`: their
 * deltas begin anew.
 */
export function select(
  keys: usize, keyStep: usize, rows: usize, rowStep: usize, places: u32, offset: usize,
  nonClick: f32, click: f32, leastScore: f32, leastDelta: f32, mostUnseen: f32, clear: bool, out: usize,
): u32 {
  let count: u32 = 0;
  for (; places > 0; places--, keys += keyStep, rows += rowStep) {
    const key = load<u64>(keys);
    if (key == 0) continue;
    const at = rows + offset;
    store<u64>(out + (<usize>count << 3), key);
    if (scoreAt(at, nonClick, click) < leastScore || load<f32>(at, 12) < leastDelta || load<f32>(at, 8) > mostUnseen) {
      continue;
    }
    if (clear) store<f32>(at, 0, 12);
    count++;
  }
  return count;
}

/** Writes the places of rows unseen for more than so many days to `out`; returns how many. */
export function unseen(
  keys: usize, keyStep: usize, rows: usize, rowStep: usize, places: u32, offset: usize, days: f32, out: usize,
): u32 {
  let count: u32 = 0;
  for (let place: u32 = 0; place < places; place++, keys += keyStep, rows += rowStep) {
    store<u32>(out + (<usize>count << 2), place);
    count += u32(load<u64>(keys) != 0 && load<f32>(rows + offset, 8) > days);
  }
  return count;
}

/** Copies what is at all places for keys, empty ones included. */
export function keysAt(keys: usize, keyStep: usize, places: u32, out: usize): void {
  for (; places > 0; places--, keys += keyStep, out += 8) store<u64>(out, load<u64>(keys));
}

/** Copies the keys; returns how many. */
export function collect(keys: usize, keyStep: usize, places: u32, out: usize): u32 {
  let count: u32 = 0;
  for (; places > 0; places--, keys += keyStep) {
    const key = load<u64>(keys);
    store<u64>(out + (<usize>count << 3), key);
    count += u32(key != 0);
  }
  return count;
}

/** Copies the keys and writes the handles of all rows; returns how many. Rows lie at multiples of 16. */
export function live(
  keys: usize, keyStep: usize, rows: usize, rowStep: usize, places: u32, out: usize, handles: usize,
): u32 {
  let count: u32 = 0;
  for (; places > 0; places--, keys += keyStep, rows += rowStep) {
    const key = load<u64>(keys);
    store<u64>(out + (<usize>count << 3), key);
    store<u32>(handles + (<usize>count << 2), <u32>(rows >> 4));
    count += u32(key != 0);
  }
  return count;
}

/** Counts rows by how long ago they were used: histogram u32 [65] over the bits of (now − stamp). */
export function ages(
  keys: usize, keyStep: usize, rows: usize, rowStep: usize, places: u32, offset: usize, now: u32, histogram: usize,
): void {
  for (; places > 0; places--, keys += keyStep, rows += rowStep) {
    if (load<u64>(keys) == 0) continue;
    const at = histogram + (<usize>bucketOf(now - load<u32>(rows + offset)) << 2);
    store<u32>(at, load<u32>(at) + 1);
  }
}

/** Two buckets for each doubling. */
// @ts-ignore: decorator
@inline
function bucketOf(age: u32): u32 {
  if (age == 0) return 0;
  const log = 31 - clz(age);
  return 1 + 2 * log + (log == 0 ? 0 : (age >> (log - 1)) & 1);
}

/** Writes the places of at most `limit` rows in bucket `least` or above to `out`; returns how many. */
export function oldest(
  keys: usize, keyStep: usize, rows: usize, rowStep: usize, places: u32, offset: usize,
  now: u32, least: u32, limit: u32, out: usize,
): u32 {
  let count: u32 = 0;
  for (let place: u32 = 0; place < places && count < limit; place++, keys += keyStep, rows += rowStep) {
    store<u32>(out + (<usize>count << 2), place);
    count += u32(load<u64>(keys) != 0 && bucketOf(now - load<u32>(rows + offset)) >= least);
  }
  return count;
}

/** The rows at `places` [n] as records: key u64, unused u64, row. */
export function pack(keys: usize, rows: usize, rowBytes: usize, places: usize, n: u32, out: usize): void {
  for (const end = places + (<usize>n << 2); places < end; places += 4, out += 16 + rowBytes) {
    const place = <usize>load<u32>(places);
    store<u64>(out, load<u64>(keys + (place << 3)));
    memory.copy(out + 16, rows + place * rowBytes, rowBytes);
  }
}

/** The rows of records [n] to those of handles [n]. */
export function unpack(records: usize, rowBytes: usize, rows: usize, n: u32): void {
  for (const end = rows + (<usize>n << 2); rows < end; rows += 4, records += 16 + rowBytes) {
    memory.copy(<usize>load<u32>(rows) << 4, records + 16, rowBytes);
  }
}

/** Handles of rows that lie in records [n]; records and rows are at multiples of 16. */
export function handles(records: usize, recordBytes: usize, n: u32, rows: usize): void {
  for (const end = rows + (<usize>n << 2); rows < end; rows += 4, records += recordBytes) {
    store<u32>(rows, <u32>(records >> 4));
  }
}
