// The step over a window against float64, its direction against finite differences, and what is drawn at random.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Heap } from "../memory/index.ts";
import { highHeap } from "../memory/testing.ts";
import { randomFrom } from "../program/testing-random.ts";
import { createMatrices, fillAlias, keepThresholds, TrainingThread, trainKernel } from "./matrices.ts";
import {
  cbowByKernel,
  skipGramByKernel,
  skipGramReference,
  type Updated,
  type WindowStep,
  windowLoss,
} from "./testing.ts";

const heap = Heap.create({ maxBytes: 2 ** 26 });

function randomStep(options: {
  dim: number;
  contexts: number;
  outputs: number;
  seed: number;
  label?: number;
}): WindowStep {
  const { dim, contexts, outputs, seed, label = 1 } = options;
  const random = randomFrom(seed);
  const number = (scale: number): number => Math.fround(scale * (2 * random() - 1));
  const rows = (count: number): number[][] =>
    Array.from({ length: count }, () => Array.from({ length: dim }, () => number(2 / Math.sqrt(dim))));
  const weights = Array.from({ length: outputs }, () => Math.fround(0.01 + 0.05 * random()));
  const counts = Array.from({ length: contexts }, (_, c) => 1 + (c % 3));
  return { dim, contexts: rows(contexts), counts, outputs: rows(outputs), weights, label };
}

function expectClose(actual: Updated, expected: Updated, dim: number): void {
  for (const part of ["contexts", "outputs"] as const) {
    for (const [i, row] of expected[part].entries()) {
      for (let k = 0; k < dim; k++) expect(Math.abs(actual[part][i]![k]! - row[k]!)).toBeLessThan(3e-6);
      for (const padding of actual[part][i]!.slice(dim)) expect(padding).toBe(0);
    }
  }
}

const anyStep = fc
  .record({
    dim: fc.integer({ min: 1, max: 70 }),
    contexts: fc.integer({ min: 1, max: 13 }),
    outputs: fc.integer({ min: 1, max: 6 }),
    seed: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
    label: fc.constantFrom(0, 1),
  })
  .map(randomStep);

describe.each([
  ["32-bit addresses", () => heap],
  ["64-bit addresses", () => highHeap(2 ** 24)],
] as const)("skip-gram step, %s", (_, makeHeap) => {
  test("equals the reference", () => {
    const own = makeHeap();
    fc.assert(
      fc.property(anyStep, (step) => {
        expectClose(skipGramByKernel(own, step), skipGramReference(step), step.dim);
      }),
      { numRuns: 150 },
    );
  });
});

test("a step of one context follows the negative gradient of the loss", () => {
  const step = randomStep({ dim: 7, contexts: 1, outputs: 6, seed: 5 });
  const updated = skipGramReference(step);
  const epsilon = 1e-5;
  const slope = (change: (by: number) => WindowStep): number =>
    (windowLoss(change(epsilon)) - windowLoss(change(-epsilon))) / (2 * epsilon);
  const nudge = (rows: readonly (readonly number[])[], row: number, k: number, by: number): number[][] =>
    rows.map((values, i) => values.map((value, j) => (i === row && j === k ? value + by : value)));
  for (let k = 0; k < step.dim; k++) {
    const moved = updated.contexts[0]![k]! - step.contexts[0]![k]!;
    expect(moved).toBeCloseTo(-slope((by) => ({ ...step, contexts: nudge(step.contexts, 0, k, by) })), 8);
    for (let j = 0; j < step.outputs.length; j++) {
      const change = updated.outputs[j]![k]! - step.outputs[j]![k]!;
      expect(change).toBeCloseTo(-slope((by) => ({ ...step, outputs: nudge(step.outputs, j, k, by) })), 8);
    }
  }
});

test("CBOW's step is that of skip-gram for one context, the mean, which itself stays", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 0, max: 9999 }), (dim, seed) => {
      const step = randomStep({ dim, contexts: 1, outputs: 6, seed });
      const expected = skipGramReference(step);
      const { error, outputs } = cbowByKernel(heap, step);
      for (let k = 0; k < dim; k++) {
        expect(Math.abs(error[k]! - (expected.contexts[0]![k]! - step.contexts[0]![k]!))).toBeLessThan(2e-6);
        for (const [j, row] of expected.outputs.entries())
          expect(Math.abs(outputs[j]![k]! - row[k]!)).toBeLessThan(2e-6);
      }
    }),
  );
});

test.each([5, 6, 10, 17])("%i negatives train in groups: a small text is learnt", (negative) => {
  const counts = new Float64Array(100).fill(100);
  const matrices = createMatrices(heap, counts, { dim: 12, subsample: 0, seed: 1, touched: true });
  const thread = new TrainingThread(heap, matrices, { window: 3, negative, seed: 3 });
  const random = randomFrom(1);
  const words = 20_000;
  const ids = heap.alloc(4 * words);
  const view = heap.u32(ids, words);
  // Fifty words on each side, sentences of nine words.
  for (let i = 0, side = 0; i < words; i++) {
    if (i % 10 === 9) side = Math.floor(random() * 2);
    view[i] = i % 10 === 9 ? 0xffffffff : 50 * side + Math.floor(random() * 50);
  }
  for (let epoch = 0; epoch < 10; epoch++) thread.train(false, ids, words, 0.05);
  const vector = (word: number): Float32Array => heap.f32(matrices.input + 4 * matrices.stride * word, 12);
  const cosine = (a: number, b: number): number => {
    const [x, y] = [vector(a), vector(b)];
    return x.reduce((sum, value, k) => sum + value * y[k]!, 0) / (Math.hypot(...x) * Math.hypot(...y));
  };
  const mean = (pairs: [number, number][]): number =>
    pairs.reduce((sum, [a, b]) => sum + cosine(a, b), 0) / pairs.length;
  const same = mean(Array.from({ length: 9 }, (_, i) => [0, i + 1]));
  const other = mean(Array.from({ length: 10 }, (_, i) => [0, i + 50]));
  expect(same).toBeGreaterThan(other + 0.3);
  // All words were met, as contexts and as outputs.
  const list = heap.alloc(4 * 104);
  for (const touched of [matrices.touchedInput, matrices.touchedOutput]) {
    expect(trainKernel(heap).takeTouched(touched, 100, list)).toBe(100);
    expect([...heap.u32(list, 100)]).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(trainKernel(heap).takeTouched(touched, 100, list)).toBe(0);
  }
  thread.free();
});

test("rows that no window meets stay as they are", () => {
  const dim = 8;
  const matrices = createMatrices(heap, Float64Array.of(5, 5, 5, 0), { dim, subsample: 0, seed: 1, touched: true });
  const thread = new TrainingThread(heap, matrices, { window: 2, negative: 2, seed: 1 });
  const row = (word: number): number[] => [...heap.f32(matrices.input + 4 * dim * word, dim)];
  const before = [0, 1, 2, 3].map(row);
  const ids = heap.alloc(4 * 6);
  // One word alone makes no window; a word without a vector does not part its neighbours.
  heap.u32(ids, 6).set([0, 0xffffffff, 1, 0xfffffffe, 2, 0xfffffffd]);
  // The first step only moves outputs, which are zero.
  for (let step = 0; step < 2; step++) thread.train(false, ids, 6, 0.1);
  const changed = before.map((values, word) => row(word).some((value, i) => value !== values[i]));
  expect(changed).toEqual([false, true, true, false]);
});

test("a word that stands twice in a window moves as one that counts twice", () => {
  // Two words: every window of the first is [1, 1] around 0, one step for outputs 0 and, if it is drawn, 1.
  const matrices = createMatrices(heap, Float64Array.of(1, 1e9), { dim: 8, subsample: 0, seed: 1, touched: false });
  const thread = new TrainingThread(heap, matrices, { window: 1, negative: 1, seed: 1 });
  const [input, output] = [heap.f32(matrices.input, 16), heap.f32(matrices.output, 16)];
  output.set(input.subarray(0, 8));
  const rows = (matrix: Float32Array): number[][] => [0, 1].map((word) => [...matrix.subarray(8 * word, 8 * word + 8)]);
  const [contexts, outputs] = [rows(input), rows(output)];
  const ids = heap.alloc(4 * 3);
  heap.u32(ids, 3).set([1, 0, 1]);
  const step = (context: number, count: number, centre: number, negative: number | undefined): void => {
    const others = negative === undefined || negative === centre ? [] : [negative];
    const words = [centre, ...others];
    const updated = skipGramReference({
      dim: 8,
      contexts: [contexts[context]!],
      counts: [count],
      outputs: words.map((word) => outputs[word]!),
      weights: words.map(() => 0.5),
      label: 1,
    });
    contexts[context] = [...updated.contexts[0]!];
    for (const [i, word] of words.entries()) outputs[word] = [...updated.outputs[i]!];
  };
  // Word 1 is as good as always drawn.
  step(0, 1, 1, 1);
  step(1, 2, 0, 1);
  step(0, 1, 1, 1);
  thread.train(false, ids, 3, 0.5);
  for (const [i, value] of contexts.flat().entries()) expect(input[i]).toBeCloseTo(value, 5);
  for (const [i, value] of outputs.flat().entries()) expect(output[i]).toBeCloseTo(value, 5);
});

test("first vectors lie evenly in ±0.5 / dim and depend on the seed alone", () => {
  const dim = 10;
  const make = (seed: number): Float32Array => {
    const { input, stride } = createMatrices(heap, new Float64Array(2000).fill(1), {
      dim,
      subsample: 0,
      seed,
      touched: false,
    });
    return heap.f32(input, 2000 * stride).filter((_, i) => i % stride < dim);
  };
  const [a, again, other] = [make(1), make(1), make(2)];
  expect(again).toEqual(a);
  expect(other).not.toEqual(a);
  expect(a.reduce((most, value) => Math.max(most, Math.abs(value)), 0)).toBeLessThanOrEqual(0.05);
  expect(Math.abs(a.reduce((sum, value) => sum + value, 0) / a.length)).toBeLessThan(0.001);
  expect(a.reduce((sum, value) => sum + value * value, 0) / a.length).toBeCloseTo(0.1 ** 2 / 12, 4);
});

test("the alias table gives each word the probability of its count to the power 0.75", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 1e6 }), { minLength: 1, maxLength: 60 }), (list) => {
      const counts = Float64Array.from(list);
      const alias = new Uint32Array(2 * counts.length);
      fillAlias(alias, counts);
      const shares = new Float64Array(counts.length);
      for (let i = 0; i < counts.length; i++) {
        const own = alias[2 * i]! / 2 ** 32;
        shares[i]! += own / counts.length;
        shares[alias[2 * i + 1]!]! += (1 - own) / counts.length;
      }
      const total = list.reduce((sum, count) => sum + count ** 0.75, 0);
      for (const [i, count] of list.entries()) expect(shares[i]).toBeCloseTo(count ** 0.75 / total, 6);
    }),
  );
});

test("subsampling keeps rare words and drops frequent ones, as the formula says", () => {
  const counts = Float64Array.of(900_000, 99_000, 1000);
  const keep = Array.from(keepThresholds(counts, 1e-3), (threshold) => threshold / 2 ** 32);
  expect(keep[0]).toBeCloseTo(Math.sqrt(1e-3 / 0.9) + 1e-3 / 0.9, 6);
  expect(keep[1]).toBeCloseTo(Math.sqrt(1e-3 / 0.099) + 1e-3 / 0.099, 6);
  expect(keep[2]).toBeCloseTo(1, 6);
  expect([...keepThresholds(counts, 0)]).toEqual([0xffffffff, 0xffffffff, 0xffffffff]);
});
