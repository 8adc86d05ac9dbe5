// What the modes that do not wait for all learn.
import { expect, test } from "vitest";
import { optim } from "../index.ts";
import { testServers } from "../ps/testing-servers.ts";
import { clickFile, clicks } from "./testing.ts";
import { asWorkers, BATCH, folder, inOneProcess, model } from "./testing-served.ts";

/** Data in which gradients that come late do not matter. */
const more = clicks(clickFile(folder.path, "more.csv", 6_000, 2).path, BATCH);

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
    const { served } = await trainer.session(more.layout);
    // At least for its first batch a trainer thread waits.
    expect(served!.traffic.waitedMs).toBeGreaterThan(0);
    return trainer.evaluate(more);
  });
  expect(Math.abs(first!.auc - reference.auc)).toBeLessThan(0.03);
});
