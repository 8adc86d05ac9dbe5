// Rows of a matrix by ids, f32. Ids are compared as unsigned, so that one comparison finds negative and too large ones.

// out[i] = weights[ids[i]] for rows of `dim` elements; an id that is none gives NaN.
export function gatherRows(weights: usize, ids: usize, out: usize, count: usize, rows: u32, dim: usize): void {
  const bytes = dim << 2;
  for (let i: usize = 0; i < count; i++) {
    const id = load<u32>(ids + (i << 2));
    if (id < rows) {
      memory.copy(out, weights + <usize>id * bytes, bytes);
    } else {
      for (let j: usize = 0; j < bytes; j += 4) store<f32>(out + j, f32.reinterpret_i32(0x7fc00000));
    }
    out += bytes;
  }
}

// sums[ids[i]] += values[i], after all sums were set to 0; an id that is none adds nothing.
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
