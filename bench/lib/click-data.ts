// Rows of a known click model with the cardinalities and the skew of the Criteo challenge: what the CTR benchmark trains
// on. First-order weights, pairwise interactions of latent vectors, and three informative numbers make the logit.

import type { ClickRows } from "./tensor-file.ts";

/** Distinct values of the 26 categorical fields of the Criteo display advertising challenge. */
const CARDINALITIES = [
  1460, 583, 10_131_227, 2_202_608, 305, 24, 12_517, 633, 3, 93_145, 5683, 8_351_593, 3194, 27, 14_992, 5_461_306, 10,
  5652, 2173, 4, 7_046_547, 18, 15, 286_181, 105, 142_572,
];
const NUMBERS = 13;
const SKEW = 1.1;
const LATENT = 4;
/** Fields whose latent vectors interact: few enough values to be learnt from some hundred thousand rows. */
const INTERACTING = [0, 1, 4, 5, 7, 13, 16, 17, 22, 24];

export interface ClickDataOptions {
  readonly rows: number;
  readonly seed: number;
  /** Ids are hashed to 0 … vocabulary − 1. */
  readonly vocabulary: number;
}

/** The rows, and the log loss of the model that made them: no learner can do better but by luck. */
export function clickData(options: ClickDataOptions): ClickRows & { readonly bestLogLoss: number } {
  const { rows, vocabulary } = options;
  const fields = CARDINALITIES.length;
  const ids = new Int32Array(rows * fields);
  const dense = new Float32Array(rows * NUMBERS);
  const label = new Float32Array(rows);
  const random = generator(options.seed);
  const total = new Float64Array(LATENT);
  let lossSum = 0;
  for (let row = 0; row < rows; row++) {
    let logit = -1.2;
    total.fill(0);
    let squares = 0;
    for (let field = 0; field < fields; field++) {
      const value = zipf(CARDINALITIES[field]!, random());
      const key = mix(field + 1, value);
      ids[row * fields + field] = key % vocabulary;
      logit += 0.5 * centred(mix(key, 7));
      if (!INTERACTING.includes(field)) continue;
      for (let d = 0; d < LATENT; d++) {
        const element = 0.8 * centred(mix(key, 11 + d));
        total[d]! += element;
        squares += element * element;
      }
    }
    for (let d = 0; d < LATENT; d++) logit += 0.5 * total[d]! * total[d]!;
    logit -= 0.5 * squares;
    for (let number = 0; number < NUMBERS; number++) {
      const value = 2 * (random() + random() - 1);
      dense[row * NUMBERS + number] = value;
      if (number < 3) logit += 0.4 * value;
    }
    const probability = 1 / (1 + Math.exp(-logit));
    const clicked = random() < probability;
    label[row] = clicked ? 1 : 0;
    lossSum -= Math.log(clicked ? probability : 1 - probability);
  }
  return { rows, fields, numbers: NUMBERS, ids, dense, label, bestLogLoss: lossSum / rows };
}

/** Rank 0 … n − 1 of a Zipf law with exponent SKEW, by inverting the integral of x^−SKEW. */
function zipf(n: number, uniform: number): number {
  const exponent = 1 - SKEW;
  return Math.min(n - 1, Math.floor(((n ** exponent - 1) * uniform + 1) ** (1 / exponent)) - 1);
}

/** Uniform in (−0.5, 0.5) from 32 hashed bits. */
function centred(bits: number): number {
  return bits / 2 ** 32 - 0.5;
}

/** A 32-bit hash of two integers: the finaliser of MurmurHash3. */
function mix(a: number, b: number): number {
  let hash = Math.imul(a, 0x9e3779b1) ^ Math.imul(b + 0x7f4a7c15, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Uniform in [0, 1): xorshift128, seeded by hashing. */
function generator(seed: number): () => number {
  let [x, y, z, w] = [mix(seed, 1) | 1, mix(seed, 2), mix(seed, 3), mix(seed, 4)];
  return () => {
    const t = x ^ (x << 11);
    [x, y, z] = [y, z, w];
    w = w ^ (w >>> 19) ^ t ^ (t >>> 8);
    return (w >>> 0) / 2 ** 32;
  };
}
