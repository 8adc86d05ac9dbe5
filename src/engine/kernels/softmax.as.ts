// Softmax over the rows of [rows, n] and its cross-entropy with integer labels, forward and backward. n ≥ 1.
import { sumLanes } from "./lanes.as";

// exp by range reduction to [-ln2/2, ln2/2] and the polynomial of Cephes' expf: within 2 units in the last place.
@inline function exp4(value: v128): v128 {
  const x = f32x4.max(f32x4.min(value, f32x4.splat(88.0)), f32x4.splat(-87.3));
  const n = f32x4.nearest(f32x4.mul(x, f32x4.splat(1.44269504)));
  const r = f32x4.sub(f32x4.sub(x, f32x4.mul(n, f32x4.splat(0.693359375))), f32x4.mul(n, f32x4.splat(-2.12194440e-4)));
  let p = f32x4.add(f32x4.mul(r, f32x4.splat(1.9875691500e-4)), f32x4.splat(1.3981999507e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(8.3334519073e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(4.1665795894e-2));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.6666665459e-1));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(5.0000001201e-1));
  p = f32x4.add(f32x4.add(f32x4.mul(f32x4.mul(r, r), p), r), f32x4.splat(1));
  const scale = i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23);
  return f32x4.mul(p, scale);
}

// Natural logarithm of a positive normal number, by Cephes' logf.
@inline function logPositive(x: f32): f32 {
  const bits = reinterpret<u32>(x);
  let e = <f32>(<i32>(bits >> 23) - 126);
  let m = reinterpret<f32>((bits & 0x7fffff) | 0x3f000000);
  if (m < <f32>0.70710678) {
    e -= 1;
    m = m + m;
  }
  m -= 1;
  const z = m * m;
  let p: f32 = 7.0376836292e-2;
  p = p * m - <f32>1.1514610310e-1;
  p = p * m + <f32>1.1676998740e-1;
  p = p * m - <f32>1.2420140846e-1;
  p = p * m + <f32>1.4249322787e-1;
  p = p * m - <f32>1.6668057665e-1;
  p = p * m + <f32>2.0000714765e-1;
  p = p * m - <f32>2.4999993993e-1;
  p = p * m + <f32>3.3333331174e-1;
  return m + (p * m * z + e * <f32>-2.12194440e-4 - <f32>0.5 * z) + e * <f32>0.693359375;
}

@inline function rowMax(x: usize, bytes: usize): f32 {
  let m4 = f32x4.splat(-Infinity);
  const vectors = bytes & ~15;
  for (let i: usize = 0; i < vectors; i += 16) m4 = f32x4.max(m4, v128.load(x + i));
  let m = max(
    max(f32x4.extract_lane(m4, 0), f32x4.extract_lane(m4, 1)),
    max(f32x4.extract_lane(m4, 2), f32x4.extract_lane(m4, 3)),
  );
  for (let i = vectors; i < bytes; i += 4) m = max(m, load<f32>(x + i));
  return m;
}

/** y = exp(x − shift); the sum of y. */
@inline function expRow(x: usize, y: usize, bytes: usize, shift: f32): f32 {
  const shift4 = f32x4.splat(shift);
  const vectors = bytes & ~15;
  let sum4 = f32x4.splat(0);
  for (let i: usize = 0; i < vectors; i += 16) {
    const e = exp4(f32x4.sub(v128.load(x + i), shift4));
    v128.store(y + i, e);
    sum4 = f32x4.add(sum4, e);
  }
  let sum = sumLanes(sum4);
  for (let i = vectors; i < bytes; i += 4) {
    const e = f32x4.extract_lane(exp4(f32x4.sub(v128.load32_splat(x + i), shift4)), 0);
    store<f32>(y + i, e);
    sum += e;
  }
  return sum;
}

@inline function scaleRow(y: usize, bytes: usize, factor: f32): void {
  const factor4 = f32x4.splat(factor);
  const vectors = bytes & ~15;
  for (let i: usize = 0; i < vectors; i += 16) v128.store(y + i, f32x4.mul(v128.load(y + i), factor4));
  for (let i = vectors; i < bytes; i += 4) store<f32>(y + i, load<f32>(y + i) * factor);
}

export function softmax(x: usize, y: usize, rows: usize, n: usize): void {
  const bytes = n << 2;
  for (let row: usize = 0; row < rows; row++) {
    const sum = expRow(x, y, bytes, rowMax(x, bytes));
    scaleRow(y, bytes, <f32>1 / sum);
    x += bytes;
    y += bytes;
  }
}

// dx = y · (dy − Σ dy·y)
export function softmaxGrad(dy: usize, y: usize, dx: usize, rows: usize, n: usize): void {
  const bytes = n << 2;
  const vectors = bytes & ~15;
  for (let row: usize = 0; row < rows; row++) {
    let dot4 = f32x4.splat(0);
    for (let i: usize = 0; i < vectors; i += 16) dot4 = f32x4.add(dot4, f32x4.mul(v128.load(dy + i), v128.load(y + i)));
    let dot = sumLanes(dot4);
    for (let i = vectors; i < bytes; i += 4) dot += load<f32>(dy + i) * load<f32>(y + i);
    dot4 = f32x4.splat(dot);
    for (let i: usize = 0; i < vectors; i += 16) {
      v128.store(dx + i, f32x4.mul(v128.load(y + i), f32x4.sub(v128.load(dy + i), dot4)));
    }
    for (let i = vectors; i < bytes; i += 4) store<f32>(dx + i, load<f32>(y + i) * (load<f32>(dy + i) - dot));
    dy += bytes;
    y += bytes;
    dx += bytes;
  }
}

// loss = log Σ exp(x) − x[label]; NaN where the label is no class, so that the error shows in the loss.
export function crossEntropy(x: usize, labels: usize, loss: usize, probabilities: usize, rows: usize, n: usize): void {
  const bytes = n << 2;
  for (let row: usize = 0; row < rows; row++) {
    const shift = rowMax(x, bytes);
    const label = load<u32>(labels);
    // Read before writing: probabilities may lie over the logits.
    const target = label < <u32>n ? load<f32>(x + (<usize>label << 2)) : <f32>NaN;
    const sum = expRow(x, probabilities, bytes, shift);
    scaleRow(probabilities, bytes, <f32>1 / sum);
    store<f32>(loss, logPositive(sum) + (shift - target));
    x += bytes;
    probabilities += bytes;
    labels += 4;
    loss += 4;
  }
}

// dx = dloss · (probabilities − onehot)
export function crossEntropyGrad(dloss: usize, probabilities: usize, labels: usize, dx: usize, rows: usize, n: usize): void {
  const bytes = n << 2;
  const vectors = bytes & ~15;
  for (let row: usize = 0; row < rows; row++) {
    const d = load<f32>(dloss);
    const d4 = f32x4.splat(d);
    for (let i: usize = 0; i < vectors; i += 16) v128.store(dx + i, f32x4.mul(v128.load(probabilities + i), d4));
    for (let i = vectors; i < bytes; i += 4) store<f32>(dx + i, load<f32>(probabilities + i) * d);
    const label = load<u32>(labels);
    if (label < <u32>n) {
      const p = dx + (<usize>label << 2);
      store<f32>(p, load<f32>(p) - d);
    }
    probabilities += bytes;
    dx += bytes;
    dloss += 4;
    labels += 4;
  }
}
