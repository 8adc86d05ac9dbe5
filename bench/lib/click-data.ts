// Rows of a known click model with the fields and the skew of the Criteo challenge: what the CTR benchmark trains on.
// First-order weights, pairwise interactions of latent vectors, and three informative numbers make the logit.

import { writeSync } from "node:fs";
import { replaceFile } from "./paths.ts";
import type { ClickRows } from "./tensor-file.ts";

/** Distinct values of the 26 categorical fields of the challenge, the largest cut so that all together make a million. */
const LARGEST = 122_779;
const CARDINALITIES = [
  1460,
  583,
  LARGEST,
  LARGEST,
  305,
  24,
  12_517,
  633,
  3,
  93_145,
  5683,
  LARGEST,
  3194,
  27,
  14_992,
  LARGEST,
  10,
  5652,
  2173,
  4,
  LARGEST,
  18,
  15,
  LARGEST,
  105,
  LARGEST,
];
const FIELDS = CARDINALITIES.length;
/** Where the ids of each field begin. */
const OFFSETS = CARDINALITIES.map((_, field) => CARDINALITIES.slice(0, field).reduce((sum, n) => sum + n, 0));
const NUMBERS = 13;
const SKEW = 1.1;
const LATENT = 4;
/** Fields whose latent vectors interact: of few values, so that some hundred thousand rows teach them. */
const INTERACTING = new Set([5, 8, 13, 16, 19, 21, 22]);
const LINES_A_WRITE = 4096;

/** Ids lie in 0 … vocabulary − 1. */
export const vocabulary = CARDINALITIES.reduce((sum, n) => sum + n, 0);

export interface ClickData extends ClickRows {
  /** [rows, numbers]: what a Criteo file holds; `dense` is ln(1 + integer). */
  readonly integers: Int32Array;
  /** Log loss of the model that made the labels: no learner can do better but by luck. */
  readonly bestLogLoss: number;
}

/** Rows drawn from the click model; the same seed gives the same rows. */
export function clickData(rows: number, seed: number): ClickData {
  const random = generator(seed);
  return fill(rows, random, (field) => zipf(CARDINALITIES[field]!, random()));
}

/** Rows that between them hold every id, so that a table which grows by use gets all its rows. */
export function everyId(): ClickData {
  return fill(LARGEST, generator(0), (field, row) => row % CARDINALITIES[field]!);
}

function fill(rows: number, random: () => number, draw: (field: number, row: number) => number): ClickData {
  const ids = new Int32Array(rows * FIELDS);
  const integers = new Int32Array(rows * NUMBERS);
  const label = new Float32Array(rows);
  const total = new Float64Array(LATENT);
  let lossSum = 0;
  for (let row = 0; row < rows; row++) {
    let logit = -1.2;
    let squares = 0;
    total.fill(0);
    for (let field = 0; field < FIELDS; field++) {
      const id = OFFSETS[field]! + draw(field, row);
      ids[row * FIELDS + field] = id;
      logit += 1 * centred(mix(id, 7));
      if (!INTERACTING.has(field)) continue;
      for (let d = 0; d < LATENT; d++) {
        const element = 0.5 * centred(mix(id, 11 + d));
        total[d]! += element;
        squares += element * element;
      }
    }
    for (let d = 0; d < LATENT; d++) logit += 0.5 * total[d]! * total[d]!;
    logit -= 0.5 * squares;
    for (let number = 0; number < NUMBERS; number++) {
      const logarithm = 5 * random();
      integers[row * NUMBERS + number] = Math.round(Math.expm1(logarithm));
      if (number < 3) logit += 0.2 * (logarithm - 2.5);
    }
    const probability = 1 / (1 + Math.exp(-logit));
    const clicked = random() < probability;
    label[row] = clicked ? 1 : 0;
    lossSum -= Math.log(clicked ? probability : 1 - probability);
  }
  const dense = Float32Array.from(integers, Math.log1p);
  return { rows, fields: FIELDS, numbers: NUMBERS, ids, dense, integers, label, bestLogLoss: lossSum / rows };
}

/** Writes the rows as a Criteo file: label, 13 integers, 26 hexadecimal categories, separated by tabs. */
export function writeCriteo(path: string, { rows, ids, integers, label }: ClickData): void {
  replaceFile(path, (file) => {
    for (let begin = 0; begin < rows; begin += LINES_A_WRITE) {
      let text = "";
      for (let row = begin; row < Math.min(rows, begin + LINES_A_WRITE); row++) {
        text += label[row];
        for (let i = row * NUMBERS; i < (row + 1) * NUMBERS; i++) text += `\t${integers[i]}`;
        for (let i = row * FIELDS; i < (row + 1) * FIELDS; i++) text += `\t${ids[i]!.toString(16).padStart(8, "0")}`;
        text += "\n";
      }
      writeSync(file, text);
    }
  });
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
