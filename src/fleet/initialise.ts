// Start values of parameters: the same (name, seed) gives the same numbers on every machine, whatever else is declared.
import type { Init } from "../program/index.ts";
import { RandomSource } from "./random-source.ts";

/** A normal number beyond two deviations is drawn again (TensorFlow's truncated normal, as BERT starts). */
const TRUNCATION = 2;

/**
 * Fills a parameter with its start value.
 * @throws where it starts as another one does, which the caller must look up
 */
export function initialise(into: Float32Array, shape: readonly number[], init: Init, name: string, seed: number): void {
  const random = new RandomSource(name, seed);
  const [fanIn, fanOut] = fansOf(shape, init);
  switch (init.kind) {
    case "zeros":
      into.fill(0);
      break;
    case "ones":
      into.fill(1);
      break;
    case "constant":
      into.fill(init.value);
      break;
    case "uniform":
      random.uniform(into, init.scale);
      break;
    case "normal":
      random.normal(into, init.scale);
      break;
    case "truncated-normal":
      random.normal(into, init.scale, TRUNCATION);
      break;
    case "orthogonal":
      orthogonal(into, shape.at(-1) ?? 1, init.scale ?? 1, random);
      break;
    // A uniform number in ±a has the variance a²/3.
    case "glorot-uniform":
      random.uniform(into, Math.sqrt(6 / (fanIn + fanOut)));
      break;
    case "glorot-normal":
      random.normal(into, Math.sqrt(2 / (fanIn + fanOut)));
      break;
    case "he-uniform":
      random.uniform(into, Math.sqrt(6 / fanIn));
      break;
    case "he-normal":
      random.normal(into, Math.sqrt(2 / fanIn));
      break;
    case "fan-in-uniform":
      random.uniform(into, 1 / Math.sqrt(fanIn));
      break;
    case "copy":
      throw new Error(`parameter ${name} starts as ${init.of} does: initialise with the name and start of that one`);
    default:
      init satisfies never;
  }
}

/** Of a matrix [I, O] or convolution weights [KH, KW, I, O]: an output sees KH·KW·I inputs, an input KH·KW·O outputs. */
function fansOf(shape: readonly number[], init: Init): [fanIn: number, fanOut: number] {
  const given = init as { fanIn?: number; fanOut?: number };
  const window = shape.slice(0, -2).reduce((a, b) => a * b, 1);
  const fanIn = given.fanIn ?? window * (shape.at(-2) ?? shape[0] ?? 1);
  return [Math.max(1, fanIn), Math.max(1, given.fanOut ?? window * (shape.at(-1) ?? 1))];
}

/**
 * A random matrix [rows, columns] with orthonormal columns, or rows where there are fewer, times `scale`: normal vectors,
 * each made orthogonal to those before it, twice because once loses digits (Giraud et al. 2005).
 */
function orthogonal(into: Float32Array, columns: number, scale: number, random: RandomSource): void {
  const rows = columns === 0 ? 0 : into.length / columns;
  const [count, length] = [Math.min(rows, columns), Math.max(rows, columns)];
  random.normal(into, 1);
  const vectors = Array.from({ length: count }, (_, i) =>
    Float64Array.from(into.subarray(i * length, (i + 1) * length)),
  );
  for (const [i, vector] of vectors.entries()) {
    for (let pass = 0; pass < 2; pass++) {
      for (let k = 0; k < i; k++) addScaled(vector, vectors[k]!, -dot(vector, vectors[k]!));
    }
    const norm = Math.sqrt(dot(vector, vector));
    for (let j = 0; j < length; j++) vector[j]! /= norm;
  }
  const [stepVector, stepElement] = rows < columns ? [columns, 1] : [1, columns];
  for (const [i, vector] of vectors.entries()) {
    for (let j = 0; j < length; j++) into[i * stepVector + j * stepElement] = scale * vector[j]!;
  }
}

function dot(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i]! * y[i]!;
  return sum;
}

function addScaled(x: Float64Array, y: Float64Array, factor: number): void {
  for (let i = 0; i < x.length; i++) x[i]! += factor * y[i]!;
}
