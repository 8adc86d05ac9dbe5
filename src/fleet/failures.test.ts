// What goes wrong in training must end in a message that says what and where, without hanging, and leave the rest usable.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { deepFM, logisticRegression, type Model } from "../models/index.ts";
import { adagrad, adam, sgd } from "../optim/index.ts";
import { init, type Job } from "./job.ts";
import { abortAfter, clickColumns, clickFile, clicks, fitWatched, temporaryFolder, writeLines } from "./testing.ts";

const folder = temporaryFolder();
afterAll(() => folder.dispose());
const train = clickFile(folder.path, "train.csv", 6000, 1);
const held = clickFile(folder.path, "held.csv", 500, 2);
const model = deepFM({ ...clickColumns, dim: 4, hidden: [8] });
const dataset = clicks(train.path, 16);
const quiet = { progress: false };
const MIB = 2 ** 20;

describe("options", () => {
  let job: Job;
  beforeAll(async () => {
    job = await init({ threads: 1, engine: "wasm", maxBytes: 64 * MIB });
  });
  afterAll(() => job.close());

  test.each([
    [{ thread: 2 }, /fleet\.init: .*thread.*options: threads, engine, maxBytes/s],
    [{ threads: 0 }, /fleet\.init: .*threads/s],
    [{ engine: "cuda" }, /fleet\.init: .*engine/s],
    [{ maxBytes: 1 }, /fleet\.init: .*maxBytes/s],
  ])("of a job: %j", async (options, message) => {
    await expect(init(options as never)).rejects.toThrow(message);
  });

  test.each([
    [{ optimiser: adam() }, /unknown option "optimiser"; allowed: optimizer, strategy, seed/],
    [{ optimizer: { linear: adam() } }, /groups need one called `default`/],
    [{ optimizer: { name: "lion" } }, /optimizer "lion" is unknown/],
    [{ strategy: { mode: "hogwild" } }, /strategy: .*mode.*modes: async, sync/s],
    [{ strategy: { modes: "sync" } }, /strategy: .*modes.*switches: mode/s],
    [{ strategy: { deterministic: true } }, /deterministic: true does not combine with mode "async"/],
    [{ strategy: { recompute: { segments: 1 } } }, /strategy: .*recompute.*segments/s],
    [{ seed: -1 }, /trainer: seed must be an integer from 0 to 4294967295, got -1/],
  ])("of a trainer: %j", (options, message) => {
    expect(() => job.trainer(model, options as never)).toThrow(message);
  });

  test.each([
    [{ epoch: 3 }, /fit: .*epoch.*options: epochs, validation/s],
    [{ epochs: 0 }, /fit: .*epochs/s],
    [{ validation: held.path }, /fit: .*must be a dataset.*validation/s],
    [{ evaluateEvery: 100 }, /fit: evaluateEvery needs held-out data/],
    [{ earlyStop: {} }, /fit: earlyStop needs held-out data/],
    [{ validation: dataset, earlyStop: { metric: "recall" } }, /fit: .*metric/s],
  ])("of fit: %j", async (options, message) => {
    const trainer = job.trainer(model);
    await expect(trainer.fit(dataset, options as never)).rejects.toThrow(message);
    await trainer.close();
  });

  test("an optimizer group that the model does not have", async () => {
    const trainer = job.trainer(model, { optimizer: { default: adam(), linaer: sgd() } });
    await expect(trainer.fit(dataset, quiet)).rejects.toThrow(
      'optimizer group "linaer" takes nothing that an earlier one leaves: it is no group of parameters (default), no table field (embedding, linear) and matches no parameter (bias, linear/weight, ',
    );
    await trainer.close();
  });

  test("data of another layout, also for the evaluation at the end, is refused before the first step", async () => {
    const trainer = job.trainer(model);
    const other = clicks(held.path, 32);
    const message = "this trainer works on batches of 16 rows of label[1]";
    await expect(trainer.fit(dataset, { ...quiet, validation: other })).rejects.toThrow(message);
    expect(trainer.state.samples).toBe(0);
    await trainer.fit(dataset, quiet);
    await expect(trainer.evaluate(other)).rejects.toThrow(message);
    await expect(trainer.predict(other)).rejects.toThrow(message);
    expect((await trainer.predict(clicks(held.path, 16))).length).toBe(500);
    await trainer.close();
  });
});

describe("models", () => {
  const failing: readonly [what: string, forward: Model["forward"], message: RegExp][] = [
    [
      "that throws",
      () => {
        throw new Error("no such layer");
      },
      /no such layer/,
    ],
    [
      "with logits of another shape",
      ({ dense }) => dense!,
      /model own gives logits of shape \[16,2\] for a batch of 16 rows/,
    ],
    [
      "that asks for a column that is not there",
      (columns) => columns.age!,
      /no input age: the model gets label, weight, dense/,
    ],
    ["with shapes that do not fit", ({ dense, label }) => dense!.matmul(label!), /matmul/],
  ];

  test.each(failing)("a model %s says so, and takes no memory", async (_, forward, message) => {
    const job = await init({ threads: 2, engine: "wasm", maxBytes: 64 * MIB });
    const before = job.heap.liveBytes;
    const trainer = job.trainer({ name: "own", config: {}, forward });
    await expect(trainer.fit(dataset, quiet)).rejects.toThrow(message);
    await trainer.close();
    expect(job.heap.liveBytes).toBe(before);
    await job.close();
  });

  test("a model that does not fit in the heap leaves room for one that does", async () => {
    const job = await init({ threads: 2, engine: "wasm", maxBytes: 32 * MIB });
    const before = job.heap.liveBytes;
    const large = job.trainer(deepFM({ ...clickColumns, dim: 4, hidden: [3000, 3000] }));
    await expect(large.fit(dataset, quiet)).rejects.toThrow(
      /model deepFM does not fit: with batches of 16 rows it needs \d+ MB: parameters .*; [\d.]+ MB of the heap's 33\.6 MB are free\. What helps: .*fleet\.init/,
    );
    expect(job.heap.liveBytes).toBe(before);
    const trainer = job.trainer(model);
    expect((await trainer.fit(dataset, quiet)).samples).toBe(6000);
    await job.close();
  });
});

describe.each([
  ["async", 1],
  ["async", 2],
  ["sync", 3],
] as const)("%s with %i threads", (mode, threads) => {
  const strategy = { mode };
  let job: Job;
  beforeAll(async () => {
    job = await init({ threads, engine: "wasm", maxBytes: 64 * MIB });
  });
  afterAll(() => job.close());

  test("numbers that are not finite end training with the step and the rate", async () => {
    const trainer = job.trainer(model, { strategy, optimizer: sgd({ lr: 1e25 }) });
    await expect(fitWatched(trainer, dataset, {})).rejects.toThrow(
      /training diverged: \d+ of the last \d+ outputs are not finite at step \d+, learning rate 1e\+25; lower the learning rate/,
    );
    await trainer.close();
  });

  test("debug.nan names the step, the rank, the instruction and the tensor", async () => {
    const trainer = job.trainer(model, {
      strategy: { ...strategy, debug: { nan: true } },
      optimizer: sgd({ lr: 1e38 }),
    });
    await expect(trainer.fit(dataset, quiet)).rejects.toThrow(
      /trainer thread \d: step \d+, rank 0: instruction #\d+ in \S+ wrote a number that is not finite at element \d+ of its result/,
    );
    await trainer.close();
  });

  test("a bad line ends fit with file and line; mended, the same trainer goes on", async () => {
    const path = join(folder.path, `bad-${mode}-${threads}.csv`);
    writeLines(path, train.lines.with(4321, "1,many,words"));
    const trainer = job.trainer(model, { strategy });
    for (let attempt = 0; attempt < 2; attempt++) {
      await expect(trainer.fit(clicks(path, 16), quiet)).rejects.toThrow(/bad-.*\.csv:4322/);
    }
    await expect(trainer.evaluate(clicks(path, 16))).rejects.toThrow(/bad-.*\.csv:4322/);
    await expect(trainer.predict(clicks(path, 16))).rejects.toThrow(/bad-.*\.csv:4322/);
    writeLines(path, train.lines);
    expect(await trainer.fit(clicks(path, 16), quiet)).toMatchObject({ samples: 6000, epochs: 1 });
    await trainer.close();
  });

  test("a missing file is named", async () => {
    const trainer = job.trainer(model, { strategy });
    await expect(trainer.fit(clicks(join(folder.path, "nowhere.csv"), 16), quiet)).rejects.toThrow("nowhere.csv");
    await trainer.close();
  });

  test("an error in a callback ends fit with that error", async () => {
    const trainer = job.trainer(model, { strategy });
    const onRecord = (): void => {
      throw new Error("the disk is full");
    };
    await expect(fitWatched(trainer, dataset, { onRecord })).rejects.toThrow("the disk is full");
    await expect(trainer.fit(dataset, { ...quiet, onRecord })).rejects.toThrow("the disk is full");
    expect((await trainer.fit(dataset, quiet)).samples).toBe(6000);
    await trainer.close();
  });

  test("a bad line that is met while a pause is under way ends fit, not the process", async () => {
    const path = join(folder.path, `paused-${mode}-${threads}.csv`);
    writeLines(path, [...train.lines, "1,many,words"]);
    const trainer = job.trainer(model, { strategy });
    const { signal, stop } = await abortAfter(trainer, dataset, 3);
    const outcome = await trainer.fit(clicks(path, 16), { ...quiet, signal }).catch((error: Error) => error);
    stop();
    if (outcome instanceof Error) expect(outcome.message).toContain(":6001");
    else expect(outcome.stopped).toBe("signal");
    await trainer.close();
  });

  test("a thread that fails ends fit with its error, and the others do not wait for it", async () => {
    const trainer = job.trainer(model, { strategy });
    const { keys } = await trainer.session(dataset.layout);
    const last = threads - 1;
    await job.pool.all((thread) => ({ type: "release", keys: thread === last ? [keys.train] : [] }));
    await expect(trainer.fit(dataset, quiet)).rejects.toThrow(new RegExp(`trainer thread ${last}.* has no plan`));
    expect((await trainer.evaluate(clicks(held.path, 16))).samples).toBe(500);
    await trainer.close();
  });

  test("rows that fill the heap end fit, and memory comes back", async () => {
    const path = join(folder.path, `rows-${mode}-${threads}.csv`);
    writeLines(
      path,
      Array.from({ length: 12_000 }, (_, i) => `${i % 2},0,0,a${i},b${i},c${i},`),
    );
    const small = await init({ threads, engine: "wasm", maxBytes: 16 * MIB });
    const before = small.heap.liveBytes;
    const trainer = small.trainer(deepFM({ ...clickColumns, dim: 64, hidden: [8] }), { strategy, optimizer: adam() });
    await expect(trainer.fit(clicks(path, 16), quiet)).rejects.toThrow(
      /trainer thread \d: .*table "features" of \d+ rows: .*heap is full/s,
    );
    await trainer.close();
    expect(small.heap.liveBytes).toBe(before);
    await small.close();
  });

  test("one thing at a time, and nothing after close", async () => {
    const trainer = job.trainer(model, { strategy });
    const fit = trainer.fit(dataset, quiet);
    await expect(trainer.fit(dataset, quiet)).rejects.toThrow("fit: this trainer is busy with fit; await it first");
    await expect(trainer.evaluate(dataset)).rejects.toThrow("evaluate: this trainer is busy with fit");
    await expect(trainer.predict(dataset)).rejects.toThrow("predict: this trainer is busy with fit");
    await expect(trainer.save(folder.path)).rejects.toThrow("save: this trainer is busy with fit");
    await expect(trainer.close()).rejects.toThrow("close: this trainer is busy with fit");
    expect((await fit).samples).toBe(6000);
    await trainer.close();
    await trainer.close();
    await expect(trainer.predict(dataset)).rejects.toThrow("predict: this trainer is closed; make a new one");
  });

  test("a job that is closed ends what its trainers do", async () => {
    const closing = await init({ threads, engine: "wasm", maxBytes: 64 * MIB });
    const trainer = closing.trainer(model, { strategy, optimizer: adagrad() });
    const { signal } = await abortAfter(trainer, dataset, 2);
    const fit = trainer.fit(dataset, { ...quiet, epochs: 1000 });
    const ended = expect(fit).rejects.toThrow(/trainer thread \d ended/);
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    await closing.close();
    await ended;
    await expect(trainer.evaluate(dataset)).rejects.toThrow("the job is closed");
    await trainer.close();
    expect(() => closing.trainer(logisticRegression(clickColumns))).toThrow("the job is closed");
  });
});
