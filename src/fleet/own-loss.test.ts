// Losses of a model's own, its measures, and weights of rows and of places: held to what follows from the predictions, and to
// plain float64 descent, whatever the mode and the number of threads.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Dataset, type TensorColumn, tensors } from "../data/index.ts";
import { relativeError } from "../engine/testing.ts";
import type { Model } from "../models/index.ts";
import { crossEntropy, linear } from "../nn/index.ts";
import { sgd } from "../optim/index.ts";
import type { MetricsRecord } from "../report/index.ts";
import { init, type Job } from "./index.ts";
import type { Trainer } from "./trainer.ts";

const [rows, width] = [37, 3];
const xs = Float32Array.from({ length: rows * width }, (_, i) => Math.fround(Math.sin(3 * i + 1)));
const numbers = Float32Array.from({ length: rows }, (_, i) => Math.fround(xs[i * width]! - 2 * xs[i * width + 1]!));
const weights = Float32Array.from({ length: rows }, (_, i) => [0, 0.5, 1, 3][i % 4]!);
const signs = Int32Array.from(xs, (v) => (v > 0 ? 1 : 0));
const x = { data: xs, shape: [rows, width] };
const y = { data: numbers, shape: [rows] };

const zeros = { kind: "zeros" } as const;
const output: Model["forward"] = (columns, ctx) => linear(ctx, "layer", columns.x!, 1, { init: zeros }).reshape([-1]);
const regressor: Model = { name: "least-squares", config: {}, task: "regression", forward: output };
const own: Model = {
  name: "own",
  config: {},
  forward: output,
  loss: (outputs, { y }) => ({
    loss: outputs.sub(y!).square(),
    measures: { close: outputs.sub(y!).abs().less(0.5), prediction: outputs },
  }),
};

/** Weights [width + 1] after steps of weighted least squares. */
function descend(steps: number, lr: number, weightOf: (row: number) => number): number[] {
  const w = new Array<number>(width + 1).fill(0);
  const total = Array.from({ length: rows }, (_, row) => weightOf(row)).reduce((a, b) => a + b, 0);
  for (let step = 0; step < steps; step++) {
    const gradient = new Array<number>(w.length).fill(0);
    for (let row = 0; row < rows; row++) {
      const error = (2 * weightOf(row) * (predict(w, row) - numbers[row]!)) / total;
      for (let i = 0; i <= width; i++) gradient[i]! += error * (i < width ? xs[row * width + i]! : 1);
    }
    for (let i = 0; i < w.length; i++) w[i]! -= lr * gradient[i]!;
  }
  return w;
}

const predict = (w: readonly number[], row: number): number =>
  w.reduce((sum, v, i) => sum + v * (i < width ? xs[row * width + i]! : 1), 0);
const predictAll = (w: readonly number[]): number[] => Array.from({ length: rows }, (_, row) => predict(w, row));

/** The mean of values of rows, weighted. */
function mean(of: (row: number) => number, weightOf: (row: number) => number): number {
  let [sum, total] = [0, 0];
  for (let row = 0; row < rows; row++) {
    sum += weightOf(row) * of(row);
    total += weightOf(row);
  }
  return sum / total;
}

describe.each([
  { mode: "async", threads: 1, batch: rows },
  { mode: "sync", threads: 2, batch: 19 },
] as const)("$mode over $threads threads", ({ mode, threads, batch }) => {
  let job: Job;
  beforeAll(async () => {
    job = await init({ threads, engine: "wasm", maxBytes: 2 ** 26 });
  });
  afterAll(() => job.close());
  const dataOf = (columns: Record<string, TensorColumn>): Dataset => tensors(columns, { batch });
  const trainerOf = (model: Model, merge = 1): Trainer =>
    job.trainer(model, { optimizer: sgd({ lr: 0.1 }), strategy: { mode, gradientMerge: merge } });

  test("weights of rows weigh gradients and metrics", async () => {
    const data = dataOf({ label: y, x, weight: { data: weights, shape: [rows] } });
    const expected = predictAll(descend(4, 0.1, (row) => weights[row]!));
    const trainer = trainerOf(regressor);
    const fitted = await trainer.fit(data, { epochs: 4, progress: false });
    expect(fitted.steps).toBe(4);
    expect(relativeError([...(await trainer.predict(data))], expected)).toBeLessThan(1e-5);
    const metrics = await trainer.evaluate(data);
    const errorOf = (row: number): number => expected[row]! - numbers[row]!;
    expect(metrics.weight).toBe(weights.reduce((a, b) => a + b, 0));
    expect(metrics.loss).toBeCloseTo(
      mean(
        (row) => errorOf(row) ** 2,
        (row) => weights[row]!,
      ),
      5,
    );
    expect(metrics.meanAbsoluteError).toBeCloseTo(
      mean(
        (row) => Math.abs(errorOf(row)),
        (row) => weights[row]!,
      ),
      5,
    );
    await trainer.close();
  });

  test("merged steps weigh their rows together", async () => {
    const part = tensors(
      { label: y, x, weight: { data: weights, shape: [rows] } },
      { batch: mode === "sync" ? 5 : 10 },
    );
    const trainer = trainerOf(regressor, 4);
    const fitted = await trainer.fit(part, { epochs: 3, progress: false });
    expect(fitted.steps).toBe(3);
    const expected = predictAll(descend(3, 0.1, (row) => weights[row]!));
    expect(relativeError([...(await trainer.predict(part))], expected)).toBeLessThan(1e-5);
    await trainer.close();
  });

  test("weights of places: what weighs nothing does not matter, the rest counts by its weight", async () => {
    const model: Model = {
      name: "places",
      config: {},
      task: "classification",
      forward: ({ x }, ctx) => linear(ctx, "layer", x!.reshape([x!.shape[0]!, width, 1]), 2, { init: zeros }),
    };
    const mask = Float32Array.from(xs, (_, i) => (i % 5 === 0 || i < 2 * width ? 0 : 1 + (i % 2)));
    const data = (labelOf: (label: number, i: number) => number): Dataset =>
      dataOf({
        label: { data: signs.map((label, i) => (mask[i] === 0 ? labelOf(label, i) : label)), shape: [rows, width] },
        x,
        weight: { data: mask, shape: [rows, width] },
      });
    const [plain, other] = [data((label) => label), data((label) => 1 - label)];
    const results: Float32Array[] = [];
    for (const dataset of [plain, other]) {
      const trainer = trainerOf(model);
      await trainer.fit(dataset, { epochs: 6, progress: false });
      const probabilities = await trainer.predict(dataset);
      const metrics = await trainer.evaluate(dataset);
      let [loss, hits, total] = [0, 0, 0];
      for (const [i, label] of signs.entries()) {
        const p = probabilities.subarray(2 * i, 2 * i + 2);
        loss -= mask[i]! * Math.log(p[label]!);
        hits += mask[i]! * (p[label]! >= p[1 - label]! ? 1 : 0);
        total += mask[i]!;
      }
      expect(metrics).toMatchObject({ samples: rows - 2, weight: total });
      expect(metrics.loss).toBeCloseTo(loss / total, 5);
      expect(metrics.accuracy).toBeCloseTo(hits / total, 5);
      results.push(probabilities);
      await trainer.close();
    }
    expect(results[1]).toEqual(results[0]);
    expect(relativeError([...results[0]!], new Array(2 * rows * width).fill(0.5))).toBeGreaterThan(0.05);
  });

  test("a loss of the model's own trains, its measures are reported", async () => {
    const data = dataOf({ x, y });
    const trainer = trainerOf(own);
    const records: MetricsRecord[] = [];
    const fitted = await trainer.fit(data, {
      epochs: 5,
      validation: data,
      earlyStop: { metric: "close", patience: 5 },
      onRecord: (record) => records.push(record),
      progress: false,
    });
    const expected = predictAll(descend(5, 0.1, () => 1));
    expect(relativeError([...(await trainer.predict(data))], expected)).toBeLessThan(1e-5);
    const metrics = await trainer.evaluate(data);
    const errorOf = (row: number): number => expected[row]! - numbers[row]!;
    const one = (): number => 1;
    expect(metrics.loss).toBeCloseTo(
      mean((row) => errorOf(row) ** 2, one),
      5,
    );
    expect(metrics.measures!.close).toBeCloseTo(
      mean((row) => (Math.abs(errorOf(row)) < 0.5 ? 1 : 0), one),
      6,
    );
    expect(metrics.measures!.prediction).toBeCloseTo(
      mean((row) => expected[row]!, one),
      5,
    );
    expect(fitted.evaluation!.measures).toEqual(metrics.measures);
    const last = records.findLast(({ type }) => type === "evaluation");
    expect(last).toMatchObject({ measures: metrics.measures });
    expect(records.find(({ type }) => type === "train")).toHaveProperty("measures.close");
    await trainer.close();
  });

  test("a loss of rank 0 is that of its batch", async () => {
    const data = dataOf({ x, y });
    const trainer = trainerOf({
      ...own,
      loss: (outputs, { y, weight }) => ({ loss: meanSquare(outputs, y!, weight!) }),
    });
    await trainer.fit(data, { epochs: 5, progress: false });
    expect(relativeError([...(await trainer.predict(data))], predictAll(descend(5, 0.1, () => 1)))).toBeLessThan(1e-5);
    await trainer.close();
  });

  test("a classifier with another loss keeps its accuracy; perplexity is of the cross-entropy alone", async () => {
    const label = { data: signs.filter((_, i) => i % width === 0), shape: [rows] };
    const data = dataOf({ label, x });
    const forward: Model["forward"] = (columns, ctx) => linear(ctx, "layer", columns.x!, 2, { init: zeros });
    const smooth: Model = {
      ...{ name: "smooth", config: {}, task: "classification", forward },
      loss: (outputs, columns) => ({ loss: crossEntropy(outputs, columns.label!, { labelSmoothing: 0.2 }) }),
    };
    const trainer = trainerOf(smooth);
    await trainer.fit(data, { epochs: 4, progress: false });
    const metrics = await trainer.evaluate(data);
    const p = await trainer.predict(data);
    const lossOf = (row: number): number => {
      const [right, wrong] = [p[2 * row + label.data[row]!]!, p[2 * row + 1 - label.data[row]!]!];
      return -0.9 * Math.log(right) - 0.1 * Math.log(wrong);
    };
    expect(metrics.loss).toBeCloseTo(
      mean(lossOf, () => 1),
      5,
    );
    expect(metrics.accuracy).toBeGreaterThan(0.5);
    expect(metrics.perplexity).toBeUndefined();
    await trainer.close();
  });

  test("what does not fit is refused by name", async () => {
    const data = dataOf({ label: y, x, y });
    const refused = (model: Model, message: RegExp, options = {}): Promise<void> =>
      expect(trainerOf(model).fit(data, { progress: false, ...options })).rejects.toThrow(message);
    await refused({ ...regressor, task: "own" }, /least-squares is of task "own" and has no loss/);
    const many = Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`m${i}`, 0]));
    const all: Model["loss"] = (outputs) => ({
      loss: outputs,
      measures: Object.fromEntries(Object.keys(many).map((name) => [name, outputs])),
    });
    await refused({ ...own, loss: all }, /own has 17 measures; at most 16/);
    await refused(
      { ...own, loss: (outputs) => ({ loss: outputs.reshape([1, -1]) }) },
      /own gives a loss of shape \[1,/,
    );
    await refused(own, /fit: earlyStop: there is no metric "far"; choose one of .*close, prediction/, {
      validation: data,
      earlyStop: { metric: "far" },
    });
    const places = dataOf({ label: y, x, weight: { data: xs, shape: [rows, width] } });
    await expect(trainerOf(regressor).fit(places, { progress: false })).rejects.toThrow(
      /"weight" of shape \[.*,3\] weighs the losses of model least-squares/,
    );
  });
});

/** The mean over the rows of a batch. */
const meanSquare = (outputs: Parameters<typeof linear>[2], y: typeof outputs, weight: typeof outputs): typeof outputs =>
  outputs.sub(y).square().mul(weight).sum().div(weight.sum());
