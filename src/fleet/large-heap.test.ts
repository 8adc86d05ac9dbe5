// A job whose parameters, tables, arenas and batches all lie above 4 GiB trains to the same bits as one on a small heap.
import { afterAll, describe, expect, test } from "vitest";
import { relativeError } from "../engine/testing.ts";
import type { BinaryMetrics } from "../metrics/index.ts";
import { deepFM } from "../models/index.ts";
import { adam, ftrl } from "../optim/index.ts";
import { init } from "./job.ts";
import { clickColumns, clickFile, clicks, difference, learnt, type Numbers, temporaryFolder } from "./testing.ts";

const folder = temporaryFolder();
afterAll(() => folder.dispose());
const train = clickFile(folder.path, "train.csv", 1500, 1);
const held = clickFile(folder.path, "held.csv", 500, 2);
const model = deepFM({ ...clickColumns, dim: 4, hidden: [16, 8], dropout: 0.2, norm: "batch" });

interface Outcome {
  readonly numbers: Numbers;
  readonly metrics: BinaryMetrics;
  readonly probabilities: Float32Array;
  readonly leaks: number;
}

/** Trains, evaluates and predicts on a heap of which the first `taken` bytes are in use already. */
async function outcome(mode: "async" | "sync", threads: number, maxBytes: number, taken: number): Promise<Outcome> {
  const job = await init({ threads, engine: "wasm", maxBytes });
  if (taken > 0) job.heap.alloc(taken);
  const before = job.heap.liveBytes;
  const optimizer = { default: adam({ lr: 0.02 }), linear: ftrl({ lr: 0.3, l1: 0.01 }) };
  const trainer = job.trainer(model, { strategy: { mode }, optimizer, seed: 3 });
  const dataset = clicks(train.path, 32, { order: "file" });
  await trainer.fit(dataset, { epochs: 2, progress: false });
  const { parameters } = await trainer.session(dataset.layout);
  expect(parameters.address).toBeGreaterThan(taken);
  const numbers = await learnt(trainer, dataset);
  const metrics = await trainer.evaluate(clicks(held.path, 32));
  const probabilities = await trainer.predict(clicks(held.path, 32));
  await trainer.close();
  const leaks = job.heap.liveBytes - before;
  await job.close();
  return { numbers, metrics, probabilities, leaks };
}

describe("heaps above 4 GiB", () => {
  test.each([
    ["async", 1],
    ["sync", 2],
  ] as const)("mode %s with %i threads: the bits of a small heap", async (mode, threads) => {
    const small = await outcome(mode, threads, 2 ** 28, 0);
    const large = await outcome(mode, threads, 2 ** 32 + 2 ** 29, 2 ** 32);
    const { error, where } = difference(large.numbers, small.numbers);
    expect(error, where).toBe(0);
    // Which thread scores a row, and where in its batch, is not determined.
    expect(relativeError([...large.probabilities], [...small.probabilities])).toBeLessThan(1e-5);
    expect(large.metrics.auc).toBeCloseTo(small.metrics.auc, 5);
    expect(large.leaks).toBe(0);
  });

  test("end at 16 GiB", async () => {
    await expect(init({ threads: 1, engine: "wasm", maxBytes: 2 ** 34 + 65536 })).rejects.toThrow(/maxBytes/);
    const job = await init({ threads: 1, engine: "wasm", maxBytes: 2 ** 34 });
    expect(job.heap.capacity).toBe(2 ** 34);
    await job.close();
  });
});
