// Looks for numbers that are not finite: those whose exponent has all bits set.

// The index of the first such f32 of x [count], or −1.
export function firstNonFinite(x: usize, count: usize): f64 {
  const exponent = i32x4.splat(0x7f800000);
  const vectors = count & ~15;
  let i: usize = 0;
  for (; i < vectors; i += 16) {
    const p = x + (i << 2);
    const a = i32x4.eq(v128.and(v128.load(p), exponent), exponent);
    const b = i32x4.eq(v128.and(v128.load(p, 16), exponent), exponent);
    const c = i32x4.eq(v128.and(v128.load(p, 32), exponent), exponent);
    const d = i32x4.eq(v128.and(v128.load(p, 48), exponent), exponent);
    if (v128.any_true(v128.or(v128.or(a, b), v128.or(c, d)))) break;
  }
  for (; i < count; i++) if ((load<u32>(x + (i << 2)) & 0x7f800000) == 0x7f800000) return <f64>i;
  return -1;
}

// As firstNonFinite, of 16-bit floats whose exponent are the bits of `mask`.
export function firstNonFiniteHalf(x: usize, count: usize, mask: u32): f64 {
  const exponent = i16x8.splat(<i16>mask);
  const vectors = count & ~15;
  let i: usize = 0;
  for (; i < vectors; i += 16) {
    const p = x + (i << 1);
    const a = i16x8.eq(v128.and(v128.load(p), exponent), exponent);
    const b = i16x8.eq(v128.and(v128.load(p, 16), exponent), exponent);
    if (v128.any_true(v128.or(a, b))) break;
  }
  for (; i < count; i++) if ((<u32>load<u16>(x + (i << 1)) & mask) == mask) return <f64>i;
  return -1;
}
