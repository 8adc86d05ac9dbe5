// Mixed precision by one line of the strategy: trains as f32 does to the precision of the type, skips steps that overflow.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { tensors } from "../data/index.ts";
import { relativeError } from "../engine/testing.ts";
import type { Model } from "../models/index.ts";
import { linear } from "../nn/index.ts";
import { momentum } from "../optim/index.ts";
import { init, type Job } from "./index.ts";
import type { StrategyOptions } from "./strategy.ts";

const [rows, width, classes] = [64, 12, 3];
const x = Float32Array.from({ length: rows * width }, (_, i) => Math.fround(Math.sin(i * i)));
const label = Int32Array.from({ length: rows }, (_, i) => (x[i * width]! > 0.3 ? 2 : x[i * width + 1]! > 0 ? 1 : 0));
const dataset = tensors(
  { label: { data: label, shape: [rows] }, x: { data: x, shape: [rows, width] } },
  { batch: rows / 2 },
);

const model: Model = {
  name: "perceptron",
  config: {},
  task: "classification",
  forward: (columns, ctx) =>
    linear(ctx, "output", linear(ctx, "hidden", columns.x!, 16, { activation: "tanh" }), classes),
};

describe.each([
  { mode: "async", threads: 1 },
  { mode: "sync", threads: 2 },
] as const)("$mode over $threads threads", ({ mode, threads }) => {
  let job: Job;
  beforeAll(async () => {
    job = await init({ threads, engine: "wasm", maxBytes: 2 ** 26 });
  });
  afterAll(() => job.close());
  const train = async (strategy: StrategyOptions, epochs: number): Promise<number[]> => {
    const trainer = job.trainer(model, { optimizer: momentum({ lr: 0.1 }), strategy: { mode, ...strategy } });
    await trainer.fit(dataset, { epochs, progress: false });
    const probabilities = [...(await trainer.predict(dataset))];
    await trainer.close();
    return probabilities;
  };

  test("bf16 and fp16 stay close to f32", async () => {
    const exact = await train({}, 5);
    expect(relativeError(await train({ amp: "bf16" }, 5), exact)).toBeLessThan(0.02);
    expect(relativeError(await train({ amp: "fp16" }, 5), exact)).toBeLessThan(0.003);
    expect(await train({ amp: "fp16", ampLists: { black: ["matmul"] } }, 2)).toEqual(await train({}, 2));
  });

  test("fp16 skips steps whose gradients overflow, and finds a scale that does not", async () => {
    const untrained = await train({ amp: "fp16", lossScale: { start: 2 ** 100, backoffSteps: 1000 } }, 3);
    const lr0 = await train({ amp: "fp16", lossScale: { start: 2 ** 100, backoffSteps: 1000 } }, 1);
    expect(untrained).toEqual(lr0);
    const found = await train({ amp: "fp16", lossScale: { start: 2 ** 30, backoff: 0.0001, backoffSteps: 1 } }, 6);
    expect(relativeError(found, untrained)).toBeGreaterThan(0.01);
  });

  test("clipping and gradient merge see gradients without the scale", async () => {
    const strategy = { clip: { globalNorm: 0.1 }, gradientMerge: mode === "async" ? 2 : 1 } as const;
    const [exact, half] = [await train(strategy, 4), await train({ ...strategy, amp: "fp16" }, 4)];
    expect(relativeError(half, exact)).toBeLessThan(0.003);
  });
});

test("says at the start that half precision is rounding alone, where it is", async () => {
  const job = await init({ threads: 1, engine: "wasm", maxBytes: 2 ** 25 });
  for (const amp of ["bf16", "fp16"] as const) {
    const trainer = job.trainer(model, { strategy: { amp } });
    const { notes } = await trainer.session(dataset.layout);
    expect(notes).toEqual([expect.stringContaining(`amp "${amp}" is emulated`)]);
  }
  await job.close();
});

test("switches that do not go together are refused by name", async () => {
  const job = await init({ threads: 1, engine: "wasm", maxBytes: 2 ** 25 });
  expect(() => job.trainer(model, { strategy: { ampLists: { white: ["map"] } } })).toThrow(/ampLists needs amp/);
  expect(() => job.trainer(model, { strategy: { amp: "bf16", lossScale: {} } })).toThrow(
    /lossScale is for amp: "fp16"/,
  );
  const misspelt = job.trainer(model, { strategy: { amp: "bf16", ampLists: { black: ["hiden"] } } });
  await expect(misspelt.fit(dataset, { progress: false })).rejects.toThrow(/black list names "hiden".*hidden, output/);
  await job.close();
});
