// Tasks beside binary classification: training equals plain float64 training of the same model, metrics have closed forms,
// predictions come in order, whatever the mode and the number of threads.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Dataset, tensors } from "../data/index.ts";
import { relativeError } from "../engine/testing.ts";
import type { Model } from "../models/index.ts";
import { linear } from "../nn/index.ts";
import { sgd } from "../optim/index.ts";
import { init, type Job } from "./index.ts";
import type { Trainer } from "./trainer.ts";

const [rows, width, classes] = [37, 3, 4];
const xs = Float32Array.from({ length: rows * width }, (_, i) => Math.fround(Math.sin(3 * i + 1)));
const labels = Int32Array.from({ length: rows }, (_, i) => (i * 7) % classes);
const numbers = Float32Array.from({ length: rows }, (_, i) => Math.fround(xs[i * width]! - 2 * xs[i * width + 1]!));

const x = { data: xs, shape: [rows, width] };
const classed = (batch: number): Dataset => tensors({ label: { data: labels, shape: [rows] }, x }, { batch });
const measured = (batch: number): Dataset => tensors({ label: { data: numbers, shape: [rows] }, x }, { batch });

const zeros = { kind: "zeros" } as const;
const classifier: Model = {
  name: "softmax",
  config: {},
  task: "classification",
  forward: (columns, ctx) => linear(ctx, "layer", columns.x!, classes, { init: zeros }),
};
const regressor: Model = {
  name: "least-squares",
  config: {},
  task: "regression",
  forward: (columns, ctx) => linear(ctx, "layer", columns.x!, 1, { init: zeros }),
};

/** Weights [width + 1, outputs], the last row the bias, after steps of plain gradient descent over all rows. */
function descend(
  outputs: number,
  steps: number,
  lr: number,
  errorOf: (y: number[], row: number) => number[],
): number[] {
  const w = new Array<number>((width + 1) * outputs).fill(0);
  for (let step = 0; step < steps; step++) {
    const gradient = new Array<number>(w.length).fill(0);
    for (let row = 0; row < rows; row++) {
      const error = errorOf(predict(w, outputs, row), row);
      for (let i = 0; i <= width; i++) {
        const input = i < width ? xs[row * width + i]! : 1;
        for (let o = 0; o < outputs; o++) gradient[i * outputs + o]! += (input * error[o]!) / rows;
      }
    }
    for (let i = 0; i < w.length; i++) w[i]! -= lr * gradient[i]!;
  }
  return w;
}

function predict(w: readonly number[], outputs: number, row: number): number[] {
  return Array.from({ length: outputs }, (_, o) => {
    let sum = w[width * outputs + o]!;
    for (let i = 0; i < width; i++) sum += xs[row * width + i]! * w[i * outputs + o]!;
    return sum;
  });
}

function softmax(y: readonly number[]): number[] {
  const total = y.reduce((sum, v) => sum + Math.exp(v), 0);
  return y.map((v) => Math.exp(v) / total);
}

const crossEntropyError = (y: number[], row: number): number[] =>
  softmax(y).map((p, c) => p - (labels[row] === c ? 1 : 0));

describe.each([
  { mode: "async", threads: 1, batch: rows },
  { mode: "sync", threads: 2, batch: 19 },
] as const)("$mode over $threads threads", ({ mode, threads, batch }) => {
  let job: Job;
  beforeAll(async () => {
    job = await init({ threads, engine: "wasm", maxBytes: 2 ** 26 });
  });
  afterAll(() => job.close());
  const trainerOf = (model: Model): Trainer => job.trainer(model, { optimizer: sgd({ lr: 0.5 }), strategy: { mode } });

  test("classification", async () => {
    const trainer = trainerOf(classifier);
    const fitted = await trainer.fit(classed(batch), { epochs: 5, progress: false, validation: classed(batch) });
    expect(fitted.steps).toBe(5);
    const w = descend(classes, 5, 0.5, crossEntropyError);
    const expected = labels.reduce(
      (sums, label, row) => {
        const p = softmax(predict(w, classes, row));
        const hit = p[label] === Math.max(...p) ? 1 : 0;
        return { loss: sums.loss - Math.log(p[label]!) / rows, hits: sums.hits + hit };
      },
      { loss: 0, hits: 0 },
    );
    const metrics = await trainer.evaluate(classed(8 * batch > 64 ? batch : 8));
    expect(metrics.samples).toBe(rows);
    expect(metrics.loss).toBeCloseTo(expected.loss, 5);
    expect(metrics.accuracy).toBeCloseTo(expected.hits / rows, 6);
    expect(metrics.perplexity).toBeCloseTo(Math.exp(expected.loss), 4);
    expect(metrics.auc).toBeNaN();
    expect(fitted.evaluation!.loss).toBeCloseTo(expected.loss, 5);
    const probabilities = await trainer.predict(classed(batch));
    const wanted = Array.from({ length: rows }, (_, row) => softmax(predict(w, classes, row))).flat();
    expect(relativeError([...probabilities], wanted)).toBeLessThan(1e-5);
    await trainer.close();
  });

  test("regression", async () => {
    const trainer = trainerOf(regressor);
    await trainer.fit(measured(batch), { epochs: 4, progress: false });
    const w = descend(1, 4, 0.5, ([y], row) => [2 * (y! - numbers[row]!)]);
    const errors = Array.from({ length: rows }, (_, row) => predict(w, 1, row)[0]! - numbers[row]!);
    const metrics = await trainer.evaluate(measured(batch));
    expect(metrics.loss).toBeCloseTo(errors.reduce((sum, e) => sum + e * e, 0) / rows, 5);
    expect(metrics.meanAbsoluteError).toBeCloseTo(errors.reduce((sum, e) => sum + Math.abs(e), 0) / rows, 5);
    const predictions = await trainer.predict(measured(batch));
    expect(
      relativeError(
        [...predictions],
        errors.map((e, row) => e + numbers[row]!),
      ),
    ).toBeLessThan(1e-5);
    await trainer.close();
  });

  test("sequences: every place has a label, a row counts once", async () => {
    const model: Model = {
      name: "places",
      config: {},
      task: "classification",
      forward: ({ x }, ctx) => linear(ctx, "layer", x!.reshape([x!.shape[0]!, width, 1]), 2, { init: zeros }),
    };
    const signs = Int32Array.from(xs, (v) => (v > 0 ? 1 : 0));
    const dataset = tensors({ label: { data: signs, shape: [rows, width] }, x }, { batch });
    const trainer = trainerOf(model);
    await trainer.fit(dataset, { epochs: 12, progress: false });
    const metrics = await trainer.evaluate(dataset);
    expect(metrics.samples).toBe(rows);
    expect(metrics.loss).toBeLessThan(0.5);
    expect(metrics.accuracy).toBeGreaterThan(0.9);
    expect(await trainer.predict(dataset)).toHaveLength(rows * width * 2);
    await trainer.close();
  });

  test("what does not fit is refused by name", async () => {
    const wrong = trainerOf(regressor);
    await expect(wrong.fit(classed(batch), { progress: false })).rejects.toThrow(
      /regression, whose labels are f32.*i32/,
    );
    const two: Model = { ...classifier, forward: (c, ctx) => linear(ctx, "layer", c.x!, classes).reshape([-1, 2]) };
    await expect(trainerOf(two).fit(classed(batch), { progress: false })).rejects.toThrow(/one logit a class/);
  });
});
