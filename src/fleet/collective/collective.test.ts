// Mode `collective` beside one thread that trains on the union of the batches.

import { describe, expect, test } from "vitest";
import type { Model } from "../../models/index.ts";
import { linear, mlp } from "../../nn/index.ts";
import { adam, momentum } from "../../optim/index.ts";
import type { StrategyOptions } from "../strategy.ts";
import { clickFile, clicks, difference, learnt, type Numbers, PlainTrainer, temporaryFolder } from "../testing.ts";
import { asWorkers, perceptron, settledWorkers, shareOf } from "./testing.ts";

const folder = temporaryFolder();
const UNION = 24;
// The last step has rows for some of the ranks only, and not a whole batch.
const file = clickFile(folder.path, "all.csv", 14 * UNION + 11, 3);
const quiet = { progress: false } as const;

const wider: Model["forward"] = (batch, ctx) => {
  const hidden = mlp(ctx, "deep", batch.dense!, batch.weight!, { hidden: [32, 16], activation: "tanh" });
  return linear(ctx, "output", hidden, 1);
};

const lasting = (numbers: Numbers): Numbers => new Map([...numbers].filter(([name]) => !name.includes("/merged#")));

/** What ranks have learnt after two epochs: all the same bits. */
async function trained(
  workers: number,
  strategy: StrategyOptions,
  { threads = 1, optimizer = adam({ lr: 0.02, epsilon: 1e-3 }) } = {},
): Promise<Numbers> {
  const batch = UNION / workers / threads;
  const results = await asWorkers(
    workers,
    folder.path,
    async (job) => {
      const trainer = job.trainer(perceptron, { strategy: { mode: "collective", ...strategy }, optimizer });
      const data = shareOf(file, batch, { rank: job.rank, workers, threads, folder: folder.path });
      await trainer.fit(data, { epochs: 2, split: false, ...quiet });
      const numbers = lasting(await learnt(trainer, data));
      await trainer.close();
      return numbers;
    },
    () => ({ threads }),
  );
  for (const numbers of results) expect(difference(numbers, results[0]!)).toEqual({ error: 0, where: "" });
  return results[0]!;
}

async function plain({
  rows = UNION,
  optimizer = adam({ lr: 0.02, epsilon: 1e-3 }),
  ...strategy
}: {
  rows?: number;
  optimizer?: ReturnType<typeof adam>;
  clip?: { globalNorm: number };
  ema?: number;
} = {}): Promise<Numbers> {
  const options = { optimizers: { default: optimizer }, batch: rows, strategy };
  const trainer = new PlainTrainer(perceptron, clicks(file.path, rows, { order: "file" }), options);
  await trainer.epoch();
  await trainer.epoch();
  return trainer.numbers;
}

test("one rank trains as one thread", async () => {
  const { error, where } = difference(await trained(1, { fuseBytes: 256 }), await plain());
  expect(error, where).toBeLessThan(2e-4);
});

describe.each([2, 3])("%i ranks", (workers) => {
  test("train as one with the union batch, the last one uneven", async () => {
    const { error, where } = difference(await trained(workers, {}), await plain());
    expect(error, where).toBeLessThan(2e-4);
  });

  test("clip the gradient of the union batch, gather it over steps, and keep averages", async () => {
    const optimizer = momentum({ lr: 0.3 });
    const strategy = { clip: { globalNorm: 0.05 }, gradientMerge: 2, ema: 0.9 };
    const expected = await plain({ rows: 2 * UNION, optimizer, clip: { globalNorm: 0.05 }, ema: 0.9 });
    const { error, where } = difference(await trained(workers, strategy, { optimizer }), expected);
    expect(error, where).toBeLessThan(2e-4);
  });
});

test("small buckets, over several streams, by a given algorithm", async () => {
  const strategy = { fuseBytes: 256, lastBucketBytes: 64, streams: 2, algorithm: "ring" } as const;
  const { error, where } = difference(await trained(3, strategy), await plain());
  expect(error, where).toBeLessThan(2e-4);
});

test("two ranks of two threads", async () => {
  const strategy = { clip: { globalNorm: 0.05 } };
  const { error, where } = difference(await trained(2, strategy, { threads: 2 }), await plain(strategy));
  expect(error, where).toBeLessThan(2e-4);
});

test("ranks that are about to train different programs say what differs before the first step", async () => {
  const data = clicks(file.path, 12, { order: "file" });
  const results = await settledWorkers(2, folder.path, async (job) => {
    const model = job.rank === 0 ? perceptron : { ...perceptron, forward: wider };
    await job.trainer(model, { strategy: { mode: "collective" } }).fit(data, quiet);
  });
  for (const [rank, result] of results.entries()) {
    expect(result.status).toBe("rejected");
    const { message } = (result as PromiseRejectedResult).reason as Error;
    expect(message).toMatch(/ranks \d and \d are not about to train the same/);
    expect(message).toMatch(new RegExp(`rank ${rank}: .*deep/0/weight: f32\\[2,${rank === 0 ? 24 : 32}\\]`));
  }
});
