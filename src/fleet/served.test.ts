import { expect, test } from "vitest";
import { models, optim } from "../index.ts";
import { testServers } from "../ps/testing-servers.ts";
import { init } from "./job.ts";
import { clickColumns, clickFile, clicks, temporaryFolder } from "./testing.ts";

const folder = temporaryFolder();
const model = (): ReturnType<typeof models.deepFM> => models.deepFM({ ...clickColumns, dim: 4, hidden: [16, 8] });

test("one worker, sync", async () => {
  const file = clickFile(folder.path, "a.csv", 1000, 1);
  await using servers = await testServers(2);
  const data = clicks(file.path, 64, { order: "file" });
  const optimizer = optim.adagrad({ lr: 0.1 });
  const results = [];
  for (const options of [{}, { servers: servers.addresses }]) {
    const job = await init({ threads: 2, maxBytes: 2 ** 28, ...options });
    const trainer = job.trainer(model(), { optimizer, strategy: { mode: "sync" } });
    const result = await trainer.fit(data, { epochs: 2, progress: false });
    const metrics = await trainer.evaluate(data);
    results.push({ result, metrics });
    await trainer.close();
    await job.close();
  }
  console.log(results.map(({ result, metrics }) => [result.steps, result.samplesPerSecond, metrics.loss, metrics.auc]));
});
