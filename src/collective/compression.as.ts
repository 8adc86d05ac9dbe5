// Deep gradient compression (arXiv 1712.01887), the arithmetic: momentum correction, the numbers of a tensor with the largest
// magnitudes, and their form on the wire: values side by side, and the steps from index to index in 16 bits.

/** Above this many numbers a sample tells where about the largest begin. */
const SAMPLE: usize = 16384;
/** A step that moves on and brings no number. */
const FILLER: usize = 0xffff;
const MAGNITUDE: u32 = 0x7fffffff;

/** Σx² in f64. */
export function sumOfSquares(x: usize, count: usize): f64 {
  const end = x + (count << 2);
  const wide = x + ((count & ~3) << 2);
  let low = f64x2.splat(0);
  let high = f64x2.splat(0);
  for (; x < wide; x += 16) {
    const four = v128.load(x);
    const a = f64x2.promote_low_f32x4(four);
    const b = f64x2.promote_low_f32x4(v128.shuffle<u64>(four, four, 1, 1));
    low = f64x2.add(low, f64x2.mul(a, a));
    high = f64x2.add(high, f64x2.mul(b, b));
  }
  const both = f64x2.add(low, high);
  let sum = f64x2.extract_lane(both, 0) + f64x2.extract_lane(both, 1);
  for (; x < end; x += 4) {
    const one = <f64>load<f32>(x);
    sum += one * one;
  }
  return sum;
}

/**
 * d = scale·g + decay·w; u = momentum·u + d, v += u; or Nesterov's: u = momentum·(u + d), v += u + d.
 */
export function accumulate(
  g: usize, w: usize, u: usize, v: usize, count: usize, scale: f32, momentum: f32, decay: f32, nesterov: bool,
): void {
  const end = g + (count << 2);
  const wide = g + ((count & ~3) << 2);
  const scales = f32x4.splat(scale), momenta = f32x4.splat(momentum), decays = f32x4.splat(decay);
  for (; g < wide; g += 16, w += 16, u += 16, v += 16) {
    const d = f32x4.add(f32x4.mul(v128.load(g), scales), f32x4.mul(v128.load(w), decays));
    let next: v128;
    let rest = v128.load(v);
    if (nesterov) {
      next = f32x4.mul(momenta, f32x4.add(v128.load(u), d));
      rest = f32x4.add(rest, d);
    } else next = f32x4.add(f32x4.mul(momenta, v128.load(u)), d);
    v128.store(u, next);
    v128.store(v, f32x4.add(rest, next));
  }
  for (; g < end; g += 4, w += 4, u += 4, v += 4) {
    const d = load<f32>(g) * scale + load<f32>(w) * decay;
    let next: f32;
    let rest = load<f32>(v);
    if (nesterov) {
      next = momentum * (load<f32>(u) + d);
      rest += d;
    } else next = momentum * load<f32>(u) + d;
    store<f32>(u, next);
    store<f32>(v, rest + next);
  }
}

// @ts-ignore: decorator
@inline
function magnitudeAt(x: usize, list: usize, stride: usize, i: usize): u32 {
  const place = list ? <usize>load<u32>(list + (i << 2)) : i * stride;
  return load<u32>(x + (place << 2)) & MAGNITUDE;
}

/** Of numbers as large as the least of the largest, how many belong to them. */
let ties: usize = 0;

/** The bits of the k-th largest magnitude of the numbers in a list, or of every `stride`-th, by radix; `counts`: 2048 words. */
function kthLargest(x: usize, list: usize, stride: usize, count: usize, k: usize, counts: usize): u32 {
  let prefix: u32 = 0;
  let mask: u32 = 0;
  let left = <u32>k;
  for (let digit = 0; digit < 3; digit++) {
    const shift: u32 = digit == 0 ? 20 : digit == 1 ? 10 : 0;
    const bins: u32 = digit == 0 ? 2048 : 1024;
    memory.fill(counts, 0, bins << 2);
    for (let i: usize = 0; i < count; i++) {
      const bits = magnitudeAt(x, list, stride, i);
      if ((bits & mask) != prefix) continue;
      const bin = counts + (<usize>((bits >> shift) & (bins - 1)) << 2);
      store<u32>(bin, load<u32>(bin) + 1);
    }
    let bin = bins - 1;
    for (; ; bin--) {
      const there = load<u32>(counts + (<usize>bin << 2));
      if (there >= left) break;
      left -= there;
    }
    prefix |= bin << shift;
    mask |= (bins - 1) << shift;
  }
  ties = left;
  return prefix;
}

/** Indices of numbers whose magnitude has at least these bits, in order; stops where more than `room` would come. */
function collect(x: usize, count: usize, least: u32, list: usize, room: usize): usize {
  const magnitudes = i32x4.splat(MAGNITUDE), limits = i32x4.splat(least);
  const most = list + (room << 2);
  const wide = count & ~15;
  let to = list;
  let i: usize = 0;
  for (; i < wide; i += 16) {
    const at = x + (i << 2);
    const a = i32x4.ge_s(v128.and(v128.load(at), magnitudes), limits);
    const b = i32x4.ge_s(v128.and(v128.load(at, 16), magnitudes), limits);
    const c = i32x4.ge_s(v128.and(v128.load(at, 32), magnitudes), limits);
    const d = i32x4.ge_s(v128.and(v128.load(at, 48), magnitudes), limits);
    if (!v128.any_true(v128.or(v128.or(a, b), v128.or(c, d)))) continue;
    let bits = <u32>i32x4.bitmask(a) | (<u32>i32x4.bitmask(b) << 4) | (<u32>i32x4.bitmask(c) << 8) | (<u32>i32x4.bitmask(d) << 12);
    while (bits) {
      if (to == most) return room + 1;
      store<u32>(to, <u32>i + <u32>ctz(bits));
      to += 4;
      bits &= bits - 1;
    }
  }
  for (; i < count; i++) {
    if ((load<u32>(x + (i << 2)) & MAGNITUDE) < least) continue;
    if (to == most) return room + 1;
    store<u32>(to, <u32>i);
    to += 4;
  }
  return (to - list) >> 2;
}

/** Of all numbers, or those of a list, the indices above the least and of the `left` first that equal it. */
function keep(x: usize, from: usize, count: usize, least: u32, left: usize, list: usize): void {
  let to = list;
  for (let i: usize = 0; i < count; i++) {
    const place = from ? load<u32>(from + (i << 2)) : <u32>i;
    const bits = load<u32>(x + (<usize>place << 2)) & MAGNITUDE;
    if (bits < least) continue;
    if (bits == least) {
      if (left == 0) continue;
      left--;
    }
    store<u32>(to, place);
    to += 4;
  }
}

/**
 * The indices of the k numbers with the largest magnitudes, in order; of equal ones the first. @param list room for `room`
 * indices, at least k
 */
export function largest(x: usize, count: usize, k: usize, list: usize, room: usize, counts: usize): void {
  if (count > 4 * SAMPLE) {
    const stride = (count / SAMPLE) | 1;
    const seen = (count - 1) / stride + 1;
    const expected = <f64>seen * <f64>k / <f64>count;
    const rank = <usize>(expected + 3 * sqrt(expected) + 3);
    if (rank < seen) {
      const found = collect(x, count, kthLargest(x, 0, stride, seen, rank, counts), list, room);
      if (found >= k && found <= room) {
        const least = kthLargest(x, list, 1, found, k, counts);
        keep(x, list, found, least, ties, list);
        return;
      }
    }
  }
  const least = kthLargest(x, 0, 1, count, k, counts);
  keep(x, 0, count, least, ties, list);
}

/**
 * Writes the numbers of a list as values and steps, `capacity` of each; what is left over brings nothing. Returns how many
 * are in use. A list of k indices below `count` takes k + count / 65535 at most.
 */
export function encode(x: usize, list: usize, k: usize, values: usize, steps: usize, capacity: usize): usize {
  let place: usize = 0;
  let to: usize = 0;
  for (let i: usize = 0; i < k; i++) {
    const index = <usize>load<u32>(list + (i << 2));
    for (; index - place >= FILLER; place += FILLER, to++) {
      store<f32>(values + (to << 2), 0);
      store<u16>(steps + (to << 1), <u16>FILLER);
    }
    store<f32>(values + (to << 2), load<f32>(x + (index << 2)));
    store<u16>(steps + (to << 1), <u16>(index - place));
    place = index;
    to++;
  }
  memory.fill(values + (to << 2), 0, (capacity - to) << 2);
  memory.fill(steps + (to << 1), 0, (capacity - to) << 1);
  return to;
}

/** Takes what was sent out of v, and makes the momentum 0 there (momentum factor masking). */
export function takeOut(u: usize, v: usize, values: usize, steps: usize, used: usize): void {
  let place: usize = 0;
  for (let i: usize = 0; i < used; i++) {
    const step = <usize>load<u16>(steps + (i << 1));
    place += step;
    if (step == FILLER) continue;
    const at = place << 2;
    store<f32>(v + at, load<f32>(v + at) - load<f32>(values + (i << 2)));
    store<f32>(u + at, 0);
  }
}

/** x += factor · what was sent. Returns 0, or 1 where an index lies outside of x. */
export function addSparse(x: usize, count: usize, values: usize, steps: usize, capacity: usize, factor: f32): i32 {
  let place: usize = 0;
  for (let i: usize = 0; i < capacity; i++) {
    place += <usize>load<u16>(steps + (i << 1));
    if (place >= count) return 1;
    const at = x + (place << 2);
    store<f32>(at, load<f32>(at) + load<f32>(values + (i << 2)) * factor);
  }
  return 0;
}

export function clear(x: usize, count: usize): void {
  memory.fill(x, 0, count << 2);
}
