// Statistics of a binary classifier, one batch a call: loss, weights, hits and a histogram over the logit, summed into a
// cell that one thread alone writes. Counters only grow, so a reader takes differences and nothing is ever lost.
//
// Cell: u32 version (odd while a batch is being added), f64 totals at 64, 16 weighted sums of other tasks' measures at 128,
// histogram at 256: 4096 bins of (positive weight, negative weight, sum of weighted predictions).

const TOTALS: usize = 64;
const STEPS: usize = TOTALS;
const SAMPLES: usize = TOTALS + 8;
const WEIGHT: usize = TOTALS + 16;
const LOSS: usize = TOTALS + 24;
const CORRECT: usize = TOTALS + 32;
const NON_FINITE: usize = TOTALS + 40;
const MEASURES: usize = 128;
const HISTOGRAM: usize = 256;
const BINS: i32 = 4096;
const LOW: f64 = -16;
const BINS_PER_UNIT: f64 = 128;

/** Steps the version; a read-modify-write, so that no store of the batch moves across it. */
// @ts-ignore: decorator
@inline
function turn(cell: usize): u32 {
  return atomic.add<u32>(cell, 1);
}

// @ts-ignore: decorator
@inline
function add(address: usize, value: f64): void {
  store<f64>(address, load<f64>(address) + value);
}

/** e^t for t <= 0, to 1e-16 relative: 2^k times the Taylor series on |r| <= ln(2)/2. */
// @ts-ignore: decorator
@inline
function expNonPositive(t: v128): v128 {
  const x = f64x2.max(t, f64x2.splat(-708));
  const k = f64x2.nearest(f64x2.mul(x, f64x2.splat(1.4426950408889634)));
  let r = f64x2.sub(x, f64x2.mul(k, f64x2.splat(6.93147180369123816490e-1)));
  r = f64x2.sub(r, f64x2.mul(k, f64x2.splat(1.90821492927058770002e-10)));
  let p = f64x2.splat(1.0 / 479001600.0);
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 39916800.0));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 3628800.0));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 362880.0));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 40320.0));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 5040.0));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 720.0));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 120.0));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 24.0));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 6.0));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(0.5));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1));
  // Adding 1.5 * 2^52 leaves the integer k in the low bits.
  const bits = f64x2.add(k, f64x2.splat(6755399441055744));
  return f64x2.mul(p, i64x2.shl(i64x2.add(bits, i64x2.splat(1023)), 52));
}

/** log(1 + z) for 0 <= z <= 1, to 1e-16: log(m) = 2 atanh(s) with |s| <= 0.172 after halving 1 + z above sqrt(2). */
// @ts-ignore: decorator
@inline
function log1pUnit(z: v128): v128 {
  const upper = f64x2.gt(z, f64x2.splat(0.41421356237309503));
  const above = v128.bitselect(f64x2.sub(z, f64x2.splat(1)), z, upper);
  const below = f64x2.add(z, v128.bitselect(f64x2.splat(3), f64x2.splat(2), upper));
  const s = f64x2.div(above, below);
  const q = f64x2.mul(s, s);
  let p = f64x2.splat(2.0 / 19.0);
  p = f64x2.add(f64x2.mul(p, q), f64x2.splat(2.0 / 17.0));
  p = f64x2.add(f64x2.mul(p, q), f64x2.splat(2.0 / 15.0));
  p = f64x2.add(f64x2.mul(p, q), f64x2.splat(2.0 / 13.0));
  p = f64x2.add(f64x2.mul(p, q), f64x2.splat(2.0 / 11.0));
  p = f64x2.add(f64x2.mul(p, q), f64x2.splat(2.0 / 9.0));
  p = f64x2.add(f64x2.mul(p, q), f64x2.splat(2.0 / 7.0));
  p = f64x2.add(f64x2.mul(p, q), f64x2.splat(2.0 / 5.0));
  p = f64x2.add(f64x2.mul(p, q), f64x2.splat(2.0 / 3.0));
  p = f64x2.add(f64x2.mul(p, q), f64x2.splat(2));
  return f64x2.add(f64x2.mul(p, s), v128.and(upper, f64x2.splat(0.6931471805599453)));
}

/**
 * Adds a batch: logits f32 [n], labels f32 [n] in 0..1, weights f32 [n] (0: all 1), losses f32 [n] (0: the log loss of
 * the logits). Rows of weight 0 are padding. Rows whose logit or loss is not finite are counted apart.
 */
export function update(cell: usize, logits: usize, labels: usize, weights: usize, losses: usize, n: i32): void {
  let samples: f64 = 0;
  let weightSum: f64 = 0;
  let lossSum: f64 = 0;
  let correct: f64 = 0;
  let nonFinite: f64 = 0;
  turn(cell);
  for (let i = 0; i < n; i += 2) {
    const at = (<usize>i) << 2;
    const pair = i + 1 < n;
    const x = f64x2.promote_low_f32x4(pair ? v128.load64_zero(logits + at) : v128.load32_zero(logits + at));
    const y = f64x2.promote_low_f32x4(pair ? v128.load64_zero(labels + at) : v128.load32_zero(labels + at));
    const z = expNonPositive(f64x2.neg(f64x2.abs(x)));
    const reciprocal = f64x2.div(f64x2.splat(1), f64x2.add(f64x2.splat(1), z));
    const positive = f64x2.ge(x, f64x2.splat(0));
    const prediction = f64x2.mul(v128.bitselect(f64x2.splat(1), z, positive), reciprocal);
    let loss: v128;
    if (losses != 0) {
      loss = f64x2.promote_low_f32x4(pair ? v128.load64_zero(losses + at) : v128.load32_zero(losses + at));
    } else {
      loss = f64x2.add(f64x2.sub(f64x2.max(x, f64x2.splat(0)), f64x2.mul(x, y)), log1pUnit(z));
    }
    const lanes = pair ? 2 : 1;
    for (let lane = 0; lane < lanes; lane++) {
      const w = weights != 0 ? <f64>load<f32>(weights + at + ((<usize>lane) << 2)) : 1;
      if (!(w > 0)) continue;
      const logit = lane ? f64x2.extract_lane(x, 1) : f64x2.extract_lane(x, 0);
      const label = lane ? f64x2.extract_lane(y, 1) : f64x2.extract_lane(y, 0);
      const p = lane ? f64x2.extract_lane(prediction, 1) : f64x2.extract_lane(prediction, 0);
      const l = lane ? f64x2.extract_lane(loss, 1) : f64x2.extract_lane(loss, 0);
      if (logit - logit != 0 || l - l != 0) {
        nonFinite += 1;
        continue;
      }
      samples += 1;
      weightSum += w;
      lossSum += w * l;
      if (logit > 0 == label > 0.5) correct += w;
      const place = min<f64>(max<f64>((logit - LOW) * BINS_PER_UNIT, 0), <f64>(BINS - 1));
      const bin = cell + HISTOGRAM + <usize>(<i32>place) * 24;
      add(bin, w * label);
      add(bin + 8, w * (1 - label));
      add(bin + 16, w * p);
    }
  }
  add(cell + STEPS, 1);
  add(cell + SAMPLES, samples);
  add(cell + WEIGHT, weightSum);
  add(cell + LOSS, lossSum);
  add(cell + CORRECT, correct);
  add(cell + NON_FINITE, nonFinite);
  turn(cell);
}

/** Adds a batch of another task: losses f32 [n], `count` measures a row f32 [n, count], weights f32 [n] (0: all 1). */
export function updateLoss(cell: usize, losses: usize, measures: usize, count: i32, weights: usize, n: i32): void {
  let samples: f64 = 0;
  let weightSum: f64 = 0;
  let lossSum: f64 = 0;
  let nonFinite: f64 = 0;
  turn(cell);
  for (let i = 0; i < n; i++) {
    const at = (<usize>i) << 2;
    const w = weights != 0 ? <f64>load<f32>(weights + at) : 1;
    if (!(w > 0)) continue;
    const l = <f64>load<f32>(losses + at);
    if (l - l != 0) {
      nonFinite += 1;
      continue;
    }
    samples += 1;
    weightSum += w;
    lossSum += w * l;
    for (let m = 0; m < count; m++) {
      const value = load<f32>(measures + at * <usize>count + ((<usize>m) << 2));
      add(cell + MEASURES + ((<usize>m) << 3), w * <f64>value);
    }
  }
  add(cell + STEPS, 1);
  add(cell + SAMPLES, samples);
  add(cell + WEIGHT, weightSum);
  add(cell + LOSS, lossSum);
  add(cell + NON_FINITE, nonFinite);
  turn(cell);
}

/** Copies a cell while its thread goes on; 1 when the copy is of one moment, 0 when a batch came in between. */
export function snapshot(cell: usize, into: usize): u32 {
  const before = atomic.add<u32>(cell, 0);
  memory.copy(into, cell, HISTOGRAM + (<usize>BINS) * 24);
  return <u32>(before % 2 == 0 && atomic.add<u32>(cell, 0) == before);
}

/** sum += now - previous, then previous = now, over the totals and the histogram. */
export function accumulateDifference(now: usize, previous: usize, sum: usize): void {
  for (let at = TOTALS; at < HISTOGRAM + (<usize>BINS) * 24; at += 16) {
    const value = v128.load(now + at);
    v128.store(sum + at, f64x2.add(v128.load(sum + at), f64x2.sub(value, v128.load(previous + at))));
    v128.store(previous + at, value);
  }
}
