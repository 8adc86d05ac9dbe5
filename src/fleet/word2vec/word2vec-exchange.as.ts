// What Geo-SGD does with rows of word vectors: takes what has changed since servers were last told, and adds what others have
// changed. Servers hold the sum of all changes; a worker keeps of each row that sum as it knows it, and the row as it began.
// All three lie `rowBytes` apart, a multiple of 16, and are zeros from `dim` on.

/**
 * For the rows of `list` u32 [n]: out = (local − origin − known) · share; known += out. `shares` is f32 a row, or 0 for all of
 * the change; `origin` is 0 where all rows began as zeros. Rows without a change are left out; returns how many there are,
 * with keys row + 1 to `keys` u64 and `dim` numbers each, packed, to `out`, which has a margin of 16 bytes.
 */
export function takeDeltas(
  local: usize, origin: usize, known: usize, rowBytes: usize, list: usize, n: u32, dim: u32, shares: usize, keys: usize, out: usize,
): u32 {
  const zeros = f32x4.splat(0);
  let count: u32 = 0;
  for (const end = list + (<usize>n << 2); list < end; list += 4) {
    const word = load<u32>(list);
    const at = <usize>word * rowBytes;
    const s = f32x4.splat(shares == 0 ? <f32>1 : load<f32>(shares + (<usize>word << 2)));
    let changed = zeros;
    for (let k: usize = 0; k < <usize>dim << 2; k += 16) {
      const began = origin == 0 ? zeros : v128.load(origin + at + k);
      const before = v128.load(known + at + k);
      const delta = f32x4.mul(f32x4.sub(f32x4.sub(v128.load(local + at + k), began), before), s);
      v128.store(known + at + k, f32x4.add(before, delta));
      v128.store(out + k, delta);
      changed = v128.or(changed, f32x4.ne(delta, zeros));
    }
    store<u64>(keys + (<usize>count << 3), <u64>word + 1);
    if (v128.any_true(changed)) {
      count++;
      out += <usize>dim << 2;
    }
  }
  return count;
}

/**
 * For rows by `keys` u64 [n], whose sums of changes lie packed at `fresh`: local += fresh − known; known = fresh. Returns the
 * number of keys that name no row of `rows`; these are left out.
 */
export function putFresh(
  local: usize, known: usize, rowBytes: usize, rows: u32, keys: usize, n: u32, dim: u32, fresh: usize,
): u32 {
  let stray: u32 = 0;
  for (const end = keys + (<usize>n << 3); keys < end; keys += 8, fresh += <usize>dim << 2) {
    const word = load<u64>(keys) - 1;
    if (word >= <u64>rows) {
      stray++;
      continue;
    }
    const at = <usize>word * rowBytes;
    let k: usize = 0;
    for (; k + 16 <= <usize>dim << 2; k += 16) {
      const value = v128.load(fresh + k), before = v128.load(known + at + k);
      v128.store(local + at + k, f32x4.add(v128.load(local + at + k), f32x4.sub(value, before)));
      v128.store(known + at + k, value);
    }
    for (; k < <usize>dim << 2; k += 4) {
      const value = load<f32>(fresh + k), before = load<f32>(known + at + k);
      store<f32>(local + at + k, load<f32>(local + at + k) + (value - before));
      store<f32>(known + at + k, value);
    }
  }
  return stray;
}
