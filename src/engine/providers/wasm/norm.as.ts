// Layer norm (Ba et al. 2016) over the rows of [rows, n] and batch norm (Ioffe & Szegedy 2015) over its columns. dx may lie
// over x or dy. Sums over rows add up in f32 for a block of rows and in f64 beyond, in `totals`.
import { sumLanes } from "../../kernels/lanes.as";

/** Rows whose sum is left to f32. */
const BLOCK: usize = 64;

/** totals += sums, which become 0. */
function flush(sums: usize, totals: usize, n: usize): void {
  for (let i: usize = 0; i < n; i++) {
    const at = totals + (i << 3);
    store<f64>(at, load<f64>(at) + <f64>load<f32>(sums + (i << 2)));
  }
  memory.fill(sums, 0, n << 2);
}

/** to = totals · scale */
function settle(totals: usize, to: usize, n: usize, scale: f64): void {
  for (let i: usize = 0; i < n; i++) store<f32>(to + (i << 2), <f32>(load<f64>(totals + (i << 3)) * scale));
}

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

/**
 * With g = dy·gamma and x̂ = (x − mean)·rstd: dx = rstd · (g − mean(g) − x̂ · mean(g·x̂)). `totals`: 2n numbers.
 */
export function layerNormGrad(
  dy: usize, x: usize, gamma: usize, mean: usize, rstd: usize, dx: usize, dgamma: usize, dbeta: usize, rows: usize, n: usize,
  totals: usize,
): void {
  const bytes = n << 2;
  const vectors = bytes & ~15;
  memory.fill(dgamma, 0, bytes);
  memory.fill(dbeta, 0, bytes);
  memory.fill(totals, 0, n << 4);
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
    if ((row + 1) % BLOCK != 0 && row + 1 != rows) continue;
    flush(dgamma, totals, n);
    flush(dbeta, totals + (n << 3), n);
  }
  settle(totals, dgamma, n, 1);
  settle(totals + (n << 3), dbeta, n, 1);
}

/** y = (x − mean) · rstd · gamma + beta, with biased variances. `totals`: n numbers. */
export function batchNorm(
  x: usize, gamma: usize, beta: usize, y: usize, mean: usize, rstd: usize, rows: usize, n: usize, epsilon: f32, totals: usize,
): void {
  const bytes = n << 2;
  const vectors = bytes & ~15;
  const share = 1 / <f64>rows;
  // Row by row, so that x is read in order.
  memory.fill(mean, 0, bytes);
  memory.fill(totals, 0, n << 3);
  for (let row: usize = 0, p = x; row < rows; row++, p += bytes) {
    for (let i: usize = 0; i < vectors; i += 16) v128.store(mean + i, f32x4.add(v128.load(mean + i), v128.load(p + i)));
    for (let i = vectors; i < bytes; i += 4) store<f32>(mean + i, load<f32>(mean + i) + load<f32>(p + i));
    if ((row + 1) % BLOCK == 0 || row + 1 == rows) flush(mean, totals, n);
  }
  settle(totals, mean, n, share);
  memory.fill(rstd, 0, bytes);
  memory.fill(totals, 0, n << 3);
  for (let row: usize = 0, p = x; row < rows; row++, p += bytes) {
    for (let i: usize = 0; i < vectors; i += 16) {
      const d = f32x4.sub(v128.load(p + i), v128.load(mean + i));
      v128.store(rstd + i, f32x4.add(v128.load(rstd + i), f32x4.mul(d, d)));
    }
    for (let i = vectors; i < bytes; i += 4) {
      const d = load<f32>(p + i) - load<f32>(mean + i);
      store<f32>(rstd + i, load<f32>(rstd + i) + d * d);
    }
    if ((row + 1) % BLOCK == 0 || row + 1 == rows) flush(rstd, totals, n);
  }
  settle(totals, rstd, n, share);
  for (let i: usize = 0; i < bytes; i += 4) store<f32>(rstd + i, <f32>1 / sqrt<f32>(load<f32>(rstd + i) + epsilon));
  for (let row: usize = 0; row < rows; row++, x += bytes, y += bytes) {
    for (let i: usize = 0; i < vectors; i += 16) {
      const hat = f32x4.mul(f32x4.sub(v128.load(x + i), v128.load(mean + i)), v128.load(rstd + i));
      v128.store(y + i, f32x4.add(f32x4.mul(hat, v128.load(gamma + i)), v128.load(beta + i)));
    }
    for (let i = vectors; i < bytes; i += 4) {
      const hat = (load<f32>(x + i) - load<f32>(mean + i)) * load<f32>(rstd + i);
      store<f32>(y + i, hat * load<f32>(gamma + i) + load<f32>(beta + i));
    }
  }
}

/**
 * dgamma = Σ dy·x̂ and dbeta = Σ dy over all rows; dx = gamma · rstd · (dy − (dbeta + x̂·dgamma) / rows). `totals`: 2n numbers.
 */
export function batchNormGrad(
  dy: usize, x: usize, gamma: usize, mean: usize, rstd: usize, dx: usize, dgamma: usize, dbeta: usize, rows: usize, n: usize,
  totals: usize,
): void {
  const bytes = n << 2;
  const vectors = bytes & ~15;
  memory.fill(dgamma, 0, bytes);
  memory.fill(dbeta, 0, bytes);
  memory.fill(totals, 0, n << 4);
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
    if ((row + 1) % BLOCK != 0 && row + 1 != rows) continue;
    flush(dgamma, totals, n);
    flush(dbeta, totals + (n << 3), n);
  }
  settle(totals, dgamma, n, 1);
  settle(totals + (n << 3), dbeta, n, 1);
  const share = <f32>1 / <f32>rows;
  const share4 = f32x4.splat(share);
  for (let row: usize = 0; row < rows; row++, dy += bytes, x += bytes, dx += bytes) {
    for (let i: usize = 0; i < vectors; i += 16) {
      const r = v128.load(rstd + i);
      const hat = f32x4.mul(f32x4.sub(v128.load(x + i), v128.load(mean + i)), r);
      const common = f32x4.mul(share4, f32x4.add(v128.load(dbeta + i), f32x4.mul(hat, v128.load(dgamma + i))));
      v128.store(dx + i, f32x4.mul(f32x4.mul(v128.load(gamma + i), r), f32x4.sub(v128.load(dy + i), common)));
    }
    for (let i = vectors; i < bytes; i += 4) {
      const r = load<f32>(rstd + i);
      const hat = (load<f32>(x + i) - load<f32>(mean + i)) * r;
      const common = share * (load<f32>(dbeta + i) + hat * load<f32>(dgamma + i));
      store<f32>(dx + i, load<f32>(gamma + i) * r * (load<f32>(dy + i) - common));
    }
  }
}
