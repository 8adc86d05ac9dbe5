// One step of the CTR benchmark's DeepFM in TensorFlow.js. Run as `node ctr-tfjs.ts PACKAGES ROWS BATCH`; prints JSON.
//
// The gradient of gather is UnsortedSegmentSum: the wasm backend lacks it and the cpu backend loops over all rows of the
// table for each, so that a step takes a minute: one step is measured, with a small batch.

import { createRequire } from "node:module";
import { join } from "node:path";

interface Tensor {
  dataSync(): Float32Array;
}
type Binary = (a: Tensor, b: Tensor) => Tensor;
type Unary = (x: Tensor) => Tensor;
/** The part of TensorFlow.js that is used here. */
interface TensorFlow {
  readonly version_core: string;
  setBackend(name: string): Promise<boolean>;
  getBackend(): string;
  variable: Unary;
  zeros(shape: readonly number[]): Tensor;
  randomNormal(shape: readonly number[], mean: number, deviation: number): Tensor;
  tensor(values: Float32Array | Int32Array, shape: readonly number[], dtype: "float32" | "int32"): Tensor;
  reshape(x: Tensor, shape: readonly number[]): Tensor;
  concat(parts: readonly Tensor[], axis: number): Tensor;
  sum(x: Tensor, axis: number, keepDims?: boolean): Tensor;
  readonly add: Binary;
  readonly sub: Binary;
  readonly mul: Binary;
  readonly matMul: Binary;
  readonly gather: Binary;
  readonly square: Unary;
  readonly relu: Unary;
  readonly softplus: Unary;
  readonly mean: Unary;
  readonly train: { adagrad(lr: number): { minimize(loss: () => Tensor, returnCost: true): Tensor } };
}

const FIELDS = 26;
const NUMBERS = 13;
const DIM = 16;
const HIDDEN = [400, 400, 400];

const [packages, rowsText, batchText] = process.argv.slice(2);
const rows = Number(rowsText);
const batch = Number(batchText);
const require = createRequire(join(packages!, "package.json"));
const tf = require("@tensorflow/tfjs") as TensorFlow;
await tf.setBackend("cpu");

const embedding = tf.variable(tf.randomNormal([rows, DIM], 0, 0.01));
const first = tf.variable(tf.zeros([rows, 1]));
const numeric = tf.variable(tf.zeros([NUMBERS, 1]));
const widths = [FIELDS * DIM + NUMBERS, ...HIDDEN];
const layers = HIDDEN.map((width, i) => ({
  weight: tf.variable(tf.randomNormal([widths[i]!, width], 0, Math.sqrt(2 / widths[i]!))),
  bias: tf.variable(tf.zeros([width])),
}));
const output = tf.variable(tf.randomNormal([widths.at(-1)!, 1], 0, 0.05));

const ids = tf.tensor(
  Int32Array.from({ length: batch * FIELDS }, () => Math.floor(Math.random() * rows)),
  [batch * FIELDS],
  "int32",
);
const dense = tf.randomNormal([batch, NUMBERS], 0, 1);
const label = tf.tensor(
  Float32Array.from({ length: batch }, (_, i) => i % 2),
  [batch, 1],
  "float32",
);

/** 0.5·Σ_d((Σ_f x)² − Σ_f x²) of [batch, fields, dim]. */
function pairs(x: Tensor): Tensor {
  const difference = tf.sub(tf.square(tf.sum(x, 1)), tf.sum(tf.square(x), 1));
  return tf.mul(tf.sum(difference, 1, true), tf.tensor(Float32Array.of(0.5), [1], "float32"));
}

function loss(): Tensor {
  const embedded = tf.reshape(tf.gather(embedding, ids), [batch, FIELDS, DIM]);
  let hidden = tf.concat([tf.reshape(embedded, [batch, FIELDS * DIM]), dense], 1);
  for (const { weight, bias } of layers) hidden = tf.relu(tf.add(tf.matMul(hidden, weight), bias));
  const linear = tf.sum(tf.reshape(tf.gather(first, ids), [batch, FIELDS]), 1, true);
  const shallow = tf.add(tf.add(linear, tf.matMul(dense, numeric)), pairs(embedded));
  const logits = tf.add(tf.matMul(hidden, output), shallow);
  return tf.mean(tf.sub(tf.softplus(logits), tf.mul(logits, label)));
}

const begin = performance.now();
const value = tf.train.adagrad(0.02).minimize(loss, true).dataSync()[0];
const seconds = (performance.now() - begin) / 1000;
console.log(
  JSON.stringify({
    backend: tf.getBackend(),
    version: tf.version_core,
    batch,
    samplesPerSecond: batch / seconds,
    value,
  }),
);
