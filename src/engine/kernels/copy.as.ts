// Moving tensors without arithmetic: rows between strides (concat, slice, pad), zeros, and permutations of dimensions.
// Sizes and strides are bytes and multiples of 4; source and destination never overlap.

@inline function copyBytes(dst: usize, src: usize, bytes: usize): void {
  // Calls of memory.copy leave the generated code; below a few cache lines a loop is faster.
  if (bytes > 1024) {
    memory.copy(dst, src, bytes);
    return;
  }
  const vectorEnd = dst + (bytes & ~15);
  const end = dst + bytes;
  while (dst < vectorEnd) {
    v128.store(dst, v128.load(src));
    dst += 16;
    src += 16;
  }
  while (dst < end) {
    store<u32>(dst, load<u32>(src));
    dst += 4;
    src += 4;
  }
}

export function copyRows(dst: usize, dstStride: usize, src: usize, srcStride: usize, rows: usize, bytes: usize): void {
  for (let row: usize = 0; row < rows; row++) {
    copyBytes(dst, src, bytes);
    dst += dstStride;
    src += srcStride;
  }
}

export function zeroRows(dst: usize, dstStride: usize, rows: usize, bytes: usize): void {
  for (let row: usize = 0; row < rows; row++) {
    memory.fill(dst, 0, bytes);
    dst += dstStride;
  }
}

// dst [n0, n1, n2] of blocks of `bytes` lies densely; the source strides say where each block comes from.
export function permuteBlocks(
  dst: usize, src: usize, n0: usize, n1: usize, n2: usize, s0: usize, s1: usize, s2: usize, bytes: usize,
): void {
  for (let i: usize = 0; i < n0; i++) {
    for (let j: usize = 0; j < n1; j++) {
      let from = src + i * s0 + j * s1;
      for (let k: usize = 0; k < n2; k++) {
        copyBytes(dst, from, bytes);
        dst += bytes;
        from += s2;
      }
    }
  }
}

// [batch, rows, cols] of 4-byte elements → [batch, cols, rows], in tiles of 4 × 4. Strides are those of a batch.
export function transpose(
  dst: usize, src: usize, batch: usize, rows: usize, cols: usize, srcRow: usize, srcBatch: usize, dstRow: usize, dstBatch: usize,
): void {
  const rows4 = rows & ~3;
  const cols4 = cols & ~3;
  for (let b: usize = 0; b < batch; b++) {
    for (let i: usize = 0; i < rows4; i += 4) {
      const from = src + i * srcRow;
      const to = dst + (i << 2);
      for (let j: usize = 0; j < cols4; j += 4) {
        const p = from + (j << 2);
        const r0 = v128.load(p);
        const r1 = v128.load(p + srcRow);
        const r2 = v128.load(p + 2 * srcRow);
        const r3 = v128.load(p + 3 * srcRow);
        const t0 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
        const t1 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
        const t2 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
        const t3 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
        const q = to + j * dstRow;
        v128.store(q, v128.shuffle<f32>(t0, t1, 0, 1, 4, 5));
        v128.store(q + dstRow, v128.shuffle<f32>(t0, t1, 2, 3, 6, 7));
        v128.store(q + 2 * dstRow, v128.shuffle<f32>(t2, t3, 0, 1, 4, 5));
        v128.store(q + 3 * dstRow, v128.shuffle<f32>(t2, t3, 2, 3, 6, 7));
      }
      for (let j = cols4; j < cols; j++) {
        for (let r: usize = 0; r < 4; r++) store<u32>(to + j * dstRow + (r << 2), load<u32>(from + r * srcRow + (j << 2)));
      }
    }
    for (let i = rows4; i < rows; i++) {
      for (let j: usize = 0; j < cols; j++) store<u32>(dst + j * dstRow + (i << 2), load<u32>(src + i * srcRow + (j << 2)));
    }
    src += srcBatch;
    dst += dstBatch;
  }
}
