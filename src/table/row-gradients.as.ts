// Summing a batch's gradients by row: first every occurrence learns which distinct row it is, then gradients are added
// up per distinct row. An occurrence's word holds its row's number, its top bit says that it is the row's first, so that
// sums need not be cleared beforehand; occurrences of the zero row are SKIP.

const FIRST: u32 = 0x80000000;
const SKIP: u32 = 0x7fffffff;

/** Clears `n` entries of a map. */
export function clear(map: usize, n: u32): void {
  memory.fill(map, 0, n << 3);
}

/**
 * Numbers the distinct rows of `rows` [n] into `numbers` [n] and appends them to `unique`, of which `count` are there
 * already; returns the new count. `map` is a scratch of (mask + 1) pairs (row, number), cleared before the first call.
 */
export function number(
  rows: usize, n: u32, zeroRow: u32, map: usize, mask: u32, unique: usize, count: u32, numbers: usize,
): u32 {
  for (const end = rows + (n << 2); rows < end; rows += 4, numbers += 4) {
    const row = load<u32>(rows);
    if (row == zeroRow) {
      store<u32>(numbers, SKIP);
      continue;
    }
    const hash = row * 0x9e3779b1;
    let place = hash ^ (hash >> 15);
    let word: u32 = 0;
    for (;;) {
      const entry = map + (<usize>(place & mask) << 3);
      const found = load<u32>(entry);
      if (found == row) {
        word = load<u32>(entry, 4);
        break;
      }
      if (found == 0) {
        store<u32>(entry, row);
        store<u32>(entry, count, 4);
        store<u32>(unique + (<usize>count << 2), row);
        word = count++ | FIRST;
        break;
      }
      place++;
    }
    store<u32>(numbers, word);
  }
  return count;
}

/** sums[number of occurrence i] += gradient[i], gradient [n, dim]; `first`: a row's first occurrence sets its sum. */
export function accumulate(numbers: usize, n: u32, gradient: usize, dim: u32, sums: usize, first: bool): void {
  const end = numbers + (n << 2);
  const bytes = dim << 2;
  const flag = first ? FIRST : 0;
  if (dim == 16) {
    for (; numbers < end; numbers += 4, gradient += 64) {
      const word = load<u32>(numbers);
      if (word == SKIP) continue;
      const sum = sums + (<usize>(word & SKIP) << 6);
      let a = v128.load(gradient);
      let b = v128.load(gradient, 16);
      let c = v128.load(gradient, 32);
      let d = v128.load(gradient, 48);
      if (!(word & flag)) {
        a = f32x4.add(a, v128.load(sum));
        b = f32x4.add(b, v128.load(sum, 16));
        c = f32x4.add(c, v128.load(sum, 32));
        d = f32x4.add(d, v128.load(sum, 48));
      }
      v128.store(sum, a);
      v128.store(sum, b, 16);
      v128.store(sum, c, 32);
      v128.store(sum, d, 48);
    }
  } else if (dim == 1) {
    for (; numbers < end; numbers += 4, gradient += 4) {
      const word = load<u32>(numbers);
      if (word == SKIP) continue;
      const sum = sums + (<usize>(word & SKIP) << 2);
      const value = load<f32>(gradient);
      store<f32>(sum, word & flag ? value : value + load<f32>(sum));
    }
  } else {
    for (; numbers < end; numbers += 4, gradient += bytes) {
      const word = load<u32>(numbers);
      if (word != SKIP) addRow(sums + <usize>(word & SKIP) * bytes, gradient, dim, 1, (word & flag) != 0);
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
  const bytes = dim << 2;
  const flag = first ? FIRST : 0;
  for (; n > 0; n--, gradient += bytes) {
    const end = numbers + (length << 2);
    let scale: f32 = 1;
    if (mean) {
      let count = 0;
      for (let at = numbers; at < end; at += 4) count += i32(load<u32>(at) != SKIP);
      scale = <f32>1 / <f32>max(count, 1);
    }
    if (dim == 16) {
      const s = f32x4.splat(scale);
      const g0 = f32x4.mul(v128.load(gradient), s);
      const g1 = f32x4.mul(v128.load(gradient, 16), s);
      const g2 = f32x4.mul(v128.load(gradient, 32), s);
      const g3 = f32x4.mul(v128.load(gradient, 48), s);
      for (; numbers < end; numbers += 4) {
        const word = load<u32>(numbers);
        if (word == SKIP) continue;
        const sum = sums + (<usize>(word & SKIP) << 6);
        const set = (word & flag) != 0;
        v128.store(sum, set ? g0 : f32x4.add(g0, v128.load(sum)));
        v128.store(sum, set ? g1 : f32x4.add(g1, v128.load(sum, 16)), 16);
        v128.store(sum, set ? g2 : f32x4.add(g2, v128.load(sum, 32)), 32);
        v128.store(sum, set ? g3 : f32x4.add(g3, v128.load(sum, 48)), 48);
      }
    } else {
      for (; numbers < end; numbers += 4) {
        const word = load<u32>(numbers);
        if (word != SKIP) addRow(sums + <usize>(word & SKIP) * bytes, gradient, dim, scale, (word & flag) != 0);
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function addRow(sum: usize, gradient: usize, dim: u32, scale: f32, set: bool): void {
  const s = f32x4.splat(scale);
  let left = dim;
  for (; left >= 4; left -= 4, sum += 16, gradient += 16) {
    const value = f32x4.mul(v128.load(gradient), s);
    v128.store(sum, set ? value : f32x4.add(value, v128.load(sum)));
  }
  for (; left > 0; left--, sum += 4, gradient += 4) {
    const value = load<f32>(gradient) * scale;
    store<f32>(sum, set ? value : value + load<f32>(sum));
  }
}
