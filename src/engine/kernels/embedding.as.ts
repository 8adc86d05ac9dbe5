// Rows of a matrix by ids. Ids are compared as unsigned, so that one comparison finds negative and too large ones.

// out[i] = weights[ids[i]] for rows of `bytes` bytes of f32, bf16 or f16; an id that is none gives NaN.
export function gatherRows(weights: usize, ids: usize, out: usize, count: usize, rows: u32, bytes: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const id = load<u32>(ids + (i << 2));
    if (id < rows) {
      memory.copy(out, weights + <usize>id * bytes, bytes);
    } else {
      // 0x7fc0 is NaN in bf16 and f16, and two of them are in f32.
      for (let j: usize = 0; j < bytes; j += 2) store<u16>(out + j, 0x7fc0);
    }
    out += bytes;
  }
}

// sums[ids[i]] += values[i] for rows of `dim` f32, after all sums were set to 0; an id that is none adds nothing.
export function addRows(ids: usize, values: usize, sums: usize, count: usize, rows: u32, dim: usize): void {
  const bytes = dim << 2;
  const vectors = bytes & ~15;
  memory.fill(sums, 0, <usize>rows * bytes);
  for (let i: usize = 0; i < count; i++) {
    const id = load<u32>(ids + (i << 2));
    if (id < rows) {
      const to = sums + <usize>id * bytes;
      let j: usize = 0;
      for (; j < vectors; j += 16) v128.store(to + j, f32x4.add(v128.load(to + j), v128.load(values + j)));
      for (; j < bytes; j += 4) store<f32>(to + j, load<f32>(to + j) + load<f32>(values + j));
    }
    values += bytes;
  }
}
