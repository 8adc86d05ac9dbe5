// The contract suite of training modes: what holds for every strategy, number of threads and engine.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { relativeError } from "../engine/testing.ts";
import { auc, type BinaryMetrics, logLoss } from "../metrics/index.ts";
import { deepFM } from "../models/index.ts";
import { adagrad, adam, ftrl, sgd } from "../optim/index.ts";
import { type InitOptions, init, type Job } from "./job.ts";
import type { StrategyOptions } from "./strategy.ts";
import {
  clickColumns,
  clickFile,
  clicks,
  difference,
  learnt,
  PlainTrainer,
  temporaryFolder,
  writeLines,
} from "./testing.ts";

interface World {
  readonly mode: NonNullable<StrategyOptions["mode"]>;
  readonly threads: number;
}

const worlds: readonly World[] = [
  { mode: "async", threads: 1 },
  { mode: "async", threads: 2 },
  { mode: "sync", threads: 1 },
  { mode: "sync", threads: 2 },
  { mode: "sync", threads: 3 },
];

export function trainingContract(engine: NonNullable<InitOptions["engine"]>): void {
  const folder = temporaryFolder();
  afterAll(() => folder.dispose());
  const train = clickFile(folder.path, "train.csv", 24_000, 1);
  const held = clickFile(folder.path, "held.csv", 8_000, 2);
  const small = clickFile(folder.path, "small.csv", 331, 3);
  const model = deepFM({ ...clickColumns, dim: 4, hidden: [8, 6], activation: "tanh", embeddingScale: 0.1 });

  describe.each(worlds)("$mode with $threads threads", ({ mode, threads }) => {
    let job: Job;
    beforeAll(async () => {
      job = await init({ threads, engine, maxBytes: 2 ** 28 });
    });
    afterAll(() => job.close());
    const strategy = { mode };
    /** Whether the same data always gives the same numbers. */
    const ordered = mode === "sync" || threads === 1;
    const batch = mode === "sync" ? 96 / threads : 96;

    test("learns to within 0.005 of the best possible AUC, and tells it rightly", async () => {
      const lr = { kind: "cosine", lr: 0.02, total: 750 } as const;
      const trainer = job.trainer(model, { strategy, optimizer: adam({ lr }) });
      const fit = await trainer.fit(clicks(train.path, batch, { shuffle: 1 }), { epochs: 3, progress: false });
      expect(fit).toMatchObject({ samples: 3 * 24_000, epochs: 3, stopped: "finished" });
      if (threads === 1) expect(fit.steps).toBe(3 * Math.ceil(24_000 / 96));
      const metrics = await trainer.evaluate(clicks(held.path, batch));
      const best = auc({ scores: held.bestLogits, labels: held.labels });
      expect(metrics.auc).toBeGreaterThan(best - 0.005);
      const probabilities = await trainer.predict(clicks(held.path, batch));
      expectMetrics(metrics, probabilities, held.labels);
      await trainer.close();
    });

    test("predicts in the order of the files", async () => {
      const trainer = job.trainer(model, { strategy, optimizer: sgd({ lr: 0.3 }) });
      await trainer.fit(clicks(small.path, batch), { progress: false });
      const forth = await trainer.predict(clicks([held.path, small.path], batch, { shuffle: 3 }));
      expect(forth.length).toBe(331 + 8000);
      const back = `${folder.path}/back-${mode}-${threads}.csv`;
      writeLines(back, [...held.lines, ...small.lines].toReversed());
      const backwards = (await trainer.predict(clicks(back, batch))).toReversed();
      // Where a row stands in its batch decides which lanes compute it.
      expect(relativeError([...backwards], [...forth])).toBeLessThan(1e-5);
      expect(new Set(forth).size).toBeGreaterThan(2000);
      await trainer.close();
    });

    test("is free of leaks", async () => {
      const before = job.heap.liveBytes;
      for (let round = 0; round < 2; round++) {
        const trainer = job.trainer(model, { strategy, optimizer: adam() });
        await trainer.fit(clicks(small.path, batch), { validation: clicks(held.path, batch), progress: false });
        await trainer.predict(clicks(small.path, batch));
        await trainer.close();
      }
      // oneDNN's argument lists go when the garbage collector finds them unused.
      expect(job.heap.liveBytes - before).toBeLessThanOrEqual(engine === "onednn" ? 65_536 : 0);
    });

    if (!ordered) return;

    test.each([
      ["one optimizer", { default: adagrad({ lr: 0.1, initialAccumulator: 0.1 }) }],
      ["optimizer groups", { default: adam({ lr: 0.02, epsilon: 1e-3 }), linear: ftrl({ lr: 0.3, l1: 0.01 }) }],
    ])("with %s trains as the float64 interpreter does on the union of the threads' batches", async (_, optimizer) => {
      const dataset = clicks(small.path, batch / 4, { order: "file" });
      const plain = new PlainTrainer(model, dataset, { optimizers: optimizer, batch: 24 });
      const losses = [...(await plain.epoch()), ...(await plain.epoch())];
      const trainer = job.trainer(model, { strategy, optimizer });
      const records: number[] = [];
      const fit = await trainer.fit(dataset, {
        epochs: 2,
        progress: false,
        onRecord: (record) => {
          if (record.type === "train") records.push(record.loss);
        },
      });
      expect(fit.steps).toBe(losses.length);
      const { error, where } = difference(await learnt(trainer, dataset), plain.numbers);
      expect(error, where).toBeLessThan(2e-4);
      await trainer.close();
    });

    // oneDNN takes the ways to multiply that were fastest when it tried them, unless a strategy is deterministic.
    const deterministic = mode === "sync";
    if (engine === "onednn" && !deterministic) return;

    test("repeats itself to the bit", async () => {
      const dataset = clicks(train.path, batch, { order: "file" });
      const noisy = deepFM({ ...clickColumns, dim: 4, hidden: [8], dropout: 0.3, norm: "batch" });
      const once = async () => {
        const trainer = job.trainer(noisy, { strategy: { mode, deterministic }, seed: 5 });
        await trainer.fit(dataset, { progress: false });
        const numbers = await learnt(trainer, dataset);
        await trainer.close();
        return numbers;
      };
      const { error, where } = difference(await once(), await once());
      expect(error, where).toBe(0);
    });
  });
}

/** The metrics of an evaluation are those of the predictions. */
function expectMetrics(metrics: BinaryMetrics, probabilities: Float32Array, labels: Float32Array): void {
  const scores = probabilities.map((p) => Math.log(p / (1 - p)));
  expect(metrics.samples).toBe(labels.length);
  expect(metrics.auc).toBeCloseTo(auc({ scores, labels }), 6);
  expect(metrics.loss).toBeCloseTo(logLoss({ probabilities, labels }), 5);
  const mean = (values: Float32Array): number => values.reduce((a, b) => a + b, 0) / values.length;
  expect(metrics.meanPrediction).toBeCloseTo(mean(probabilities), 5);
  expect(metrics.calibration).toBeCloseTo(mean(probabilities) / mean(labels), 4);
}
