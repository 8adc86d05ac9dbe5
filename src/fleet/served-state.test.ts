// Checkpoints through servers, and what is refused.
import { join } from "node:path";
import { expect, test } from "vitest";
import { optim } from "../index.ts";
import { testServers } from "../ps/testing-servers.ts";
import { init, type Job } from "./job.ts";
import type { StrategyOptions } from "./strategy.ts";
import { learnt } from "./testing.ts";
import { data, folder, HEAP, model, served } from "./testing-served.ts";

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
