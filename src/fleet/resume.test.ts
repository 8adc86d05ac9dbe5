// Saving, loading, pausing and going on: nothing may be lost, repeated or changed by an interruption.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { deepFM, logisticRegression } from "../models/index.ts";
import { adagrad, adam, ftrl } from "../optim/index.ts";
import { randomFrom } from "../program/testing.ts";
import type { FitResult } from "./fit-options.ts";
import { init, type Job } from "./job.ts";
import { readTrainerState } from "./saved-state.ts";
import {
  abortAfter,
  clickColumns,
  clickFile,
  clicks,
  difference,
  learnt,
  type Numbers,
  temporaryFolder,
} from "./testing.ts";
import type { Trainer, TrainerOptions } from "./trainer.ts";

const folder = temporaryFolder();
afterAll(() => folder.dispose());
const train = clickFile(folder.path, "train.csv", 9000, 1);
const more = clickFile(folder.path, "more.csv", 7001, 2);
const held = clickFile(folder.path, "held.csv", 3000, 3);
const model = deepFM({ ...clickColumns, dim: 4, hidden: [8], dropout: 0.2, norm: "batch" });
const schedule = { kind: "warmup", warmup: 50, after: { kind: "cosine", lr: 0.02, total: 3000 } } as const;
const options: TrainerOptions = { optimizer: { default: adam({ lr: schedule }), linear: ftrl({ lr: 0.1 }) }, seed: 9 };
const paths = [train.path, more.path];

let saves = 0;

/** Saves a trainer, closes it and returns a new one that has loaded the checkpoint. */
async function reborn(job: Job, trainer: Trainer, options: TrainerOptions): Promise<Trainer> {
  const path = join(folder.path, `checkpoint-${saves++}`);
  await trainer.save(path);
  await trainer.close();
  const next = job.trainer(trainer.model, options);
  await next.load(path);
  return next;
}

describe("one thread", () => {
  let job: Job;
  beforeAll(async () => {
    job = await init({ threads: 1, engine: "wasm", maxBytes: 2 ** 28 });
  });
  afterAll(() => job.close());

  test.each([
    ["file order", { order: "file" }],
    ["shuffled rows", { shuffle: 4, shuffleWindow: 400 }],
  ] as const)("interrupted at random and reloaded, with %s, ends with the same bits", async (_, reading) => {
    const dataset = clicks(paths, 16, reading as never);
    const epochs = 2;
    const whole = job.trainer(model, options);
    await whole.fit(dataset, { epochs, progress: false });
    const expected = await learnt(whole, dataset);
    const { data: _data, seconds: _seconds, ...place } = whole.state;
    await whole.close();

    const random = randomFrom(17);
    let trainer = job.trainer(model, options);
    let stopped: FitResult["stopped"] = "signal";
    let interruptions = 0;
    while (stopped === "signal") {
      const { signal, stop } = await abortAfter(trainer, dataset, Math.floor(random() * 6));
      ({ stopped } = await trainer.fit(dataset, { epochs, progress: false, signal }));
      stop();
      interruptions++;
      if (random() < 0.5) trainer = await reborn(job, trainer, options);
    }
    expect(interruptions).toBeGreaterThan(1);
    expect(trainer.state).toMatchObject(place);
    const { error, where } = difference(await learnt(trainer, dataset), expected);
    expect(error, where).toBe(0);
    await trainer.close();
  });

  test("a loaded trainer predicts the same to the bit", async () => {
    const [dataset, test] = [clicks(paths, 64), clicks(held.path, 64)];
    const trainer = job.trainer(model, options);
    await trainer.fit(dataset, { progress: false });
    const before = await trainer.predict(test);
    const metrics = await trainer.evaluate(test);
    const loaded = await reborn(job, trainer, options);
    expect([...(await loaded.predict(test))]).toEqual([...before]);
    expect(await loaded.evaluate(test)).toEqual(metrics);
    await loaded.close();
  });

  test("loading replaces what a trainer has learnt", async () => {
    const dataset = clicks(more.path, 64);
    const path = join(folder.path, "replaced");
    const trainer = job.trainer(model, options);
    await trainer.fit(dataset, { progress: false });
    await trainer.save(path);
    const [numbers, state] = [await learnt(trainer, dataset), trainer.state];
    await trainer.fit(clicks(train.path, 64), { epochs: 2, progress: false });
    expect(difference(await learnt(trainer, dataset), numbers).error).toBeGreaterThan(0);
    await trainer.load(path);
    expect(difference(await learnt(trainer, dataset), numbers).error).toBe(0);
    expect(trainer.state).toEqual(JSON.parse(JSON.stringify(state)));
    await trainer.close();
  });

  test("an aborted signal stops before the first step; calling fit again does the rest", async () => {
    const dataset = clicks(more.path, 64);
    const trainer = job.trainer(model, options);
    const stopped = await trainer.fit(dataset, { signal: AbortSignal.abort(), progress: false });
    expect(stopped).toMatchObject({ stopped: "signal", samples: 0, steps: 0, epochs: 0 });
    expect(await trainer.fit(dataset, { progress: false })).toMatchObject({ samples: 7001, epochs: 1 });
    expect(await trainer.fit(dataset, { progress: false })).toMatchObject({
      samples: 0,
      epochs: 1,
      stopped: "finished",
    });
    expect(await trainer.fit(dataset, { epochs: 3, progress: false })).toMatchObject({ samples: 14_002, epochs: 3 });
    await trainer.close();
  });

  test("what cannot be loaded is refused with the reason", async () => {
    const path = join(folder.path, "refused");
    const trainer = job.trainer(model, options);
    await expect(trainer.save(path)).rejects.toThrow(
      "save: there is nothing to save before fit, load or importWeights",
    );
    await trainer.fit(clicks(more.path, 64), { progress: false });
    await trainer.save(path);
    await trainer.close();
    const refused = async (make: () => Trainer, message: string | RegExp): Promise<void> => {
      const other = make();
      await expect(other.load(path)).rejects.toThrow(message);
      await other.close();
    };
    await refused(
      () => job.trainer(logisticRegression(clickColumns), options),
      /holds deepFM .* this trainer's model is logis/,
    );
    await refused(() => job.trainer(model), /has besides .*moment1.* its optimizers were .*adam.*: use the same/s);
    await refused(() => job.trainer(model, { optimizer: adagrad() }), /lacks .*sum/);
    const fresh = job.trainer(model, options);
    await expect(fresh.load(join(folder.path, "nowhere"))).rejects.toThrow("nowhere");
    await fresh.load(path);
    await expect(fresh.fit(clicks(more.path, 32), { progress: false })).rejects.toThrow(
      "this trainer works on batches of 64 rows of label[1], weight[1], dense[2], categorical[3], tags[3]; the dataset gives batches of 32 rows",
    );
    await fresh.close();
  });

  test("a checkpoint says what trainer wrote it", async () => {
    const path = join(folder.path, "described");
    const trainer = job.trainer(model, options);
    await trainer.fit(clicks(more.path, 64), { progress: false });
    await trainer.save(path);
    const saved = await readTrainerState(path);
    expect(saved.model).toEqual({ name: "deepFM", config: model.config });
    expect(saved.optimizers.linear).toEqual(ftrl({ lr: 0.1 }));
    expect(saved).toMatchObject({ seed: 9, strategy: { mode: "async" }, layout: { batch: 64 } });
    expect(saved.training).toMatchObject({ epoch: 1, samples: 7001, step: Math.ceil(7001 / 64) });
    await trainer.close();
  });
});

describe.each([
  ["async", 2],
  ["sync", 3],
] as const)("%s with %i threads", (mode, threads) => {
  let job: Job;
  beforeAll(async () => {
    job = await init({ threads, engine: "wasm", maxBytes: 2 ** 28 });
  });
  afterAll(() => job.close());

  test("interruptions lose and repeat no row", async () => {
    const dataset = clicks(paths, 32, { shuffle: 2, shuffleWindow: 300, readers: 2 });
    const trainerOptions = { ...options, strategy: { mode } };
    const random = randomFrom(5);
    let trainer = job.trainer(model, trainerOptions);
    let stopped: FitResult["stopped"] = "signal";
    let samples = 0;
    while (stopped === "signal") {
      const { signal, stop } = await abortAfter(trainer, dataset, Math.floor(random() * 6));
      const result = await trainer.fit(dataset, { epochs: 2, progress: false, signal });
      stop();
      ({ stopped } = result);
      samples += result.samples;
      expect(trainer.state.samples).toBe(samples);
      if (random() < 0.5) trainer = await reborn(job, trainer, trainerOptions);
    }
    expect(samples).toBe(2 * 16_001);
    expect(trainer.state).toMatchObject({ epoch: 2, samples });
    await trainer.close();
  });

  test("another number of threads goes on where this one stopped", async () => {
    const dataset = clicks(paths, 32);
    const trainer = job.trainer(model, { ...options, strategy: { mode } });
    const { signal, stop } = await abortAfter(trainer, dataset, 5);
    const first = await trainer.fit(dataset, { progress: false, signal });
    stop();
    expect(first.samples).toBeLessThan(16_001);
    const path = join(folder.path, `threads-${mode}`);
    await trainer.save(path);
    const numbers: Numbers = await learnt(trainer, dataset);
    await trainer.close();
    const single = await init({ threads: 1, engine: "wasm", maxBytes: 2 ** 28 });
    const next = single.trainer(model, options);
    await next.load(path);
    expect(difference(await learnt(next, dataset), numbers).error).toBe(0);
    expect((await next.fit(dataset, { progress: false })).samples).toBe(16_001 - first.samples);
    await single.close();
  });
});
