// Geo-SGD of one worker is SGD.
import { expect, test } from "vitest";
import { optim } from "../index.ts";
import { testServers } from "../ps/testing-servers.ts";
import { init } from "./job.ts";
import { difference } from "./testing.ts";
import { data, HEAP, inOneProcess, model, served } from "./testing-served.ts";

test("geo with one worker is local SGD, however often it exchanges", async () => {
  const optimizer = optim.sgd({ lr: 0.1 });
  const reference = await inOneProcess(1, { mode: "async" }, optimizer);
  // The last one's memory is for the most rows that may be touched.
  for (const every of [1, 7, 100_000]) {
    await using servers = await testServers(2);
    const job = await init({ threads: 1, maxBytes: HEAP, servers: servers.addresses });
    const trainer = job.trainer(model(), { optimizer, strategy: { mode: "geo", geo: { every } } });
    await trainer.fit(data, { epochs: 2, progress: false });
    expect(difference(await served(trainer, data), reference.numbers).error).toBeLessThan(1e-4);
    expect((await trainer.evaluate(data)).auc).toBeCloseTo(reference.auc, 4);
    await job.close();
  }
});
