// What a partition does to batches of values and of rows, beside look-ups and update rules. A row handle is the row's
// address / 16; handle 0 is skipped; offsets are those of a column in the row.

// @ts-ignore: decorator
@inline
function addressOf(rows: usize): usize {
  return <usize>load<u32>(rows) << 4;
}

/** The place of the first NaN or infinity among `n` f32 values, −1 when all are finite. */
export function firstNonFinite(values: usize, n: u32): i32 {
  const start = values;
  const end = values + (<usize>n << 2);
  const exponent = i32x4.splat(0x7f800000);
  for (; values + 64 <= end; values += 64) {
    const a = v128.and(v128.load(values), exponent);
    const b = v128.and(v128.load(values, 16), exponent);
    const c = v128.and(v128.load(values, 32), exponent);
    const d = v128.and(v128.load(values, 48), exponent);
    const worst = i32x4.max_u(i32x4.max_u(a, b), i32x4.max_u(c, d));
    if (v128.any_true(i32x4.eq(worst, exponent))) break;
  }
  for (; values < end; values += 4) {
    if ((load<u32>(values) & 0x7f800000) == 0x7f800000) return <i32>((values - start) >> 2);
  }
  return -1;
}

/** values[i] *= factor */
export function scale(values: usize, n: u32, factor: f32): void {
  const end = values + (<usize>n << 2);
  const splat = f32x4.splat(factor);
  for (; values + 16 <= end; values += 16) v128.store(values, f32x4.mul(v128.load(values), splat));
  for (; values < end; values += 4) store<f32>(values, load<f32>(values) * factor);
}

/** values[i] += other[i] */
export function add(values: usize, other: usize, n: u32): void {
  const end = values + (<usize>n << 2);
  for (; values + 16 <= end; values += 16, other += 16) {
    v128.store(values, f32x4.add(v128.load(values), v128.load(other)));
  }
  for (; values < end; values += 4, other += 4) store<f32>(values, load<f32>(values) + load<f32>(other));
}

/** values[i] += factor · other[i] */
export function addScaled(values: usize, other: usize, n: u32, factor: f32): void {
  const end = values + (<usize>n << 2);
  const splat = f32x4.splat(factor);
  for (; values + 16 <= end; values += 16, other += 16) {
    v128.store(values, f32x4.add(v128.load(values), f32x4.mul(v128.load(other), splat)));
  }
  for (; values < end; values += 4, other += 4) store<f32>(values, load<f32>(values) + load<f32>(other) * factor);
}

/** Divides each row [width] of values [n, width] by its shows, where these are above 0. */
export function divideRows(values: usize, n: u32, width: u32, shows: usize): void {
  for (; n > 0; n--, shows += 4) {
    const count = load<f32>(shows);
    if (count > 0) scale(values, width, 1 / count);
    values += <usize>width << 2;
  }
}

/** Handles of the zero row become 0; returns how many others there are. */
export function blank(rows: usize, n: u32, zeroRow: u32): u32 {
  let count: u32 = 0;
  for (const end = rows + (<usize>n << 2); rows < end; rows += 4) {
    const row = load<u32>(rows);
    const missing = row == zeroRow;
    store<u32>(rows, missing ? 0 : row);
    count += u32(!missing);
  }
  return count;
}

/** How many handles are not that of the zero row. */
export function count(rows: usize, n: u32, zeroRow: u32): u32 {
  let there: u32 = 0;
  for (const end = rows + (<usize>n << 2); rows < end; rows += 4) there += u32(load<u32>(rows) != zeroRow);
  return there;
}

/** Row columns += values [n, dim], whose rows lie `stride` bytes apart. */
export function addToRows(rows: usize, n: u32, offset: usize, dim: u32, values: usize, stride: usize): void {
  for (const end = rows + (<usize>n << 2); rows < end; rows += 4, values += stride) {
    const row = addressOf(rows);
    if (row != 0) add(row + offset, values, dim);
  }
}

/** Sets a u32 (or the bits of an f32) of each row. */
export function setWord(rows: usize, n: u32, offset: usize, value: u32): void {
  for (const end = rows + (<usize>n << 2); rows < end; rows += 4) {
    const row = addressOf(rows);
    if (row != 0) store<u32>(row + offset, value);
  }
}

/**
 * Statistics of a row are f32: show, click, unseen, delta. Adds the shows (0: one each) and clicks (0: none) of a push; the
 * row is seen, and gains score.
 */
export function addStatistics(
  rows: usize, n: u32, offset: usize, shows: usize, clicks: usize, nonClick: f32, click: f32,
): void {
  for (let i: usize = 0; i < <usize>n; i++) {
    const row = addressOf(rows + (i << 2));
    if (row == 0) continue;
    const at = row + offset;
    const show: f32 = shows == 0 ? 1 : load<f32>(shows + (i << 2));
    const clicked: f32 = clicks == 0 ? 0 : load<f32>(clicks + (i << 2));
    store<f32>(at, load<f32>(at) + show);
    store<f32>(at, load<f32>(at, 4) + clicked, 4);
    store<f32>(at, 0, 8);
    store<f32>(at, load<f32>(at, 12) + nonClick * (show - clicked) + click * clicked, 12);
  }
}

/** Collects the places and keys of what is missing (zero row, key other than 0); returns how many. */
export function missing(rows: usize, keys: usize, n: u32, zeroRow: u32, places: usize, found: usize): u32 {
  let count: usize = 0;
  for (let i: usize = 0; i < <usize>n; i++) {
    const key = load<u64>(keys + (i << 3));
    store<u32>(places + (count << 2), <u32>i);
    store<u64>(found + (count << 3), key);
    count += usize((load<u32>(rows + (i << 2)) == zeroRow) & (key != 0));
  }
  return <u32>count;
}

/** Of `n` missing places and keys, keeps those whose statistics, in the rows of another store, reach a score. */
export function keepByScore(
  places: usize, keys: usize, n: u32, primary: usize, offset: usize, nonClick: f32, click: f32, least: f32,
): u32 {
  let count: usize = 0;
  for (let i: usize = 0; i < <usize>n; i++) {
    const place = load<u32>(places + (i << 2));
    const key = load<u64>(keys + (i << 3));
    const row = addressOf(primary + (<usize>place << 2));
    let score: f32 = -1;
    if (row != 0) {
      const clicked = load<f32>(row + offset, 4);
      score = nonClick * (load<f32>(row + offset) - clicked) + click * clicked;
    }
    store<u32>(places + (count << 2), place);
    store<u64>(keys + (count << 3), key);
    count += usize(score >= least);
  }
  return <u32>count;
}

/** Of `n` missing places and keys, keeps each with a chance of limit / 2^32: the same for the same draw and key. */
export function keepByChance(places: usize, keys: usize, n: u32, draw: u32, limit: f64): u32 {
  let count: usize = 0;
  for (let i: usize = 0; i < <usize>n; i++) {
    const place = load<u32>(places + (i << 2));
    const key = load<u64>(keys + (i << 3));
    const hash = mix(key + mix(<u64>draw + 0x9e3779b97f4a7c15));
    store<u32>(places + (count << 2), place);
    store<u64>(keys + (count << 3), key);
    count += usize(<f64>(hash >> 32) < limit);
  }
  return <u32>count;
}

// The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
// @ts-ignore: decorator
@inline
function mix(x: u64): u64 {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/** rows[places[i]] = from[i] */
export function placeRows(rows: usize, places: usize, from: usize, n: u32): void {
  for (const end = places + (<usize>n << 2); places < end; places += 4, from += 4) {
    store<u32>(rows + (<usize>load<u32>(places) << 2), load<u32>(from));
  }
}

/**
 * Marks rows as changed by an author, for Geo-SGD: the mark is u32 position of the last change, its author, and the position
 * of the last change by somebody else. Positions count from `position`, one for each row other than handle 0.
 */
export function markChanged(rows: usize, n: u32, offset: usize, keys: usize, log: usize, mask: u32, position: u32, author: u32): u32 {
  for (const end = rows + (<usize>n << 2); rows < end; rows += 4, keys += 8) {
    const row = addressOf(rows);
    if (row == 0) continue;
    const mark = row + offset;
    if (load<u32>(mark, 4) != author) store<u32>(mark, load<u32>(mark), 8);
    store<u32>(mark, position);
    store<u32>(mark, author, 4);
    store<u64>(log + (<usize>(position & mask) << 3), load<u64>(keys));
    position++;
  }
  return position;
}

/**
 * Of the log's changes from `position` on, those that somebody else than `reader` made to what it saw at `since`: keys to
 * `out`. `rows` are the handles of the log's keys. A row counts at its last change.
 */
export function changedFor(
  keys: usize, rows: usize, n: u32, offset: usize, position: u32, since: u32, reader: u32, out: usize,
): u32 {
  let count: u32 = 0;
  for (; n > 0; n--, keys += 8, rows += 4, position++) {
    const row = addressOf(rows);
    if (row == 0) continue;
    const mark = row + offset;
    if (load<u32>(mark) != position) continue;
    // Distances from `since` rather than positions, which wrap around.
    if (load<u32>(mark, 4) == reader && load<u32>(mark, 8) - since >= 0x80000000) continue;
    store<u64>(out + (<usize>count << 3), load<u64>(keys));
    count++;
  }
  return count;
}
