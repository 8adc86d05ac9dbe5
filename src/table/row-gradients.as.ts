// Summing a batch's gradients by row: first every occurrence learns which distinct row it is, then gradients are added
// up per distinct row. An occurrence's word holds its row's number, its top bit says that it is the row's first, so that
// sums need not be cleared beforehand; occurrences of the zero row are SKIP. Whether a row is new is as good as random
// in skewed data, so nothing here branches on it: that alone doubles the speed.

const FIRST: u32 = 0x80000000;
const SKIP: u32 = 0x7fffffff;

/** Clears `n` entries of a map. */
export function clear(map: usize, n: u32): void {
  memory.fill(map, 0, <usize>n << 3);
}

/**
 * Numbers the distinct rows of `rows` [n] into `numbers` [n] and appends them to `unique`, of which `count` are there
 * already; returns the new count. `map` is a scratch of (mask + 1) pairs (row, number), cleared before the first call.
 */
export function number(
  rows: usize, n: u32, zeroRow: u32, map: usize, mask: u32, unique: usize, count: u32, numbers: usize,
): u32 {
  for (const end = rows + (<usize>n << 2); rows < end; rows += 4, numbers += 4) {
    const row = load<u32>(rows);
    if (row == zeroRow) {
      store<u32>(numbers, SKIP);
      continue;
    }
    const hash = row * 0x9e3779b1;
    let place = (hash ^ (hash >> 15)) & mask;
    let entry = map + (<usize>place << 3);
    let found = load<u64>(entry);
    while (i32(found != 0) & i32(<u32>found != row)) {
      place = (place + 1) & mask;
      entry = map + (<usize>place << 3);
      found = load<u64>(entry);
    }
    const fresh = found == 0;
    found = select<u64>((<u64>(count | FIRST) << 32) | <u64>row, found, fresh);
    store<u64>(entry, found & 0x7fffffffffffffff);
    store<u32>(unique + (<usize>count << 2), row);
    count += u32(fresh);
    store<u32>(numbers, <u32>(found >> 32));
  }
  return count;
}

/** All ones where a sum goes on, zeros where the occurrence is its row's first and is to set it. */
// @ts-ignore: decorator
@inline
function keepMask(word: u32, flag: u32): i32 {
  return <i32>((word & flag) >> 31) - 1;
}

/** sums[number of occurrence i] += gradient[i], gradient [n, dim]; `first`: a row's first occurrence sets its sum. */
export function accumulate(numbers: usize, n: u32, gradient: usize, dim: u32, sums: usize, first: bool): void {
  const end = numbers + (<usize>n << 2);
  const bytes = <usize>dim << 2;
  const flag = first ? FIRST : 0;
  if (dim == 16) {
    for (; numbers < end; numbers += 4, gradient += 64) {
      const word = load<u32>(numbers);
      if (word == SKIP) continue;
      const keep = i32x4.splat(keepMask(word, flag));
      const sum = sums + (<usize>(word & SKIP) << 6);
      add16(sum, keep, v128.load(gradient), v128.load(gradient, 16), v128.load(gradient, 32), v128.load(gradient, 48));
    }
  } else if (dim == 1) {
    for (; numbers < end; numbers += 4, gradient += 4) {
      const word = load<u32>(numbers);
      if (word == SKIP) continue;
      add1(sums + (<usize>(word & SKIP) << 2), keepMask(word, flag), load<f32>(gradient));
    }
  } else {
    for (; numbers < end; numbers += 4, gradient += bytes) {
      const word = load<u32>(numbers);
      if (word != SKIP) addRow(sums + <usize>(word & SKIP) * bytes, keepMask(word, flag), gradient, dim, 1);
    }
  }
}

/**
 * As `accumulate` for a pooled gather: numbers [n, length], gradient [n, dim] goes to each row of its bag, divided by the
 * number of rows other than the zero row if `mean`.
 */
export function accumulatePool(
  numbers: usize, n: u32, length: u32, gradient: usize, dim: u32, sums: usize, first: bool, mean: bool,
): void {
  const bytes = <usize>dim << 2;
  const flag = first ? FIRST : 0;
  for (; n > 0; n--, gradient += bytes) {
    const end = numbers + (<usize>length << 2);
    const scale = mean ? meanScale(numbers, end) : <f32>1;
    if (dim == 16) {
      const s = f32x4.splat(scale);
      const a = f32x4.mul(v128.load(gradient), s);
      const b = f32x4.mul(v128.load(gradient, 16), s);
      const c = f32x4.mul(v128.load(gradient, 32), s);
      const d = f32x4.mul(v128.load(gradient, 48), s);
      for (; numbers < end; numbers += 4) {
        const word = load<u32>(numbers);
        if (word != SKIP) add16(sums + (<usize>(word & SKIP) << 6), i32x4.splat(keepMask(word, flag)), a, b, c, d);
      }
    } else {
      for (; numbers < end; numbers += 4) {
        const word = load<u32>(numbers);
        if (word != SKIP) addRow(sums + <usize>(word & SKIP) * bytes, keepMask(word, flag), gradient, dim, scale);
      }
    }
  }
}

function meanScale(numbers: usize, end: usize): f32 {
  let count = 0;
  for (; numbers < end; numbers += 4) count += i32(load<u32>(numbers) != SKIP);
  return <f32>1 / <f32>max(count, 1);
}

// @ts-ignore: decorator
@inline
function add1(sum: usize, keep: i32, value: f32): void {
  store<f32>(sum, value + reinterpret<f32>(load<i32>(sum) & keep));
}

// @ts-ignore: decorator
@inline
function add4(sum: usize, keep: v128, value: v128): void {
  v128.store(sum, f32x4.add(value, v128.and(v128.load(sum), keep)));
}

// @ts-ignore: decorator
@inline
function add16(sum: usize, keep: v128, a: v128, b: v128, c: v128, d: v128): void {
  add4(sum, keep, a);
  add4(sum + 16, keep, b);
  add4(sum + 32, keep, c);
  add4(sum + 48, keep, d);
}

// @ts-ignore: decorator
@inline
function addRow(sum: usize, keep: i32, gradient: usize, dim: u32, scale: f32): void {
  const s = f32x4.splat(scale);
  const mask = i32x4.splat(keep);
  let left = dim;
  for (; left >= 4; left -= 4, sum += 16, gradient += 16) add4(sum, mask, f32x4.mul(v128.load(gradient), s));
  for (; left > 0; left--, sum += 4, gradient += 4) add1(sum, keep, load<f32>(gradient) * scale);
}
