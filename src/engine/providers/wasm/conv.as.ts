// Convolutions of NHWC pictures as matrix products: windows are copied to rows of a matrix and back.

/** One rank of [places, KH·KW·channels]: the windows of output rows oy0…oy1−1, all columns; zeros in the padding. */
export function im2col(
  x: usize, col: usize, height: i32, width: i32, pixelBytes: usize, bytes: usize, kernelHeight: i32, kernelWidth: i32,
  strideHeight: i32, strideWidth: i32, dilationHeight: i32, dilationWidth: i32, padTop: i32, padLeft: i32,
  outWidth: i32, oy0: i32, oy1: i32,
): void {
  for (let oy = oy0; oy < oy1; oy++) {
    for (let ox = 0; ox < outWidth; ox++) {
      for (let ky = 0; ky < kernelHeight; ky++) {
        const iy = oy * strideHeight - padTop + ky * dilationHeight;
        if (iy < 0 || iy >= height) {
          memory.fill(col, 0, <usize>kernelWidth * bytes);
          col += <usize>kernelWidth * bytes;
          continue;
        }
        const row = x + <usize>iy * <usize>width * pixelBytes;
        for (let kx = 0; kx < kernelWidth; kx++, col += bytes) {
          const ix = ox * strideWidth - padLeft + kx * dilationWidth;
          if (ix < 0 || ix >= width) memory.fill(col, 0, bytes);
          else copy(col, row + <usize>ix * pixelBytes, bytes);
        }
      }
    }
  }
}

@inline function copy(to: usize, from: usize, bytes: usize): void {
  let i: usize = 0;
  for (; i + 16 <= bytes; i += 16) v128.store(to + i, v128.load(from + i));
  for (; i < bytes; i += 4) store<u32>(to + i, load<u32>(from + i));
}

/** The transpose of im2col: adds rows of the matrix to where their windows lie in x. */
export function col2im(
  x: usize, col: usize, height: i32, width: i32, pixelBytes: usize, bytes: usize, kernelHeight: i32, kernelWidth: i32,
  strideHeight: i32, strideWidth: i32, dilationHeight: i32, dilationWidth: i32, padTop: i32, padLeft: i32,
  outWidth: i32, oy0: i32, oy1: i32,
): void {
  for (let oy = oy0; oy < oy1; oy++) {
    for (let ox = 0; ox < outWidth; ox++) {
      for (let ky = 0; ky < kernelHeight; ky++) {
        const iy = oy * strideHeight - padTop + ky * dilationHeight;
        if (iy < 0 || iy >= height) {
          col += <usize>kernelWidth * bytes;
          continue;
        }
        const row = x + <usize>iy * <usize>width * pixelBytes;
        for (let kx = 0; kx < kernelWidth; kx++, col += bytes) {
          const ix = ox * strideWidth - padLeft + kx * dilationWidth;
          if (ix < 0 || ix >= width) continue;
          const to = row + <usize>ix * pixelBytes;
          let i: usize = 0;
          for (; i + 16 <= bytes; i += 16) v128.store(to + i, f32x4.add(v128.load(to + i), v128.load(col + i)));
          for (; i < bytes; i += 4) store<f32>(to + i, load<f32>(to + i) + load<f32>(col + i));
        }
      }
    }
  }
}

/** Sums [columns] of the columns of [rows, columns]. */
export function sumColumns(x: usize, sums: usize, rows: usize, columns: usize): void {
  const bytes = columns << 2;
  memory.fill(sums, 0, bytes);
  for (let row: usize = 0; row < rows; row++, x += bytes) {
    let i: usize = 0;
    for (; i + 16 <= bytes; i += 16) v128.store(sums + i, f32x4.add(v128.load(sums + i), v128.load(x + i)));
    for (; i < bytes; i += 4) store<f32>(sums + i, load<f32>(sums + i) + load<f32>(x + i));
  }
}

export function fill(to: usize, bytes: usize, value: f32): void {
  for (let i: usize = 0; i < bytes; i += 4) store<f32>(to + i, value);
}

/** Columns `from`… of `bytes` bytes each row to dense rows, or back; strides in bytes. */
export function moveRows(to: usize, toStride: usize, from: usize, fromStride: usize, rows: usize, bytes: usize): void {
  for (let row: usize = 0; row < rows; row++, to += toStride, from += fromStride) memory.copy(to, from, bytes);
}
