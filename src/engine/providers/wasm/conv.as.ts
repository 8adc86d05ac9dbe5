// Convolutions of NHWC pictures as matrix products: windows are copied to rows of a matrix and back.

/**
 * A matrix [places, KH·KW·channels]: the windows of output rows row0…row1−1 of all pictures, all columns; zeros in the
 * padding. `pixelBytes` from pixel to pixel, `bytes` of each that are copied.
 */
export function im2col(
  x: usize, col: usize, height: i32, width: i32, pixelBytes: usize, bytes: usize, kernelHeight: i32, kernelWidth: i32,
  strideHeight: i32, strideWidth: i32, dilationHeight: i32, dilationWidth: i32, padTop: i32, padLeft: i32,
  outHeight: i32, outWidth: i32, row0: i32, row1: i32,
): void {
  const runs = dilationWidth == 1 && bytes == pixelBytes;
  const windowRow = <usize>kernelWidth * bytes;
  for (let r = row0; r < row1; r++) {
    const picture = x + <usize>(r / outHeight) * <usize>(height * width) * pixelBytes;
    const y0 = r % outHeight * strideHeight - padTop;
    for (let ox = 0; ox < outWidth; ox++) {
      const x0 = ox * strideWidth - padLeft;
      for (let ky = 0; ky < kernelHeight; ky++) {
        const iy = y0 + ky * dilationHeight;
        const row = picture + <usize>(iy * width) * pixelBytes;
        if (<u32>iy >= <u32>height) {
          memory.fill(col, 0, windowRow);
          col += windowRow;
        } else if (runs) {
          // The window's row is one run of pixels, cut off by the picture's edges.
          const first = min(kernelWidth, max(0, -x0));
          const end = max(first, min(kernelWidth, width - x0));
          if (first > 0) memory.fill(col, 0, <usize>first * bytes);
          copy(col + <usize>first * bytes, row + <usize>(x0 + first) * bytes, <usize>(end - first) * bytes);
          if (end < kernelWidth) memory.fill(col + <usize>end * bytes, 0, <usize>(kernelWidth - end) * bytes);
          col += windowRow;
        } else {
          for (let kx = 0; kx < kernelWidth; kx++, col += bytes) {
            const ix = x0 + kx * dilationWidth;
            if (<u32>ix >= <u32>width) memory.fill(col, 0, bytes);
            else copy(col, row + <usize>ix * pixelBytes, bytes);
          }
        }
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function copy(to: usize, from: usize, bytes: usize): void {
  let i: usize = 0;
  for (; i + 16 <= bytes; i += 16) v128.store(to + i, v128.load(from + i));
  for (; i < bytes; i += 4) store<u32>(to + i, load<u32>(from + i));
}

/** The transpose of im2col: adds rows of the matrix to where their windows lie in x. */
export function col2im(
  x: usize, col: usize, height: i32, width: i32, pixelBytes: usize, bytes: usize, kernelHeight: i32, kernelWidth: i32,
  strideHeight: i32, strideWidth: i32, dilationHeight: i32, dilationWidth: i32, padTop: i32, padLeft: i32,
  outHeight: i32, outWidth: i32, row0: i32, row1: i32,
): void {
  const runs = dilationWidth == 1 && bytes == pixelBytes;
  const windowRow = <usize>kernelWidth * bytes;
  for (let r = row0; r < row1; r++) {
    const picture = x + <usize>(r / outHeight) * <usize>(height * width) * pixelBytes;
    const y0 = r % outHeight * strideHeight - padTop;
    for (let ox = 0; ox < outWidth; ox++) {
      const x0 = ox * strideWidth - padLeft;
      for (let ky = 0; ky < kernelHeight; ky++, col += windowRow) {
        const iy = y0 + ky * dilationHeight;
        if (<u32>iy >= <u32>height) continue;
        const row = picture + <usize>(iy * width) * pixelBytes;
        if (runs) {
          const first = min(kernelWidth, max(0, -x0));
          const end = max(first, min(kernelWidth, width - x0));
          add(row + <usize>(x0 + first) * bytes, col + <usize>first * bytes, <usize>(end - first) * bytes);
        } else {
          for (let kx = 0; kx < kernelWidth; kx++) {
            const ix = x0 + kx * dilationWidth;
            if (<u32>ix < <u32>width) add(row + <usize>ix * pixelBytes, col + <usize>kx * bytes, bytes);
          }
        }
      }
    }
  }
}

/** to += from */
// @ts-ignore: decorator
@inline
function add(to: usize, from: usize, bytes: usize): void {
  let i: usize = 0;
  for (; i + 16 <= bytes; i += 16) v128.store(to + i, f32x4.add(v128.load(to + i), v128.load(from + i)));
  for (; i < bytes; i += 4) store<f32>(to + i, load<f32>(to + i) + load<f32>(from + i));
}

/** Sums [columns] of the columns of [rows, columns]. */
export function sumColumns(x: usize, sums: usize, rows: usize, columns: usize): void {
  const bytes = columns << 2;
  memory.fill(sums, 0, bytes);
  for (let row: usize = 0; row < rows; row++, x += bytes) add(sums, x, bytes);
}

export function fill(to: usize, bytes: usize, value: f32): void {
  for (let i: usize = 0; i < bytes; i += 4) store<f32>(to + i, value);
}
