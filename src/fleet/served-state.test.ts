// Checkpoints through servers, and what is refused.
import { appendFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { optim } from "../index.ts";
import { testServers } from "../ps/testing-servers.ts";
import { init, type Job } from "./job.ts";
import { readTrainerState } from "./saved-state.ts";
import type { StrategyOptions } from "./strategy.ts";
import { difference, learnt, type Numbers } from "./testing.ts";
import { data, folder, HEAP, model, served } from "./testing-served.ts";
import type { Trainer } from "./trainer.ts";

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

test("parts that partitions saved load at any number of them, and into one process", async () => {
  const optimizer = { default: optim.adam({ lr: 0.01 }), linear: optim.adagradShared({ lr: 0.1 }) };
  const [path, again] = [join(folder.path, "parts"), join(folder.path, "parts-again")];
  const onServers = async <T>(count: number, use: (trainer: Trainer) => Promise<T>): Promise<T> => {
    await using servers = await testServers(count);
    const job = await init({ threads: 1, maxBytes: HEAP, servers: servers.addresses });
    const result = await use(job.trainer(model(), { optimizer }));
    await job.close();
    return result;
  };
  const [reference, predictions] = await onServers(4, async (trainer) => {
    await trainer.fit(data, { progress: false });
    await trainer.save(path, { parts: true });
    // The folder is replaced as a whole.
    await trainer.save(path, { parts: true });
    return [await served(trainer, data), await trainer.predict(data)] as const;
  });
  expect(readdirSync(path).filter((name) => name.startsWith("part-"))).toHaveLength(4);
  expect((await readTrainerState(path)).model.name).toBe("deepFM");
  for (const count of [1, 3, 4]) {
    await onServers(count, async (trainer) => {
      await trainer.load(path);
      expect(await served(trainer, data)).toEqual(reference);
      expect(apart(await trainer.predict(data), predictions)).toBeLessThan(1e-6);
      if (count === 3) await trainer.save(again, { parts: true });
    });
  }
  const job = await init({ threads: 1, maxBytes: HEAP });
  for (const saved of [path, again]) {
    const trainer = job.trainer(model(), { optimizer });
    await trainer.load(saved);
    expect(await learnt(trainer, data)).toEqual(reference);
    expect(apart(await trainer.predict(data), predictions)).toBeLessThan(1e-6);
  }
  appendFileSync(join(path, "part-00002-of-00004", "table-features-00001-of-00001.safetensors"), "x");
  await expect(job.trainer(model(), { optimizer }).load(path)).rejects.toThrow("has grown");
  rmSync(join(path, "part-00003-of-00004"), { recursive: true });
  await expect(job.trainer(model(), { optimizer }).load(path)).rejects.toThrow("lacks part 3 of 4");
  await job.close();
});

/** Products may be rounded in other ways from one trainer to the next. */
function apart(a: Float32Array, b: Float32Array): number {
  const numbers = (values: Float32Array): Numbers => new Map([["predictions", [...values]]]);
  return difference(numbers(a), numbers(b)).error;
}

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
  const trainer = make(job, {});
  await expect(trainer.save("x", { part: true } as never)).rejects.toThrow('save: unknown option "part"');
  await expect(trainer.save("x", { mode: "bass", parts: true } as never)).rejects.toThrow(
    "mode must be one of all, delta",
  );
  await expect(trainer.save("x", { mode: "base" })).rejects.toThrow(
    'mode "base" chooses rows by the servers\' statistics',
  );
  await expect(make(alone, {}).save("x", { parts: true })).rejects.toThrow(
    "parts: true is for jobs with parameter servers",
  );
  await alone.close();
  await job.close();
});
