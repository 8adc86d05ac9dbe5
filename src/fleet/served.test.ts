// Training against servers of partitions, through real sockets, beside training in one process.
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Coordinator, type World } from "../cluster/index.ts";
import { models, optim } from "../index.ts";
import { testServers } from "../ps/testing-servers.ts";
import { type InitOptions, init, type Job } from "./job.ts";
import type { StrategyOptions } from "./strategy.ts";
import {
  clickColumns,
  clickFile,
  clicks,
  difference,
  learnt,
  type Numbers,
  temporaryFolder,
  writeLines,
} from "./testing.ts";
import type { Trainer } from "./trainer.ts";

const folder = temporaryFolder();
// Smooth, so that a rounding changes a little, not a lot.
const model = (): ReturnType<typeof models.deepFM> =>
  models.deepFM({ ...clickColumns, dim: 4, hidden: [16, 8], activation: "tanh", embeddingScale: 0.1 });
const HEAP = 2 ** 28;

/** Everything that the servers hold of a trainer, in the form of `learnt`. */
async function served(trainer: Trainer, dataset: ReturnType<typeof clicks>): Promise<Numbers> {
  const { served: session } = await trainer.session(dataset.layout);
  const { state, names } = session!;
  const result = new Map<string, readonly number[]>();
  for (const [dense, name] of names.entries()) {
    result.set(name, [...(await state.dense(dense))]);
    for (const [slot, { name: own }] of state.slots(dense).entries()) {
      result.set(`${name}/${own}`, [...(await state.dense(dense, slot))]);
    }
  }
  for (const table of state.model.tables.keys()) {
    const { name, columns, chunks } = await state.table(table);
    for await (const { keys, columns: data } of chunks()) {
      for (const [row, key] of Array.from(keys).entries()) {
        for (const [i, { name: column, width }] of columns.entries()) {
          result.set(`${name}/${column}[${key}]`, [...data[i]!.subarray(row * width, (row + 1) * width)]);
        }
      }
    }
  }
  return result;
}

/** Runs workers of a job side by side, each as its own script would. */
async function asWorkers<T>(
  workers: number,
  addresses: readonly string[],
  options: InitOptions,
  script: (job: Job) => Promise<T>,
): Promise<T[]> {
  const servers = addresses.length;
  const coordinator = await Coordinator.start({ address: "tcp://127.0.0.1:0", workers, servers });
  const place = {
    job: "test",
    role: "worker",
    workers,
    servers,
    attempt: 0,
    coordinator: coordinator.address,
  } as const;
  try {
    return await Promise.all(
      Array.from({ length: workers }, async (_, rank) => {
        const world: World = { ...place, rank };
        const job = await init({ maxBytes: HEAP, ...options, world, servers: addresses });
        try {
          return await script(job);
        } finally {
          await job.close();
        }
      }),
    );
  } finally {
    await coordinator.close();
  }
}

const BATCH = 32;
const file = clickFile(folder.path, "all.csv", 23 * BATCH - 5, 1);
const data = clicks(file.path, BATCH, { order: "file" });

/** Data in which gradients that come late do not matter. */
const more = clicks(clickFile(folder.path, "more.csv", 12_000, 2).path, BATCH);

/** The batches of worker `rank`, taken in turns, as the threads of one process take them. */
function shareOf(rank: number, workers: number): ReturnType<typeof clicks> {
  const path = join(mkdtempSync(join(folder.path, "share-")), "share.csv");
  const lines = file.lines.filter((_, i) => Math.floor(i / BATCH) % workers === rank);
  writeLines(path, lines);
  return clicks(path, BATCH, { order: "file" });
}

async function inOneProcess(
  threads: number,
  strategy: StrategyOptions,
  optimizer = optim.adagrad({ lr: 0.1 }),
  dataset = data,
): Promise<{ numbers: Numbers; auc: number }> {
  const job = await init({ threads, maxBytes: HEAP });
  const trainer = job.trainer(model(), { optimizer, strategy });
  await trainer.fit(dataset, { epochs: 2, progress: false });
  const { auc } = await trainer.evaluate(dataset);
  const numbers = await learnt(trainer, dataset);
  await job.close();
  return { numbers, auc };
}

test.each([
  [1, 1],
  [2, 2],
  [3, 2],
])("sync over %i workers and %i servers equals one process on the union batch", async (workers, count) => {
  const reference = await inOneProcess(workers, { mode: "sync" });
  await using servers = await testServers(count);
  const results = await asWorkers(workers, servers.addresses, { threads: 1 }, async (job) => {
    const trainer = job.trainer(model(), { optimizer: optim.adagrad({ lr: 0.1 }), strategy: { mode: "sync" } });
    await trainer.fit(shareOf(job.rank, workers), { epochs: 2, progress: false, split: false });
    const { auc } = await trainer.evaluate(data);
    return { auc, numbers: await served(trainer, data), sizes: trainer.tableSizes };
  });
  for (const { numbers, auc, sizes } of results) {
    expect(difference(numbers, reference.numbers).error).toBeLessThan(1e-5);
    expect(auc).toBeCloseTo(reference.auc, 5);
    expect(sizes.features).toBe([...numbers.keys()].filter((name) => name.startsWith("features/linear[")).length);
  }
});

test("geo with one worker is local SGD, however often it exchanges", async () => {
  const optimizer = optim.sgd({ lr: 0.1 });
  const reference = await inOneProcess(1, { mode: "async" }, optimizer);
  for (const every of [1, 7]) {
    await using servers = await testServers(2);
    const job = await init({ threads: 1, maxBytes: HEAP, servers: servers.addresses });
    const trainer = job.trainer(model(), { optimizer, strategy: { mode: "geo", geo: { every } } });
    await trainer.fit(data, { epochs: 2, progress: false });
    expect(difference(await served(trainer, data), reference.numbers).error).toBeLessThan(1e-4);
    expect((await trainer.evaluate(data)).auc).toBeCloseTo(reference.auc, 4);
    await job.close();
  }
});

test.each([
  ["async", 1, {}],
  ["async", 2, { wire: "f16", maxMergeGrads: 4 }],
  ["half-async", 2, {}],
  ["geo", 2, { geo: { every: 5 } }],
] as const)("%s with %i workers learns what one process does", async (mode, workers, options) => {
  const optimizer = mode === "geo" ? optim.sgd({ lr: 0.3 }) : optim.adagrad({ lr: 0.1 });
  const reference = await inOneProcess(2, { mode: "async" }, optimizer, more);
  await using servers = await testServers(2);
  const [first] = await asWorkers(workers, servers.addresses, { threads: 2 }, async (job) => {
    const trainer = job.trainer(model(), { optimizer, strategy: { mode, ...options } });
    await trainer.fit(more, { epochs: 2, progress: false });
    return trainer.evaluate(more);
  });
  expect(Math.abs(first!.auc - reference.auc)).toBeLessThan(0.02);
});

test("checkpoints move between one process and any number of partitions", async () => {
  const optimizer = optim.adam({ lr: 0.01 });
  const paths = ["one", "two", "three"].map((name) => join(folder.path, name));
  const job = await init({ threads: 1, maxBytes: HEAP });
  const trainer = job.trainer(model(), { optimizer });
  await trainer.fit(data, { progress: false });
  await trainer.save(paths[0]!);
  const reference = await learnt(trainer, data);
  for (const [i, count] of [3, 2].entries()) {
    await using servers = await testServers(count);
    const remote = await init({ threads: 1, maxBytes: HEAP, servers: servers.addresses });
    const other = remote.trainer(model(), { optimizer });
    await other.load(paths[i]!);
    expect(await served(other, data)).toEqual(reference);
    await other.save(paths[i + 1]!);
    await expect(other.load(paths[i]!)).rejects.toThrow("servers that have rows already");
    await remote.close();
  }
  const back = job.trainer(model(), { optimizer });
  await back.load(paths[2]!);
  expect(await learnt(back, data)).toEqual(reference);
  expect(back.state.step).toBe(trainer.state.step);
  await job.close();
});

test("what does not go together is refused by name", async () => {
  await using servers = await testServers(1);
  const alone = await init({ threads: 1, maxBytes: HEAP });
  const job = await init({ threads: 1, maxBytes: HEAP, servers: servers.addresses });
  const make = (on: Job, strategy: StrategyOptions, optimizer = optim.adagrad()) =>
    on.trainer(model(), { strategy, optimizer });
  expect(() => make(alone, { mode: "geo" })).toThrow('mode "geo" is for jobs with parameter servers');
  expect(() => make(alone, { mode: "half-async" })).toThrow('mode "half-async"');
  expect(() => make(job, { mode: "geo" })).toThrow("right for SGD only; the optimizer is adagrad");
  expect(() => make(job, { geo: { every: 3 } })).toThrow('geo is for mode "geo"');
  expect(() => make(job, { mode: "sync", maxMergeGrads: 3 })).toThrow('maxMergeGrads is for mode "async"');
  expect(() => make(job, { ema: 0.9 })).toThrow("ema does not combine");
  expect(() => make(job, { gradientMerge: 2 })).toThrow("gradientMerge: 2");
  expect(() => make(job, { clip: { globalNorm: 1 } })).toThrow("take clip: { value }");
  await alone.close();
  await job.close();
});
