// What a strategy does to gradients and weights: clipping, gradient merge, moving averages; against the float64 interpreter.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { deepFM, type Model } from "../models/index.ts";
import { linear, mlp } from "../nn/index.ts";
import { adam, adamw, lamb, momentum, sgd } from "../optim/index.ts";
import { accumulatorName, averageName, progressName } from "../program/index.ts";
import { init, type Job } from "./job.ts";
import { MergeProgress } from "./merge.ts";
import type { OptimizerGroups } from "./optimizer-groups.ts";
import type { StrategyOptions } from "./strategy.ts";
import {
  clickColumns,
  clickFile,
  clicks,
  difference,
  learnt,
  type Numbers,
  PlainTrainer,
  temporaryFolder,
} from "./testing.ts";
import type { Trainer } from "./trainer.ts";

const folder = temporaryFolder();
afterAll(() => folder.dispose());
const small = clickFile(folder.path, "small.csv", 331, 3);
const large = clickFile(folder.path, "large.csv", 12_000, 4);
const sparse = deepFM({ ...clickColumns, dim: 4, hidden: [8, 6], activation: "tanh", embeddingScale: 0.1 });
const dense: Model = {
  name: "perceptron",
  config: {},
  forward: (batch, ctx) => {
    const hidden = mlp(ctx, "deep", batch.dense!, batch.weight!, { hidden: [8, 6], activation: "tanh" });
    return linear(ctx, "output", hidden, 1);
  },
};
const quiet = { progress: false } as const;

/** Without what threads gather in. */
const lasting = (numbers: Numbers): Numbers => new Map([...numbers].filter(([name]) => !name.includes("/merged#")));

/** The same training by the interpreter, in steps of `rows` rows. */
async function expectPlain(
  trainer: Trainer,
  dataset: ReturnType<typeof clicks>,
  { model, optimizers, rows, strategy }: Expected,
): Promise<void> {
  const plain = new PlainTrainer(model, dataset, { optimizers, batch: rows, strategy });
  const losses = [...(await plain.epoch()), ...(await plain.epoch())];
  const fit = await trainer.fit(dataset, { epochs: 2, ...quiet });
  expect(fit.steps).toBe(losses.length);
  const { error, where } = difference(lasting(await learnt(trainer, dataset)), plain.numbers);
  expect(error, where).toBeLessThan(2e-4);
}

interface Expected {
  readonly model: Model;
  readonly optimizers: OptimizerGroups;
  readonly rows: number;
  readonly strategy: Pick<StrategyOptions, "clip" | "ema">;
}

describe.each([
  ["async", 1],
  ["sync", 1],
  ["sync", 2],
  ["sync", 3],
] as const)("%s with %i threads", (mode, threads) => {
  let job: Job;
  beforeAll(async () => {
    job = await init({ threads, engine: "wasm", maxBytes: 2 ** 27 });
  });
  afterAll(() => job.close());
  const dataset = clicks(small.path, 24 / threads, { order: "file" });

  test.each([
    [{ globalNorm: 0.05 }, dense],
    [{ norm: 0.03 }, dense],
    [{ value: 0.01 }, sparse],
  ] as const)("clips the gradient of the union batch: %j", async (clip, model) => {
    const optimizers = { default: momentum({ lr: 0.3 }) };
    const trainer = job.trainer(model, { strategy: { mode, clip }, optimizer: optimizers });
    await expectPlain(trainer, dataset, { model, optimizers, rows: 24, strategy: { clip } });
    // Without the clip it would have gone elsewhere.
    const free = new PlainTrainer(model, dataset, { optimizers, batch: 24 });
    await free.epoch();
    await free.epoch();
    expect(difference(lasting(await learnt(trainer, dataset)), free.numbers).error).toBeGreaterThan(0.01);
    await trainer.close();
  });

  test("merges four steps into the step of their union batch, clips that, and ends an epoch with the steps left", async () => {
    const clip = { globalNorm: 0.05 };
    const lr = { kind: "polynomial", lr: 0.05, total: 20 } as const;
    const optimizers = { default: adam({ lr, epsilon: 1e-3 }), "**/weight": momentum({ lr }) };
    const strategy = { mode, clip, gradientMerge: 4, ema: 0.9 };
    const trainer = job.trainer(dense, { strategy, optimizer: optimizers });
    await expectPlain(trainer, dataset, { model: dense, optimizers, rows: 96, strategy: { clip, ema: 0.9 } });
    const { parameters } = await trainer.session(dataset.layout);
    const gathered = parameters.names.filter((name) => name.includes("/merged#"));
    expect(gathered).toContain(accumulatorName("output/bias", threads - 1));
    for (const name of gathered) expect([...new Set(parameters.view(name))], name).toEqual([0]);
    await trainer.close();
  });

  test("keeps a moving average, which evaluations and predictions can take", async () => {
    const optimizers = { default: adam({ lr: 0.02, epsilon: 1e-3 }) };
    const strategy = { mode, ema: 0.8 };
    const trainer = job.trainer(sparse, { strategy, optimizer: optimizers });
    await expectPlain(trainer, dataset, { model: sparse, optimizers, rows: 24, strategy: { ema: 0.8 } });
    const [metrics, scores] = [
      await trainer.evaluate(dataset, { weights: "ema" }),
      await trainer.predict(dataset, { weights: "ema" }),
    ];
    const { parameters } = await trainer.session(dataset.layout);
    const trained = await trainer.predict(dataset);
    for (const name of parameters.trainableNames) parameters.view(name).set(parameters.view(averageName(name)));
    expect(await trainer.predict(dataset)).toEqual(scores);
    expect(await trainer.evaluate(dataset)).toEqual(metrics);
    const again = await trainer.fit(dataset, { epochs: 3, validation: dataset, weights: "ema", ...quiet });
    expect(again.evaluation).toEqual(await trainer.evaluate(dataset, { weights: "ema" }));
    expect(scores).not.toEqual(trained);
    await trainer.close();
  });

  test("a checkpoint keeps an open group: stopped in the middle of it and loaded, training ends at the same weights", async () => {
    const data = clicks(large.path, 8, { order: "file" });
    // So many that the only step is that at the end of the epoch.
    const options = { strategy: { mode, gradientMerge: 100_000, ema: 0.5 }, optimizer: sgd({ lr: 0.5 }) };
    const whole = job.trainer(dense, options);
    expect((await whole.fit(data, quiet)).steps).toBe(1);
    const expected = lasting(await learnt(whole, data));
    const first = job.trainer(dense, options);
    const { parameters } = await first.session(data.layout);
    const abort = new AbortController();
    const [steps] = [parameters.view(progressName(0))];
    const timer = setInterval(() => steps[0]! > 2 && abort.abort());
    const stopped = await first.fit(data, { ...quiet, signal: abort.signal });
    clearInterval(timer);
    expect(stopped).toMatchObject({ stopped: "signal", steps: 0 });
    const path = join(folder.path, `${mode}-${threads}`);
    await first.save(path);
    await first.close();
    // Three threads' group is finished by one.
    const next = threads === 3 ? await init({ threads: 1, engine: "wasm", maxBytes: 2 ** 27 }) : job;
    const second = next.trainer(dense, options);
    await second.load(path);
    expect(await second.fit(data, quiet)).toMatchObject({ stopped: "finished", steps: 1 });
    const { error, where } = difference(lasting(await learnt(second, data)), expected);
    expect(error, where).toBeLessThan(1e-6);
    const other = job.trainer(dense, { ...options, strategy: { mode, ema: 0.5 } });
    await expect(other.load(path)).rejects.toThrow(/has besides .*merged#0.*its strategy .*"gradientMerge":100000/);
    for (const trainer of [whole, second, other]) await trainer.close();
    if (next !== job) await next.close();
  });
});

describe("two threads without locks", () => {
  let job: Job;
  beforeAll(async () => {
    job = await init({ threads: 2, engine: "wasm", maxBytes: 2 ** 27 });
  });
  afterAll(() => job.close());

  test("each gathers its own steps, and both groups left at the end of the epoch are applied", async () => {
    const data = clicks(large.path, 16);
    const strategy = { mode: "async", gradientMerge: 7, clip: { globalNorm: 10 } } as const;
    const trainer = job.trainer(dense, { strategy, optimizer: adam({ lr: 0.02 }) });
    const before = await trainer.evaluate(data);
    const fit = await trainer.fit(data, { epochs: 2, ...quiet });
    // 750 batches make 107 groups and one batch, shared out as the threads come.
    expect(fit.steps).toBeGreaterThanOrEqual(2 * 108);
    expect(fit.steps).toBeLessThanOrEqual(2 * 109);
    const after = await trainer.evaluate(data);
    expect(after.loss).toBeLessThan(before.loss - 0.03);
    await trainer.close();
  });

  test("a trainer without averages or with fewer loads a checkpoint only where nothing is lost", async () => {
    const data = clicks(small.path, 16);
    const plain = job.trainer(dense, { optimizer: sgd() });
    await plain.fit(data, quiet);
    await plain.save(join(folder.path, "plain"));
    const averaging = job.trainer(dense, { optimizer: sgd(), strategy: { ema: 0.9, gradientMerge: 2 } });
    await averaging.load(join(folder.path, "plain"));
    const { parameters } = await averaging.session(data.layout);
    for (const name of parameters.trainableNames) {
      expect(parameters.view(averageName(name)), name).toEqual(parameters.view(name));
    }
    await averaging.save(join(folder.path, "averaging"));
    await expect(plain.load(join(folder.path, "averaging"))).rejects.toThrow(/has besides .*average.*"ema":0.9/);
    await plain.close();
    await averaging.close();
  });

  test.each([
    [sparse, { strategy: { gradientMerge: 2 } }, /gradientMerge: 2 does not serve models with tables, here "features"/],
    [sparse, { strategy: { clip: { norm: 1 } } }, /clip: \{"norm":1\} does not serve models with tables/],
    [sparse, { strategy: { clip: { globalNorm: 1 } } }, /take clip: \{ value \}/],
    [sparse, { optimizer: lamb() }, /optimizer lamb .* cannot move the rows of the table field "embedding"/],
    [dense, { optimizer: { default: adamw(), "**/gain": sgd() } }, /optimizer group "\*\*\/gain" takes nothing/],
    [
      dense,
      { optimizer: { default: adamw(), "**": sgd(), bias: sgd() } },
      /optimizer group "bias" takes nothing that an/,
    ],
  ] as const)("what does not combine is refused by name (%#)", async (model, options, message) => {
    const trainer = job.trainer(model, options);
    await expect(trainer.fit(clicks(small.path, 16), quiet)).rejects.toThrow(message);
    await trainer.close();
  });

  test("the averages are only there where they are kept", async () => {
    const data = clicks(small.path, 16);
    const trainer = job.trainer(dense);
    await expect(trainer.evaluate(data, { weights: "ema" })).rejects.toThrow(/strategy: \{ ema: 0\.999 \}/);
    await expect(trainer.fit(data, { weights: "ema", ...quiet })).rejects.toThrow(/strategy: \{ ema: 0\.999 \}/);
    await expect(trainer.predict(data, { weights: "mean" as never })).rejects.toThrow(/"trained" or "ema", got "mean"/);
    await expect(trainer.predict(data, { wieghts: "ema" } as never)).rejects.toThrow(/unknown option "wieghts"/);
    await trainer.close();
  });
});

test("random numbers do not repeat within a group or from group to group", () => {
  const cell = { f32: () => new Float32Array(2) } as never;
  const progress = new MergeProgress(cell, { steps: 3, batch: 2, progress: 0 }, true);
  const seeds: number[] = [];
  for (const step of [0, 1, 2]) {
    for (const due of [false, false, true]) {
      seeds.push(progress.seedStep(step));
      expect(progress.add(2)).toBe(due);
    }
    expect(progress.weight).toBe(6);
    progress.clear();
  }
  expect(new Set(seeds).size).toBe(9);
});
