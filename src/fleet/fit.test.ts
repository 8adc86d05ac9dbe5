// The training loop as a user steers it: records, schedules, evaluations, early stop, checkpoints, callbacks, bad lines.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { deepFM, logisticRegression } from "../models/index.ts";
import { adam, ftrl, learningRateAt, sgd } from "../optim/index.ts";
import type { EvaluationRecord, MetricsRecord, TrainRecord } from "../report/index.ts";
import { init, type Job } from "./job.ts";
import { RunFolder } from "./run-folder.ts";
import { readTrainerState } from "./saved-state.ts";
import {
  clickColumns,
  clickFile,
  clicks,
  difference,
  fitWatched,
  learnt,
  temporaryFolder,
  writeLines,
} from "./testing.ts";

const folder = temporaryFolder();
const train = clickFile(folder.path, "train.csv", 8000, 1);
const held = clickFile(folder.path, "held.csv", 2000, 2);
const model = deepFM({ ...clickColumns, dim: 4, hidden: [8] });
const validation = clicks(held.path, 32);
const dataset = clicks(train.path, 32);
let job: Job;
beforeAll(async () => {
  job = await init({ threads: 2, engine: "wasm", maxBytes: 2 ** 28 });
});
afterAll(async () => {
  await job.close();
  folder.dispose();
});
const trainRecords = (records: readonly MetricsRecord[]): TrainRecord[] =>
  records.filter((record) => record.type === "train");
const evaluations = (records: readonly MetricsRecord[]): EvaluationRecord[] =>
  records.filter((record) => record.type === "evaluation");

test("records tell what was trained, at what rate, and add up", async () => {
  const lr = { kind: "cosine", lr: 0.05, total: 500, floor: 0.001 } as const;
  const trainer = job.trainer(model, { optimizer: adam({ lr }) });
  const records: MetricsRecord[] = [];
  const fit = await fitWatched(trainer, dataset, { epochs: 2, onRecord: (record) => records.push(record) });
  const windows = trainRecords(records);
  expect(windows.length).toBeGreaterThan(2);
  expect(windows.at(-1)).toMatchObject({ samples: 16_000, step: fit.steps, epoch: 1 });
  for (const [i, { step, samples, seconds, learningRate, loss, samplesPerSecond }] of windows.entries()) {
    const before = windows[i - 1] ?? { step: 0, samples: 0, seconds: 0 };
    expect(step).toBeGreaterThanOrEqual(before.step);
    expect(samples).toBeGreaterThan(before.samples);
    expect(seconds).toBeGreaterThan(before.seconds);
    expect(learningRate).toBe(learningRateAt(lr, step));
    expect(samplesPerSecond).toBeCloseTo((samples - before.samples) / (seconds - before.seconds), 3);
    expect(loss).toBeGreaterThan(0);
  }
  expect(fit).toMatchObject({ samples: 16_000, epochs: 2, stopped: "finished" });
  expect(fit.samplesPerSecond).toBeCloseTo(16_000 / fit.seconds, 3);
  expect(trainer.parameterCount).toBe(1 + 2 + (4 * 4 + 2) * 8 + 8 + 8 + trainer.tableSizes.features! * 5);
  await trainer.close();
});

test("a schedule drives the updates: with a rate that falls to 0, later epochs change nothing", async () => {
  const lr = { kind: "polynomial", lr: 0.1, total: 100 } as const;
  const trainer = job.trainer(model, { optimizer: sgd({ lr }) });
  await trainer.fit(dataset, { progress: false });
  const before = await learnt(trainer, dataset);
  await trainer.fit(dataset, { epochs: 2, progress: false });
  expect(difference(await learnt(trainer, dataset), before).error).toBe(0);
  await trainer.close();
});

test("evaluates every so many rows and after each epoch, and trains on each row once all the same", async () => {
  const trainer = job.trainer(model, { optimizer: adam({ lr: 0.01 }) });
  const records: MetricsRecord[] = [];
  const fit = await fitWatched(trainer, dataset, {
    epochs: 2,
    validation,
    evaluateEvery: 1000,
    onRecord: (record) => records.push(record),
  });
  const points = evaluations(records);
  expect(points.length).toBeGreaterThan(3);
  const ends = points.filter(({ samples }) => samples % 8000 === 0);
  expect(new Set(ends.map(({ samples }) => samples))).toEqual(new Set([8000, 16_000]));
  for (const [i, { samples }] of points.entries()) {
    const since = samples - (points[i - 1]?.samples ?? 0);
    expect(since >= 1000 || samples % 8000 === 0, `${samples}`).toBe(true);
  }
  expect(fit.samples).toBe(16_000);
  const { auc, loss } = await trainer.evaluate(validation);
  expect(fit.evaluation!.loss).toBeCloseTo(loss, 12);
  expect(points.at(-1)).toMatchObject({ auc, loss: fit.evaluation!.loss, epoch: 2 });
  await trainer.close();
});

test("stops early when the metric no longer improves, and says so", async () => {
  const trainer = job.trainer(model, { optimizer: sgd({ lr: 1e-30 }) });
  const records: MetricsRecord[] = [];
  const fit = await trainer.fit(dataset, {
    epochs: 10,
    validation,
    earlyStop: { patience: 2 },
    progress: false,
    onRecord: (record) => records.push(record),
  });
  expect(fit).toMatchObject({ stopped: "early-stop", epochs: 3 });
  expect(evaluations(records).length).toBe(3);
  expect(records.at(-1)).toMatchObject({
    type: "event",
    message: "stopped early: auc has not improved for 2 evaluations",
  });
  expect(trainer.state.best).toEqual({ value: fit.evaluation!.auc, since: 2 });
  await trainer.close();
});

test("early stop by the loss counts only changes of minDelta", async () => {
  const trainer = job.trainer(model, { optimizer: adam({ lr: 0.003 }) });
  const losses: number[] = [];
  const fit = await trainer.fit(dataset, {
    epochs: 30,
    validation,
    earlyStop: { metric: "loss", minDelta: 0.02 },
    progress: false,
    onRecord: (record) => {
      if (record.type === "evaluation") losses.push(record.loss);
    },
  });
  expect(fit.stopped).toBe("early-stop");
  expect(losses.length).toBeGreaterThan(1);
  const gains = losses.slice(1).map((loss, i) => losses[i]! - loss);
  expect(gains.slice(0, -1).every((gain) => gain > 0.02)).toBe(true);
  expect(gains.at(-1)).toBeLessThanOrEqual(0.02);
  await trainer.close();
});

test("keeps records and checkpoints in the run's folder, from which another trainer goes on", async () => {
  const single = await init({ threads: 1, engine: "wasm", maxBytes: 2 ** 28 });
  const optimizer = adam({ lr: 0.01 });
  const run = await RunFolder.create(join(folder.path, "run"), { lr: 0.01 });
  const trainer = single.trainer(model, { optimizer });
  const records: MetricsRecord[] = [];
  const onRecord = (record: MetricsRecord) => records.push(record);
  await fitWatched(trainer, dataset, { epochs: 2, run, checkpointSeconds: 0.05, validation, onRecord });
  const lines = readFileSync(join(run.path, "metrics.jsonl"), "utf8").trim().split("\n");
  expect(lines.map((line) => JSON.parse(line))).toEqual(JSON.parse(JSON.stringify(records)));

  const resumed = single.trainer(model, { optimizer });
  await resumed.load(run.checkpoint);
  expect(resumed.state.samples).toBeLessThanOrEqual(16_000);
  await resumed.fit(dataset, { epochs: 2, progress: false });
  const { error, where } = difference(await learnt(resumed, dataset), await learnt(trainer, dataset));
  expect(error, where).toBe(0);
  await single.close();
});

test("epochs too short for a look in between leave checkpoints all the same", async () => {
  const run = await RunFolder.create(join(folder.path, "short"), {});
  const trainer = job.trainer(model);
  await trainer.fit(dataset, { epochs: 2, run, checkpointSeconds: 0, progress: false });
  expect((await readTrainerState(run.checkpoint)).training).toEqual(trainer.state);
});

test("groups train by optimizers of their own", async () => {
  const trainer = job.trainer(logisticRegression(clickColumns), {
    optimizer: { default: sgd({ lr: 0.01 }), linear: ftrl({ lr: 0.1, l1: 1e4 }) },
  });
  await trainer.fit(dataset, { progress: false });
  const numbers = [...(await learnt(trainer, dataset))];
  const weights = numbers.filter(([name]) => name.startsWith("features/linear["));
  expect(weights.length).toBe(trainer.tableSizes.features);
  expect(weights.every(([, [weight]]) => weight === 0)).toBe(true);
  expect(numbers.find(([name]) => name === "bias")![1][0]).not.toBe(0);
  expect(numbers.map(([name]) => name)).not.toContain("bias/z");
  await trainer.close();
});

test("skips bad lines with a count and the first of them", async () => {
  const path = join(folder.path, "some-bad.csv");
  const lines = train.lines.slice(0, 500).map((line, i) => (i % 100 === 7 ? "1,not a number" : line));
  writeLines(path, lines);
  const trainer = job.trainer(model);
  const fit = await trainer.fit(clicks(path, 32, { onBadLine: "skip" } as never), { progress: false });
  expect(fit.samples).toBe(495);
  expect(fit.badLines.count).toBe(5);
  expect(fit.badLines.first.map((text) => text.match(/some-bad\.csv:(\d+)/)?.[1])).toEqual([
    "8",
    "108",
    "208",
    "308",
    "408",
  ]);
  await trainer.close();
});

test("a file without rows is an epoch without steps", async () => {
  const path = join(folder.path, "empty.csv");
  writeLines(path, []);
  const empty = clicks(path, 32);
  const trainer = job.trainer(model);
  expect(await trainer.fit(empty, { progress: false })).toMatchObject({
    samples: 0,
    steps: 0,
    epochs: 1,
    samplesPerSecond: 0,
  });
  expect((await trainer.predict(empty)).length).toBe(0);
  expect(await trainer.evaluate(empty)).toMatchObject({ samples: 0, auc: Number.NaN });
  await trainer.close();
});

test("a profile has a table for each thread", async () => {
  const trainer = job.trainer(model);
  const { profiles } = await trainer.fit(dataset, { profile: true, progress: false });
  expect(profiles?.length).toBe(2);
  for (const table of profiles!) expect(table).toMatch(/a run \(\d+ measured\)[\s\S]*scatter_update/);
  await trainer.close();
});

test("two trainers of a job work at the same time without mixing", async () => {
  const [a, b] = [job.trainer(model, { seed: 1 }), job.trainer(model, { seed: 2 })];
  await a.fit(dataset, { progress: false });
  const alone = [await a.predict(validation), await b.predict(validation)];
  const [together] = await Promise.all([
    Promise.all([a.predict(validation), b.predict(validation)]),
    job.trainer(model, { seed: 3 }).fit(dataset, { progress: false }),
  ]);
  for (const i of [0, 1]) expect([...together[i]!]).toEqual([...alone[i]!]);
  await Promise.all([a.close(), b.close()]);
});

test("predictions come piece by piece, and may be left in the middle", async () => {
  const trainer = job.trainer(model);
  const long = clicks([held.path, train.path], 4);
  const all = await trainer.predict(long);
  let rows = 0;
  for await (const piece of trainer.predictions(long)) {
    expect([...piece]).toEqual([...all.subarray(rows, rows + piece.length)]);
    rows += piece.length;
    if (rows > 300) break;
  }
  expect(rows).toBeLessThan(all.length);
  expect((await trainer.evaluate(long)).samples).toBe(10_000);
  await trainer.close();
});
