// Arithmetic of collectives: reducing what came into what is here, f32 numbers with partners in f32, bf16 or f16, and
// converting to and from the wire. Sums are plain f32 additions, so that every machine gets the same bits.
// Rounding is to the nearest, ties to even. f16 after Fabian Giesen's float_to_half_fast3_rtne and half_to_float_fast5.

const SUM: i32 = 0;

// @ts-ignore: decorator
@inline
function combine(a: v128, b: v128, op: i32): v128 {
  return op == SUM ? f32x4.add(a, b) : f32x4.max(a, b);
}

// @ts-ignore: decorator
@inline
function combineOne(a: f32, b: f32, op: i32): f32 {
  return op == SUM ? a + b : max<f32>(a, b);
}

// @ts-ignore: decorator
@inline
function reduceBy(dst: usize, src: usize, count: usize, op: i32): void {
  const end = dst + (count << 2);
  const wide = dst + ((count & ~15) << 2);
  while (dst < wide) {
    v128.store(dst, combine(v128.load(dst), v128.load(src), op));
    v128.store(dst, combine(v128.load(dst, 16), v128.load(src, 16), op), 16);
    v128.store(dst, combine(v128.load(dst, 32), v128.load(src, 32), op), 32);
    v128.store(dst, combine(v128.load(dst, 48), v128.load(src, 48), op), 48);
    dst += 64;
    src += 64;
  }
  while (dst < end) {
    store<f32>(dst, combineOne(load<f32>(dst), load<f32>(src), op));
    dst += 4;
    src += 4;
  }
}

export function sumF32(dst: usize, src: usize, count: usize): void {
  reduceBy(dst, src, count, SUM);
}

export function maxF32(dst: usize, src: usize, count: usize): void {
  reduceBy(dst, src, count, 1);
}

export function scaleF32(dst: usize, count: usize, factor: f32): void {
  const end = dst + (count << 2);
  const wide = dst + ((count & ~3) << 2);
  const factors = f32x4.splat(factor);
  while (dst < wide) {
    v128.store(dst, f32x4.mul(v128.load(dst), factors));
    dst += 16;
  }
  while (dst < end) {
    store<f32>(dst, load<f32>(dst) * factor);
    dst += 4;
  }
}

export function copyBytes(dst: usize, src: usize, bytes: usize): void {
  memory.copy(dst, src, bytes);
}

/** Four bf16 numbers as f32. */
// @ts-ignore: decorator
@inline
function fromBf16(bits: v128): v128 {
  return i32x4.shl(bits, 16);
}

/** The bits of f32 numbers as bf16, one in each lane. */
// @ts-ignore: decorator
@inline
function toBf16(x: v128): v128 {
  const odd = v128.and(i32x4.shr_u(x, 16), i32x4.splat(1));
  const rounded = i32x4.add(i32x4.add(x, i32x4.splat(0x7fff)), odd);
  // A carry turns some NaNs into numbers, which these bits undo.
  const nan = v128.and(f32x4.ne(x, x), i32x4.splat(0x7fc00000));
  return i32x4.shr_u(v128.or(rounded, nan), 16);
}

// @ts-ignore: decorator
@inline
function fromF16(bits: v128): v128 {
  const magnitude = i32x4.shl(v128.and(bits, i32x4.splat(0x7fff)), 13);
  const normal = i32x4.add(magnitude, i32x4.splat(0x38000000));
  const special = i32x4.add(magnitude, i32x4.splat(0x70000000));
  const smallest = i32x4.splat(0x38800000);
  const subnormal = f32x4.sub(i32x4.add(magnitude, smallest), smallest);
  const finite = v128.bitselect(subnormal, normal, i32x4.lt_s(magnitude, i32x4.splat(0x00800000)));
  const value = v128.bitselect(special, finite, i32x4.gt_s(magnitude, i32x4.splat(0x0f7fffff)));
  return v128.or(value, i32x4.shl(v128.and(bits, i32x4.splat(0x8000)), 16));
}

// @ts-ignore: decorator
@inline
function toF16(x: v128): v128 {
  const sign = v128.and(x, i32x4.splat(0x80000000));
  const magnitude = v128.xor(x, sign);
  const odd = v128.and(i32x4.shr_u(magnitude, 13), i32x4.splat(1));
  // Moves the exponent from a bias of 127 to one of 15, and rounds.
  const normal = i32x4.shr_u(i32x4.add(i32x4.add(magnitude, i32x4.splat(0xfff - 0x38000000)), odd), 13);
  // Adding 1/2 leaves the f16 mantissa of a number below 2^-14, rounded, in the low bits of the sum.
  const half = i32x4.splat(0x3f000000);
  const subnormal = i32x4.sub(f32x4.add(magnitude, half), half);
  const finite = v128.bitselect(subnormal, normal, i32x4.lt_s(magnitude, i32x4.splat(0x38800000)));
  const special = v128.bitselect(i32x4.splat(0x7e00), i32x4.splat(0x7c00), f32x4.ne(x, x));
  const bits = v128.bitselect(special, finite, i32x4.gt_s(magnitude, i32x4.splat(0x477fffff)));
  return v128.or(bits, i32x4.shr_u(sign, 16));
}

// @ts-ignore: decorator
@inline
function widen(bits: v128, f16: bool): v128 {
  return f16 ? fromF16(bits) : fromBf16(bits);
}

// @ts-ignore: decorator
@inline
function narrow(x: v128, f16: bool): v128 {
  return f16 ? toF16(x) : toBf16(x);
}

// @ts-ignore: decorator
@inline
function widenOne(address: usize, f16: bool): f32 {
  return f32x4.extract_lane(widen(i32x4.splat(load<u16>(address)), f16), 0);
}

// @ts-ignore: decorator
@inline
function encodeBy(dst: usize, src: usize, count: usize, f16: bool): void {
  const wide = dst + ((count & ~7) << 1);
  const end = dst + (count << 1);
  while (dst < wide) {
    const low = narrow(v128.load(src), f16);
    const high = narrow(v128.load(src, 16), f16);
    v128.store(dst, v128.shuffle<u16>(low, high, 0, 2, 4, 6, 8, 10, 12, 14));
    dst += 16;
    src += 32;
  }
  while (dst < end) {
    store<u16>(dst, i32x4.extract_lane(narrow(f32x4.splat(load<f32>(src)), f16), 0) as u16);
    dst += 2;
    src += 4;
  }
}

// @ts-ignore: decorator
@inline
function decodeBy(dst: usize, src: usize, count: usize, f16: bool): void {
  const wide = dst + ((count & ~7) << 2);
  const end = dst + (count << 2);
  while (dst < wide) {
    const bits = v128.load(src);
    v128.store(dst, widen(i32x4.extend_low_i16x8_u(bits), f16));
    v128.store(dst, widen(i32x4.extend_high_i16x8_u(bits), f16), 16);
    dst += 32;
    src += 16;
  }
  while (dst < end) {
    store<f32>(dst, widenOne(src, f16));
    dst += 4;
    src += 2;
  }
}

// @ts-ignore: decorator
@inline
function reduceHalf(dst: usize, src: usize, count: usize, f16: bool, op: i32): void {
  const wide = dst + ((count & ~7) << 2);
  const end = dst + (count << 2);
  while (dst < wide) {
    const bits = v128.load(src);
    v128.store(dst, combine(v128.load(dst), widen(i32x4.extend_low_i16x8_u(bits), f16), op));
    v128.store(dst, combine(v128.load(dst, 16), widen(i32x4.extend_high_i16x8_u(bits), f16), op), 16);
    dst += 32;
    src += 16;
  }
  while (dst < end) {
    store<f32>(dst, combineOne(load<f32>(dst), widenOne(src, f16), op));
    dst += 4;
    src += 2;
  }
}

export function encodeBf16(dst: usize, src: usize, count: usize): void {
  encodeBy(dst, src, count, false);
}

export function encodeF16(dst: usize, src: usize, count: usize): void {
  encodeBy(dst, src, count, true);
}

export function decodeBf16(dst: usize, src: usize, count: usize): void {
  decodeBy(dst, src, count, false);
}

export function decodeF16(dst: usize, src: usize, count: usize): void {
  decodeBy(dst, src, count, true);
}

export function sumBf16(dst: usize, src: usize, count: usize): void {
  reduceHalf(dst, src, count, false, SUM);
}

export function sumF16(dst: usize, src: usize, count: usize): void {
  reduceHalf(dst, src, count, true, SUM);
}

export function maxBf16(dst: usize, src: usize, count: usize): void {
  reduceHalf(dst, src, count, false, 1);
}

export function maxF16(dst: usize, src: usize, count: usize): void {
  reduceHalf(dst, src, count, true, 1);
}

/**
 * Elements of `peers` f32 buffers, whose addresses lie in a table of words as wide as an address, reduced in the order of
 * the table, scaled and written to all of them: each number is read and written once.
 */
// @ts-ignore: decorator
@inline
function reduceAllBy(table: usize, peers: usize, start: usize, count: usize, factor: f32, op: i32): void {
  const tableEnd = table + peers * sizeof<usize>();
  const factors = f32x4.splat(factor);
  const scaled = factor != 1;
  let offset = start << 2;
  const wide = offset + ((count & ~15) << 2);
  const end = offset + (count << 2);
  for (; offset < wide; offset += 64) {
    let source = addressAt(table) + offset;
    let a = v128.load(source);
    let b = v128.load(source, 16);
    let c = v128.load(source, 32);
    let d = v128.load(source, 48);
    for (let entry = table + sizeof<usize>(); entry < tableEnd; entry += sizeof<usize>()) {
      source = addressAt(entry) + offset;
      a = combine(a, v128.load(source), op);
      b = combine(b, v128.load(source, 16), op);
      c = combine(c, v128.load(source, 32), op);
      d = combine(d, v128.load(source, 48), op);
    }
    if (scaled) {
      a = f32x4.mul(a, factors);
      b = f32x4.mul(b, factors);
      c = f32x4.mul(c, factors);
      d = f32x4.mul(d, factors);
    }
    for (let entry = table; entry < tableEnd; entry += sizeof<usize>()) {
      const target = addressAt(entry) + offset;
      v128.store(target, a);
      v128.store(target, b, 16);
      v128.store(target, c, 32);
      v128.store(target, d, 48);
    }
  }
  for (; offset < end; offset += 4) {
    let x = load<f32>(addressAt(table) + offset);
    for (let entry = table + sizeof<usize>(); entry < tableEnd; entry += sizeof<usize>()) {
      x = combineOne(x, load<f32>(addressAt(entry) + offset), op);
    }
    if (scaled) x *= factor;
    for (let entry = table; entry < tableEnd; entry += sizeof<usize>()) store<f32>(addressAt(entry) + offset, x);
  }
}

// Where addresses have 64 bits, words that JavaScript shares hold them as f64.
// @ts-ignore: decorator
@inline
function addressAt(entry: usize): usize {
  return sizeof<usize>() == 8 ? (load<f64>(entry) as usize) : load<usize>(entry);
}

export function sumAllF32(table: usize, peers: usize, start: usize, count: usize, factor: f32): void {
  reduceAllBy(table, peers, start, count, factor, SUM);
}

export function maxAllF32(table: usize, peers: usize, start: usize, count: usize, factor: f32): void {
  reduceAllBy(table, peers, start, count, factor, 1);
}
