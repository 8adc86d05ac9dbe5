// A known click model over Criteo-like features, for data whose best possible AUC can be computed.
import { CRITEO_CATEGORICAL, CRITEO_DENSE } from "./layout.ts";

/** Distinct values of the 26 columns in the Criteo display advertising challenge. */
const CARDINALITIES = [
  1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194, 27, 14992, 5461306, 10, 5652, 2173,
  4, 7046547, 18, 15, 286181, 105, 142572,
] as const;
/** Shares of empty fields there. */
const MISSING = [
  0, 0, 0.034, 0.034, 0, 0.12, 0, 0, 0, 0, 0, 0.034, 0, 0, 0, 0.034, 0, 0, 0.44, 0.44, 0.034, 0.76, 0, 0.034, 0.44,
  0.44,
] as const;
const MISSING_INTEGERS = [0.45, 0, 0.21, 0.22, 0.03, 0.22, 0.04, 0, 0.04, 0.45, 0.04, 0.77, 0.22] as const;
/** ln of the largest integers of a column. */
const INTEGER_SCALE = [4, 5, 6, 4, 11, 7, 5, 4, 6, 2, 4, 3, 5] as const;

/** Rarer values matter less, as a model with finite data could not learn them: the effect of rank k is ∝ 1/√(1 + k/80). */
const RARE_RANK = 80;
const INTERCEPT = -1.6;
/** Pairs of columns whose values act together, beyond their own effects. */
const PAIRS = [
  [5, 8],
  [13, 16],
  [19, 22],
  [4, 24],
] as const;
const PAIR_RANKS = 30;

export interface ClickRow {
  /** −1: missing. */
  readonly integers: Int32Array;
  /** What stands in the file, as unsigned 32 bits. */
  readonly categories: Uint32Array;
  /** 1 where the category is missing. */
  readonly missing: Uint8Array;
}

/** Uniform numbers in [0, 1): mulberry32. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

function hash(a: number, b: number): number {
  let h = Math.imul(a + 1, 0x9e3779b1) ^ Math.imul(b + 0x7f4a7c15, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  h = Math.imul(h ^ (h >>> 12), 0x297a2d39);
  return (h ^ (h >>> 15)) >>> 0;
}

/** A number in [−1, 1) that belongs to two integers. */
const effect = (a: number, b: number): number => hash(a, b) / 2 ** 31 - 1;

export class ClickModel {
  readonly #cardinalities: readonly number[];
  /** 1 − (n + 1)^−0.1 */
  readonly #zipfSpans: readonly number[];
  readonly #seed: number;
  readonly #random: () => number;
  readonly #strength: number;
  readonly #ranks = new Int32Array(CRITEO_CATEGORICAL);
  readonly row: ClickRow = {
    integers: new Int32Array(CRITEO_DENSE),
    categories: new Uint32Array(CRITEO_CATEGORICAL),
    missing: new Uint8Array(CRITEO_CATEGORICAL),
  };

  constructor(modelSeed: number, random: () => number, maxCardinality: number, strength: number) {
    this.#seed = modelSeed;
    this.#random = random;
    this.#strength = strength;
    this.#cardinalities = CARDINALITIES.map((cardinality) => Math.min(cardinality, maxCardinality));
    this.#zipfSpans = this.#cardinalities.map((n) => 1 - (n + 1) ** -0.1);
  }

  /** Draws the next row into `row`. Returns its probability of a click. */
  draw(): number {
    const { integers, categories, missing } = this.row;
    let logit = INTERCEPT;
    for (let i = 0; i < CRITEO_DENSE; i++) {
      const weight = 0.2 * effect(this.#seed, 1000 + i) * this.#strength;
      const absent = this.#random() < MISSING_INTEGERS[i]!;
      const value = absent ? -1 : Math.floor(Math.exp(this.#random() * this.#random() * INTEGER_SCALE[i]!)) - 1;
      integers[i] = value;
      // As readers see it: a missing number acts like 0, so that a model of the transformed columns can be the best one.
      logit += weight * (Math.log1p(Math.max(0, value)) - 1);
    }
    for (let j = 0; j < CRITEO_CATEGORICAL; j++) {
      missing[j] = this.#random() < MISSING[j]! ? 1 : 0;
      const rank = missing[j] === 1 ? -1 : this.#zipf(j);
      this.#ranks[j] = rank;
      categories[j] = hash(j + 1, rank);
      logit +=
        (0.45 * this.#strength * effect(this.#seed + j, categories[j]!)) / Math.sqrt(1 + Math.max(0, rank) / RARE_RANK);
    }
    for (const [a, b] of PAIRS) {
      if (this.#ranks[a]! >= PAIR_RANKS || this.#ranks[b]! >= PAIR_RANKS) continue;
      logit += 0.6 * this.#strength * effect(categories[a]! ^ this.#seed, categories[b]!);
    }
    return 1 / (1 + Math.exp(-logit));
  }

  /** A rank of column j with probability about ∝ (rank + 1)^−1.1, by inversion of the continuous law: x^(1/(1 − 1.1)). */
  #zipf(j: number): number {
    const x = 1 - this.#zipfSpans[j]! * this.#random();
    const x2 = x * x;
    const x4 = x2 * x2;
    return Math.min(this.#cardinalities[j]! - 1, Math.floor(1 / (x4 * x4 * x2)) - 1);
  }
}

/** What the best possible scores, the true probabilities, would reach. */
export class BestScores {
  static readonly #bins = 1 << 20;
  readonly #positive = new Float64Array(BestScores.#bins);
  readonly #negative = new Float64Array(BestScores.#bins);
  #entropy = 0;
  #rows = 0;

  add(probability: number): void {
    const bin = Math.min(BestScores.#bins - 1, Math.floor(probability * BestScores.#bins));
    this.#positive[bin]! += probability;
    this.#negative[bin]! += 1 - probability;
    this.#entropy -= probability * Math.log(probability) + (1 - probability) * Math.log1p(-probability);
    this.#rows++;
  }

  get logLoss(): number {
    return this.#entropy / this.#rows;
  }

  /** Expected pairs in the right order over expected pairs; ties within a bin of 2^−20 count half. */
  get auc(): number {
    let negatives = 0;
    let positives = 0;
    let ordered = 0;
    for (let bin = 0; bin < BestScores.#bins; bin++) {
      ordered += this.#positive[bin]! * (negatives + this.#negative[bin]! / 2);
      positives += this.#positive[bin]!;
      negatives += this.#negative[bin]!;
    }
    return ordered / (positives * negatives);
  }
}
