// The log loss of probabilities, as papers and scikit-learn define it. Training and evaluation take it from logits
// (`binaryMetrics`), which needs no clipping.

export interface LogLossOptions {
  /** In 0..1. */
  readonly probabilities: ArrayLike<number>;
  /** In 0..1. */
  readonly labels: ArrayLike<number>;
  /** Default: all 1. */
  readonly weights?: ArrayLike<number>;
  /** Probabilities are clipped to epsilon..1-epsilon; default 2^-23, the spacing of float32 at 1. */
  readonly epsilon?: number;
}

/**
 * −Σ w (y ln p + (1 − y) ln(1 − p)) / Σ w in nats; NaN for no samples.
 * @throws when lengths differ or a number is outside its range.
 */
export function logLoss({ probabilities, labels, weights, epsilon = 2 ** -23 }: LogLossOptions): number {
  const n = probabilities.length;
  if (labels.length !== n || (weights !== undefined && weights.length !== n)) {
    const given =
      weights === undefined ? `${labels.length} labels` : `${labels.length} labels, ${weights.length} weights`;
    throw new RangeError(`logLoss: ${n} probabilities but ${given}: lengths must be equal`);
  }
  if (!(epsilon >= 0 && epsilon < 0.5))
    throw new RangeError(`logLoss: epsilon must be from 0 to below 0.5, got ${epsilon}`);
  let sum = 0;
  let total = 0;
  for (let i = 0; i < n; i++) {
    const p = probabilities[i]!;
    const y = labels[i]!;
    const w = weights === undefined ? 1 : weights[i]!;
    if (!(p >= 0 && p <= 1))
      throw new RangeError(`logLoss: probability ${i} is ${p}, must be from 0 to 1 (pass probabilities, not logits)`);
    if (!(y >= 0 && y <= 1)) throw new RangeError(`logLoss: label ${i} is ${y}, must be from 0 to 1`);
    if (!(w >= 0)) throw new RangeError(`logLoss: weight ${i} is ${w}, must be at least 0`);
    const clipped = Math.min(Math.max(p, epsilon), 1 - epsilon);
    // A factor of 0 must silence ln 0.
    if (y > 0) sum -= w * y * Math.log(clipped);
    if (y < 1) sum -= w * (1 - y) * Math.log1p(-clipped);
    total += w;
  }
  return sum / total;
}
