// Layer norm (Ba et al. 2016) over the rows of [rows, n] and batch norm (Ioffe & Szegedy 2015) over its columns, where
// rows of weight 0 are padding. Outputs of x's shape may lie over x or dy.
import { sumLanes } from "./lanes.as";

export function layerNorm(
  x: usize, gamma: usize, beta: usize, y: usize, mean: usize, rstd: usize, rows: usize, n: usize, epsilon: f32,
): void {
  const bytes = n << 2;
  const vectors = bytes & ~15;
  for (let row: usize = 0; row < rows; row++) {
    let sum4 = f32x4.splat(0);
    for (let i: usize = 0; i < vectors; i += 16) sum4 = f32x4.add(sum4, v128.load(x + i));
    let sum = sumLanes(sum4);
    for (let i = vectors; i < bytes; i += 4) sum += load<f32>(x + i);
    const m = sum / <f32>n;
    const m4 = f32x4.splat(m);
    let squares4 = f32x4.splat(0);
    for (let i: usize = 0; i < vectors; i += 16) {
      const d = f32x4.sub(v128.load(x + i), m4);
      squares4 = f32x4.add(squares4, f32x4.mul(d, d));
    }
    let squares = sumLanes(squares4);
    for (let i = vectors; i < bytes; i += 4) {
      const d = load<f32>(x + i) - m;
      squares += d * d;
    }
    const r = <f32>1 / sqrt<f32>(squares / <f32>n + epsilon);
    const r4 = f32x4.splat(r);
    for (let i: usize = 0; i < vectors; i += 16) {
      const hat = f32x4.mul(f32x4.sub(v128.load(x + i), m4), r4);
      v128.store(y + i, f32x4.add(f32x4.mul(hat, v128.load(gamma + i)), v128.load(beta + i)));
    }
    for (let i = vectors; i < bytes; i += 4) {
      store<f32>(y + i, (load<f32>(x + i) - m) * r * load<f32>(gamma + i) + load<f32>(beta + i));
    }
    store<f32>(mean, m);
    store<f32>(rstd, r);
    x += bytes;
    y += bytes;
    mean += 4;
    rstd += 4;
  }
}

// With g = dy·gamma and x̂ = (x − mean)·rstd: dx = rstd · (g − mean(g) − x̂ · mean(g·x̂)).
export function layerNormGrad(
  dy: usize, x: usize, gamma: usize, mean: usize, rstd: usize, dx: usize, dgamma: usize, dbeta: usize, rows: usize, n: usize,
): void {
  const bytes = n << 2;
  const vectors = bytes & ~15;
  memory.fill(dgamma, 0, bytes);
  memory.fill(dbeta, 0, bytes);
  for (let row: usize = 0; row < rows; row++) {
    const m = load<f32>(mean);
    const r = load<f32>(rstd);
    const m4 = f32x4.splat(m);
    const r4 = f32x4.splat(r);
    let sum4 = f32x4.splat(0);
    let dot4 = f32x4.splat(0);
    for (let i: usize = 0; i < vectors; i += 16) {
      const d = v128.load(dy + i);
      const hat = f32x4.mul(f32x4.sub(v128.load(x + i), m4), r4);
      const g = f32x4.mul(d, v128.load(gamma + i));
      sum4 = f32x4.add(sum4, g);
      const product = f32x4.mul(d, hat);
      dot4 = f32x4.add(dot4, f32x4.mul(g, hat));
      v128.store(dgamma + i, f32x4.add(v128.load(dgamma + i), product));
      v128.store(dbeta + i, f32x4.add(v128.load(dbeta + i), d));
    }
    let sum = sumLanes(sum4);
    let dot = sumLanes(dot4);
    for (let i = vectors; i < bytes; i += 4) {
      const d = load<f32>(dy + i);
      const hat = (load<f32>(x + i) - m) * r;
      const g = d * load<f32>(gamma + i);
      sum += g;
      dot += g * hat;
      store<f32>(dgamma + i, load<f32>(dgamma + i) + d * hat);
      store<f32>(dbeta + i, load<f32>(dbeta + i) + d);
    }
    sum /= <f32>n;
    dot /= <f32>n;
    sum4 = f32x4.splat(sum);
    dot4 = f32x4.splat(dot);
    for (let i: usize = 0; i < vectors; i += 16) {
      const hat = f32x4.mul(f32x4.sub(v128.load(x + i), m4), r4);
      const g = f32x4.mul(v128.load(dy + i), v128.load(gamma + i));
      v128.store(dx + i, f32x4.mul(r4, f32x4.sub(f32x4.sub(g, sum4), f32x4.mul(hat, dot4))));
    }
    for (let i = vectors; i < bytes; i += 4) {
      const hat = (load<f32>(x + i) - m) * r;
      const g = load<f32>(dy + i) * load<f32>(gamma + i);
      store<f32>(dx + i, r * (g - sum - hat * dot));
    }
    dy += bytes;
    x += bytes;
    dx += bytes;
    mean += 4;
    rstd += 4;
  }
}

// The rows that are no padding.
@inline function countRows(weight: usize, rows: usize): f32 {
  let count: f32 = 0;
  for (let row: usize = 0; row < rows; row++) if (load<f32>(weight + (row << 2)) != 0) count += 1;
  return count;
}

@inline function scaleVector(x: usize, bytes: usize, factor: f32): void {
  for (let i: usize = 0; i < bytes; i += 4) store<f32>(x + i, load<f32>(x + i) * factor);
}

// The mean [n] and biased variance [n] of a batch, without the rows of weight 0. Row by row, so that x is read in order.
export function batchStatistics(x: usize, weight: usize, mean: usize, variance: usize, rows: usize, n: usize): void {
  const bytes = n << 2;
  const vectors = bytes & ~15;
  const scale = <f32>1 / max<f32>(countRows(weight, rows), 1);
  memory.fill(mean, 0, bytes);
  memory.fill(variance, 0, bytes);
  for (let row: usize = 0, p = x; row < rows; row++, p += bytes) {
    if (load<f32>(weight + (row << 2)) == 0) continue;
    for (let i: usize = 0; i < vectors; i += 16) v128.store(mean + i, f32x4.add(v128.load(mean + i), v128.load(p + i)));
    for (let i = vectors; i < bytes; i += 4) store<f32>(mean + i, load<f32>(mean + i) + load<f32>(p + i));
  }
  scaleVector(mean, bytes, scale);
  for (let row: usize = 0, p = x; row < rows; row++, p += bytes) {
    if (load<f32>(weight + (row << 2)) == 0) continue;
    for (let i: usize = 0; i < vectors; i += 16) {
      const d = f32x4.sub(v128.load(p + i), v128.load(mean + i));
      v128.store(variance + i, f32x4.add(v128.load(variance + i), f32x4.mul(d, d)));
    }
    for (let i = vectors; i < bytes; i += 4) {
      const d = load<f32>(p + i) - load<f32>(mean + i);
      store<f32>(variance + i, load<f32>(variance + i) + d * d);
    }
  }
  scaleVector(variance, bytes, scale);
}

// running = momentum · running + (1 − momentum) · batch, unless the batch is nothing but padding.
export function moveRunning(running: usize, batch: usize, n: usize, momentum: f32, weight: usize, rows: usize): void {
  if (countRows(weight, rows) == 0) return;
  for (let i: usize = 0; i < n << 2; i += 4) {
    store<f32>(running + i, load<f32>(running + i) * momentum + load<f32>(batch + i) * (<f32>1 - momentum));
  }
}

// rstd = 1 / √(variance + ε); both may be the same memory.
export function reciprocalStd(variance: usize, rstd: usize, n: usize, epsilon: f32): void {
  for (let i: usize = 0; i < n << 2; i += 4) store<f32>(rstd + i, <f32>1 / sqrt<f32>(load<f32>(variance + i) + epsilon));
}

// y = (x − mean) · rstd · gamma + beta, column by column.
export function batchNormalize(
  x: usize, gamma: usize, beta: usize, mean: usize, rstd: usize, y: usize, rows: usize, n: usize,
): void {
  const bytes = n << 2;
  const vectors = bytes & ~15;
  for (let row: usize = 0; row < rows; row++) {
    for (let i: usize = 0; i < vectors; i += 16) {
      const hat = f32x4.mul(f32x4.sub(v128.load(x + i), v128.load(mean + i)), v128.load(rstd + i));
      v128.store(y + i, f32x4.add(f32x4.mul(hat, v128.load(gamma + i)), v128.load(beta + i)));
    }
    for (let i = vectors; i < bytes; i += 4) {
      const hat = (load<f32>(x + i) - load<f32>(mean + i)) * load<f32>(rstd + i);
      store<f32>(y + i, hat * load<f32>(gamma + i) + load<f32>(beta + i));
    }
    x += bytes;
    y += bytes;
  }
}

// dgamma = Σ dy·x̂ and dbeta = Σ dy over all rows; dx[b] = gamma · rstd · (dy[b] − (dbeta + x̂[b]·dgamma) / count), where
// padding rows lack the last term: the statistics do not depend on them.
export function batchNormGrad(
  dy: usize, x: usize, gamma: usize, mean: usize, rstd: usize, weight: usize,
  dx: usize, dgamma: usize, dbeta: usize, rows: usize, n: usize,
): void {
  const bytes = n << 2;
  const vectors = bytes & ~15;
  memory.fill(dgamma, 0, bytes);
  memory.fill(dbeta, 0, bytes);
  for (let row: usize = 0, p = x, q = dy; row < rows; row++, p += bytes, q += bytes) {
    for (let i: usize = 0; i < vectors; i += 16) {
      const d = v128.load(q + i);
      const hat = f32x4.mul(f32x4.sub(v128.load(p + i), v128.load(mean + i)), v128.load(rstd + i));
      v128.store(dgamma + i, f32x4.add(v128.load(dgamma + i), f32x4.mul(d, hat)));
      v128.store(dbeta + i, f32x4.add(v128.load(dbeta + i), d));
    }
    for (let i = vectors; i < bytes; i += 4) {
      const d = load<f32>(q + i);
      const hat = (load<f32>(p + i) - load<f32>(mean + i)) * load<f32>(rstd + i);
      store<f32>(dgamma + i, load<f32>(dgamma + i) + d * hat);
      store<f32>(dbeta + i, load<f32>(dbeta + i) + d);
    }
  }
  const scale = <f32>1 / max<f32>(countRows(weight, rows), 1);
  for (let row: usize = 0; row < rows; row++) {
    const w = load<f32>(weight + (row << 2)) == 0 ? <f32>0 : scale;
    const w4 = f32x4.splat(w);
    for (let i: usize = 0; i < vectors; i += 16) {
      const r = v128.load(rstd + i);
      const hat = f32x4.mul(f32x4.sub(v128.load(x + i), v128.load(mean + i)), r);
      const common = f32x4.mul(w4, f32x4.add(v128.load(dbeta + i), f32x4.mul(hat, v128.load(dgamma + i))));
      v128.store(dx + i, f32x4.mul(f32x4.mul(v128.load(gamma + i), r), f32x4.sub(v128.load(dy + i), common)));
    }
    for (let i = vectors; i < bytes; i += 4) {
      const r = load<f32>(rstd + i);
      const hat = (load<f32>(x + i) - load<f32>(mean + i)) * r;
      const common = w * (load<f32>(dbeta + i) + hat * load<f32>(dgamma + i));
      store<f32>(dx + i, load<f32>(gamma + i) * r * (load<f32>(dy + i) - common));
    }
    dy += bytes;
    x += bytes;
    dx += bytes;
  }
}
