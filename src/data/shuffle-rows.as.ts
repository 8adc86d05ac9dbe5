// Rows in a random order: a permutation by Fisher and Yates, and the copy of rows by it.

/** Fills `order` (u32 [n]) with a permutation of 0 to n − 1 that the seed decides. */
export function permute(order: usize, n: u32, seed: u32): void {
  for (let i: u32 = 0; i < n; i++) store<u32>(order + (<usize>i << 2), i);
  let state = seed;
  for (let i = n; i > 1; i--) {
    state += 0x9e3779b9;
    let x = (state ^ (state >>> 16)) * 0x21f0aaad;
    x = (x ^ (x >>> 15)) * 0x735a2d97;
    x ^= x >>> 15;
    const j = <u32>((<u64>x * <u64>i) >>> 32);
    const last = order + (<usize>(i - 1) << 2);
    const other = order + (<usize>j << 2);
    const kept = load<u32>(last);
    store<u32>(last, load<u32>(other));
    store<u32>(other, kept);
  }
}

/** Row order[i] of `source` becomes row i of `target`, for i below n; rows of `bytes` each, a multiple of 4. */
export function copyRows(source: usize, order: usize, n: u32, bytes: u32, target: usize): void {
  if (bytes === 4) {
    for (let i: u32 = 0; i < n; i++) {
      store<u32>(target + (<usize>i << 2), load<u32>(source + (<usize>load<u32>(order + (<usize>i << 2)) << 2)));
    }
    return;
  }
  for (let i: u32 = 0; i < n; i++) {
    memory.copy(target, source + <usize>load<u32>(order + (<usize>i << 2)) * bytes, bytes);
    target += bytes;
  }
}
