// The dynamic loss scale, step by step.
import { describe, expect, test } from "vitest";
import { tensors } from "../data/index.ts";
import { temporaryFolder } from "../data/testing.ts";
import type { Model } from "../models/index.ts";
import { linear } from "../nn/index.ts";
import { momentum } from "../optim/index.ts";
import { init } from "./job.ts";
import { LossScale } from "./loss-scale.ts";
import { lossScaleSchema } from "./loss-scale-options.ts";
import type { StrategyOptions } from "./strategy.ts";
import type { Trainer } from "./trainer.ts";

function scaleOf(options: object = {}): LossScale {
  const parsed = lossScaleSchema.parse(options);
  return new LossScale(Float64Array.of(parsed.start, 0, 0), parsed);
}

describe("loss scale", () => {
  test("doubles after a thousand finite steps in a row", () => {
    const scale = scaleOf();
    for (let step = 0; step < 999; step++) scale.step(true);
    expect(scale.scale).toBe(32_768);
    scale.step(true);
    expect(scale.scale).toBe(65_536);
    for (let step = 0; step < 500; step++) scale.step(true);
    scale.step(false);
    for (let step = 0; step < 999; step++) scale.step(true);
    expect(scale.scale).toBe(65_536);
  });

  test("falls to four fifths after two failures in a row, never below 1", () => {
    const scale = scaleOf({ start: 100 });
    scale.step(false);
    scale.step(true);
    scale.step(false);
    expect(scale.scale).toBe(100);
    scale.step(false);
    expect(scale.scale).toBe(80);
    for (let step = 0; step < 100; step++) scale.step(false);
    expect(scale.scale).toBe(1);
  });

  test("does not grow beyond what an f32 holds", () => {
    const scale = scaleOf({ start: 2 ** 127, growthSteps: 1 });
    scale.step(true);
    expect(scale.scale).toBe(2 ** 127);
  });
});

describe("in a checkpoint", () => {
  const [rows, width] = [32, 6];
  const x = Float32Array.from({ length: rows * width }, (_, i) => Math.sin(i * i));
  const label = Float32Array.from({ length: rows }, (_, i) => x[i * width]! + 0.5);
  const dataset = tensors(
    { label: { data: label, shape: [rows, 1] }, x: { data: x, shape: [rows, width] } },
    { batch: rows / 4 },
  );
  const model: Model = {
    name: "line",
    config: {},
    task: "regression",
    forward: (columns, ctx) => linear(ctx, "output", linear(ctx, "hidden", columns.x!, 8, { activation: "tanh" }), 1),
  };
  /** Overflows at first, grows again after each third finite step: nothing stays as it was at the start. */
  const lossScale = { start: 2 ** 40, growth: 2 ** 10, growthSteps: 3, backoff: 2 ** -7, backoffSteps: 2 };

  test.each([
    { threads: 1, strategy: { mode: "async" } },
    { threads: 1, strategy: { mode: "async", gradientMerge: 2 } },
    { threads: 2, strategy: { mode: "sync" } },
  ] as const)("goes on as if it had not stopped: $threads thread(s), $strategy", async ({ threads, strategy }) => {
    const folder = temporaryFolder();
    const job = await init({ threads, engine: "wasm", maxBytes: 2 ** 26 });
    const trainerOf = (): Trainer =>
      job.trainer(model, {
        optimizer: momentum({ lr: 0.05 }),
        strategy: { amp: "fp16", lossScale, ...strategy } satisfies StrategyOptions,
      });
    const predictions = async (trainer: Trainer): Promise<number[]> => [...(await trainer.predict(dataset))];
    const whole = trainerOf();
    const start = await predictions(whole);
    await whole.fit(dataset, { epochs: 10, progress: false });
    let interrupted = trainerOf();
    for (const epochs of [3, 6]) {
      await interrupted.fit(dataset, { epochs, progress: false });
      const path = `${folder.path}/${epochs}`;
      await interrupted.save(path);
      await interrupted.close();
      interrupted = trainerOf();
      await interrupted.load(path);
    }
    await interrupted.fit(dataset, { epochs: 10, progress: false });
    const expected = await predictions(whole);
    expect(await predictions(interrupted)).toEqual(expected);
    // Not all steps were skipped.
    expect(expected).not.toEqual(start);
    await interrupted.close();
    await whole.close();
    await job.close();
    folder.dispose();
  });
});
