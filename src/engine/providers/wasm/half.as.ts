// Between f32 and the half-precision types, to the nearest, ties to even.

export function fromBf16(from: usize, to: usize, n: usize): void {
  let i: usize = 0;
  for (; i + 4 <= n; i += 4) {
    v128.store(to + (i << 2), i32x4.shl(v128.load16x4_u(from + (i << 1)), 16));
  }
  for (; i < n; i++) store<u32>(to + (i << 2), (<u32>load<u16>(from + (i << 1))) << 16);
}

@inline function bf16Bits(bits: u32): u32 {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >> 16) | 0x40;
  return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

export function toBf16(from: usize, to: usize, n: usize): void {
  const half = i32x4.splat(0x7fff);
  const one = i32x4.splat(1);
  const quiet = i32x4.splat(0x40);
  const infinity = i32x4.splat(0x7f800000);
  const magnitude = i32x4.splat(0x7fffffff);
  let i: usize = 0;
  for (; i + 8 <= n; i += 8) {
    const a = v128.load(from + (i << 2));
    const b = v128.load(from + (i << 2), 16);
    const topA = i32x4.shr_u(a, 16);
    const topB = i32x4.shr_u(b, 16);
    const nearA = i32x4.shr_u(i32x4.add(i32x4.add(a, half), v128.and(topA, one)), 16);
    const nearB = i32x4.shr_u(i32x4.add(i32x4.add(b, half), v128.and(topB, one)), 16);
    const nanA = i32x4.gt_s(v128.and(a, magnitude), infinity);
    const nanB = i32x4.gt_s(v128.and(b, magnitude), infinity);
    const x = v128.bitselect(v128.or(topA, quiet), nearA, nanA);
    const y = v128.bitselect(v128.or(topB, quiet), nearB, nanB);
    // The even 16-bit lanes of both.
    v128.store(to + (i << 1), i8x16.shuffle(x, y, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29));
  }
  for (; i < n; i++) store<u16>(to + (i << 1), <u16>bf16Bits(load<u32>(from + (i << 2))));
}

export function fromF16(from: usize, to: usize, n: usize): void {
  const magnitude = i32x4.splat(0x7fff);
  const signBit = i32x4.splat(0x8000);
  // Moving the exponent's bias by a product also scales subnormal numbers; infinities and NaN keep their exponent.
  const bias = i32x4.splat(0x77800000);
  const infinity = i32x4.splat(0x7c00);
  const top = i32x4.splat(0x7f800000);
  let i: usize = 0;
  for (; i + 4 <= n; i += 4) {
    const half = v128.load16x4_u(from + (i << 1));
    const rest = v128.and(half, magnitude);
    const scaled = f32x4.mul(i32x4.shl(rest, 13), bias);
    const special = v128.and(i32x4.ge_s(rest, infinity), top);
    const sign = i32x4.shl(v128.and(half, signBit), 16);
    v128.store(to + (i << 2), v128.or(v128.or(scaled, special), sign));
  }
  for (; i < n; i++) {
    const half = <u32>load<u16>(from + (i << 1));
    const rest = half & 0x7fff;
    const scaled = reinterpret<u32>(reinterpret<f32>(rest << 13) * reinterpret<f32>(0x77800000));
    store<u32>(to + (i << 2), scaled | (rest >= 0x7c00 ? 0x7f800000 : 0) | ((half & 0x8000) << 16));
  }
}

/** The bits of f16 in four lanes of 32. */
@inline function f16Lanes(x: v128): v128 {
  const rest = v128.and(x, i32x4.splat(0x7fffffff));
  const top = i32x4.shr_u(rest, 13);
  let half = i32x4.shr_u(i32x4.add(i32x4.add(rest, i32x4.splat(0xc8000fff)), v128.and(top, i32x4.splat(1))), 13);
  // Below the least normal f16: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits.
  const tiny = i32x4.sub(f32x4.add(rest, f32x4.splat(0.5)), i32x4.splat(0x3f000000));
  half = v128.bitselect(tiny, half, i32x4.lt_s(rest, i32x4.splat(0x38800000)));
  half = v128.bitselect(i32x4.splat(0x7c00), half, i32x4.ge_s(rest, i32x4.splat(0x477ff000)));
  const quiet = v128.or(v128.and(top, i32x4.splat(0x3ff)), i32x4.splat(0x7e00));
  half = v128.bitselect(quiet, half, i32x4.gt_s(rest, i32x4.splat(0x7f800000)));
  return v128.or(half, v128.and(i32x4.shr_u(x, 16), i32x4.splat(0x8000)));
}

export function toF16(from: usize, to: usize, n: usize): void {
  let i: usize = 0;
  for (; i + 8 <= n; i += 8) {
    const low = f16Lanes(v128.load(from + (i << 2)));
    const high = f16Lanes(v128.load(from + (i << 2), 16));
    v128.store(to + (i << 1), i16x8.narrow_i32x4_u(low, high));
  }
  for (; i < n; i++) {
    store<u16>(to + (i << 1), <u16>i32x4.extract_lane(f16Lanes(v128.load32_zero(from + (i << 2))), 0));
  }
}

/** As above, of rows of n elements; strides in bytes. */
export function rowsFromBf16(from: usize, stride: usize, to: usize, rows: usize, n: usize): void {
  for (let row: usize = 0; row < rows; row++, from += stride, to += n << 2) fromBf16(from, to, n);
}

export function rowsFromF16(from: usize, stride: usize, to: usize, rows: usize, n: usize): void {
  for (let row: usize = 0; row < rows; row++, from += stride, to += n << 2) fromF16(from, to, n);
}

export function rowsToBf16(from: usize, to: usize, stride: usize, rows: usize, n: usize): void {
  for (let row: usize = 0; row < rows; row++, from += n << 2, to += stride) toBf16(from, to, n);
}

export function rowsToF16(from: usize, to: usize, stride: usize, rows: usize, n: usize): void {
  for (let row: usize = 0; row < rows; row++, from += n << 2, to += stride) toF16(from, to, n);
}
