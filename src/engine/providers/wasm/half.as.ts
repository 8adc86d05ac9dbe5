// Between f32 and the half-precision types, to the nearest, ties to even: bf16 by shifts, f16 by integer arithmetic.

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
  for (let i: usize = 0; i < n; i++) {
    const h = <u32>load<u16>(from + (i << 1));
    const sign = (h & 0x8000) << 16;
    const rest = h & 0x7fff;
    // Moving the exponent's bias by a product also scales subnormal numbers; infinities and NaN keep their exponent.
    const scaled = reinterpret<u32>(reinterpret<f32>(rest << 13) * reinterpret<f32>(0x77800000));
    const bits = rest >= 0x7c00 ? 0x7f800000 | ((rest & 0x3ff) << 13) : scaled;
    store<u32>(to + (i << 2), sign | bits);
  }
}

export function toF16(from: usize, to: usize, n: usize): void {
  for (let i: usize = 0; i < n; i++) {
    const bits = load<u32>(from + (i << 2));
    const sign = (bits >> 16) & 0x8000;
    const rest = bits & 0x7fffffff;
    let half: u32;
    if (rest > 0x7f800000) half = 0x7e00 | ((rest >> 13) & 0x3ff);
    else if (rest >= 0x477ff000) half = 0x7c00;
    else if (rest < 0x38800000) {
      // Below the least normal f16: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits.
      half = reinterpret<u32>(reinterpret<f32>(rest) + <f32>0.5) - 0x3f000000;
    } else half = (rest + 0xc8000fff + ((rest >> 13) & 1)) >> 13;
    store<u16>(to + (i << 1), <u16>(sign | half));
  }
}
