// Mode `collective` beside one thread that trains on the union of the batches.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Model } from "../../models/index.ts";
import { linear, mlp } from "../../nn/index.ts";
import { adam, momentum, type Optimizer } from "../../optim/index.ts";
import { RunFolder } from "../run-folder.ts";
import type { StrategyOptions } from "../strategy.ts";
import { clickFile, clicks, difference, learnt, type Numbers, PlainTrainer, temporaryFolder } from "../testing.ts";
import { normalised, perceptron, shareOf, TestRanks } from "./testing.ts";
import { expectViewable, type Span } from "./testing-trace.ts";

const folder = temporaryFolder();
const UNION = 24;
// The last step has rows for some of the ranks only, and not a whole batch.
const file = clickFile(folder.path, "all.csv", 14 * UNION + 11, 3);
const quiet = { progress: false } as const;
const quick: Optimizer = adam({ lr: 0.02, epsilon: 1e-3 });

const wider: Model["forward"] = (batch, ctx) => {
  const hidden = mlp(ctx, "deep", batch.dense!, batch.weight!, { hidden: [32, 16], activation: "tanh" });
  return linear(ctx, "output", hidden, 1);
};

const lasting = (numbers: Numbers): Numbers => new Map([...numbers].filter(([name]) => !name.includes("/merged#")));

/** What ranks have learnt after two epochs: all the same bits. */
async function trained(
  ranks: TestRanks,
  strategy: StrategyOptions,
  optimizer = quick,
  model = perceptron,
): Promise<Numbers> {
  const workers = ranks.jobs.length;
  const { threads } = ranks.jobs[0]!;
  const results = await ranks.all(async (job) => {
    const trainer = job.trainer(model, { strategy: { mode: "collective", ...strategy }, optimizer });
    const place = { rank: job.rank, workers, threads, folder: folder.path };
    const data = shareOf(file, UNION / workers / threads, place);
    await trainer.fit(data, { epochs: 2, split: false, ...quiet });
    const numbers = lasting(await learnt(trainer, data));
    await trainer.close();
    return numbers;
  });
  for (const numbers of results) expect(difference(numbers, results[0]!)).toEqual({ error: 0, where: "" });
  return results[0]!;
}

interface PlainOptions {
  readonly model?: Model;
  readonly rows?: number;
  readonly optimizer?: Optimizer;
  readonly clip?: { readonly globalNorm: number };
  readonly ema?: number;
}

async function plain({
  model = perceptron,
  rows = UNION,
  optimizer = quick,
  ...strategy
}: PlainOptions = {}): Promise<Numbers> {
  const options = { optimizers: { default: optimizer }, batch: rows, strategy };
  const trainer = new PlainTrainer(model, clicks(file.path, rows, { order: "file" }), options);
  await trainer.epoch();
  await trainer.epoch();
  return trainer.numbers;
}

const expectNear = (actual: Numbers, expected: Numbers): void => {
  const { error, where } = difference(actual, expected);
  expect(error, where).toBeLessThan(2e-4);
};

test("one rank trains as one thread", async () => {
  await using ranks = await TestRanks.open(1, folder.path);
  expectNear(await trained(ranks, { fuseBytes: 256 }), await plain());
});

describe.each([2, 3])("%i ranks", (workers) => {
  let ranks: TestRanks;
  beforeAll(async () => {
    ranks = await TestRanks.open(workers, folder.path);
  });
  afterAll(() => ranks[Symbol.asyncDispose]());

  test("train as one with the union batch, the last one uneven", async () => {
    expectNear(await trained(ranks, {}), await plain());
  });

  test("with elastic train the same while nobody dies, from sums that are complete before they are applied", async () => {
    const elastic = { elastic: { min: 1 }, fuseBytes: 256, streams: 2 };
    expectNear(await trained(ranks, elastic), await plain());
  });

  test("clip the gradient of the union batch, gather it over steps, and keep averages", async () => {
    const optimizer = momentum({ lr: 0.3 });
    const strategy = { clip: { globalNorm: 0.05 }, ema: 0.9 };
    const expected = await plain({ rows: 2 * UNION, optimizer, ...strategy });
    expectNear(await trained(ranks, { gradientMerge: 2, ...strategy }, optimizer), expected);
  });

  test("exchange small buckets over several streams by a given algorithm", async () => {
    const strategy = { fuseBytes: 256, lastBucketBytes: 64, streams: 2, algorithm: "ring" } as const;
    expectNear(await trained(ranks, strategy), await plain());
  });

  test.each([
    ["bf16", 0.05],
    ["f16", 0.005],
  ] as const)("with %s on the wire stay near, and have the same bits", async (wire, most) => {
    const { error } = difference(await trained(ranks, { wire }), await plain());
    expect(error).toBeLessThan(most);
    expect(error).toBeGreaterThan(1e-5);
  });

  test("normalise by the statistics of all ranks' rows with syncBatchNorm, each by its own without", async () => {
    const expected = await plain({ model: normalised });
    expectNear(await trained(ranks, { syncBatchNorm: true }, quick, normalised), expected);
    const { error } = difference(await trained(ranks, {}, quick, normalised), expected);
    expect(error).toBeGreaterThan(0.01);
  });

  test("that are about to train different programs say what differs before the first step", async () => {
    const results = await ranks.settled(async (job) => {
      const model = job.rank === 0 ? perceptron : { ...perceptron, forward: wider };
      const trainer = job.trainer(model, { strategy: { mode: "collective" } });
      await trainer.fit(clicks(file.path, 12, { order: "file" }), quiet);
    });
    for (const [rank, result] of results.entries()) {
      expect(result.status).toBe("rejected");
      const { message } = (result as PromiseRejectedResult).reason as Error;
      expect(message).toMatch(/ranks \d and \d are not about to train the same/);
      expect(message).toMatch(new RegExp(`rank ${rank}: .*deep/0/weight: f32\\[2,${rank === 0 ? 24 : 32}\\]`));
    }
  });
});

test("two ranks of two threads", async () => {
  await using ranks = await TestRanks.open(2, folder.path, { threads: 2 });
  const clip = { clip: { globalNorm: 0.05 } };
  expectNear(await trained(ranks, clip), await plain(clip));
});

test("a trace shows the parts of the model, the buckets and the waits of all ranks", async () => {
  await using ranks = await TestRanks.open(2, folder.path);
  const run = await RunFolder.create(join(folder.path, "run"), { name: "run", startedAt: "" } as never);
  const results = await ranks.all(async (job) => {
    const strategy = { mode: "collective", fuseBytes: 1024, lastBucketBytes: 128 } as const;
    const trainer = job.trainer(perceptron, { strategy, optimizer: quick });
    const data = shareOf(file, UNION / 2, { rank: job.rank, workers: 2, folder: folder.path });
    const { collective } = await trainer.session(data.layout);
    const names = collective!.calls.map(({ name }) => name);
    const result = await trainer.fit(data, { split: false, trace: true, ...(job.rank === 0 ? { run } : {}), ...quiet });
    await trainer.close();
    return { ...result, names };
  });
  const { traceEvents } = JSON.parse(readFileSync(join(run.path, "trace.json"), "utf8")) as { traceEvents: Span[] };
  const spans = traceEvents.filter(({ ph }) => ph === "X");
  for (const [rank, { names, steps, communication }] of results.entries()) {
    const own = spans.filter(({ pid }) => pid === rank + 1);
    for (const name of names) {
      expect(own.filter((span) => span.cat === "wire" && span.name === name).length).toBeGreaterThanOrEqual(steps);
      expect(
        own.filter((span) => span.cat === "wait" && span.name === `wait for ${name}`).length,
      ).toBeGreaterThanOrEqual(steps);
    }
    expect(own.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["step 1", "deep/0", "backward/deep/0", "update"]),
    );
    const wire = own.filter(({ cat }) => cat === "wire").reduce((sum, { dur }) => sum + dur, 0);
    expect(communication!.seconds).toBeCloseTo(wire / 1e6, 4);
    expect(communication!.hidden).toBeCloseTo(Math.max(0, 1 - communication!.waited / communication!.seconds), 9);
  }
  expectViewable(traceEvents, [1, 2]);
  const percent = Math.round(100 * results[0]!.communication!.hidden);
  expect(readFileSync(join(run.path, "metrics.jsonl"), "utf8")).toMatch(`computation hid ${percent} %`);
});
