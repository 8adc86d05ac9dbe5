// Mode `sync` over workers and servers is one process on the union of the batches.
import { expect, test } from "vitest";
import { optim } from "../index.ts";
import { testServers } from "../ps/testing-servers.ts";
import { difference } from "./testing.ts";
import { asWorkers, data, inOneProcess, model, served, shareOf } from "./testing-served.ts";

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
