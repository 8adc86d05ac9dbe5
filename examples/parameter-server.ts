// A click model that trains in this process, or with its table and weights on parameter servers:
//   node examples/parameter-server.ts
//   npx flotilla launch --servers 1 --workers 2 --threads 1 examples/parameter-server.ts
import { existsSync, mkdirSync } from "node:fs";
import { data, fleet, models, optim } from "../src/index.ts";

const job = await fleet.init({ threads: 1 });
const folder = "runs/examples/parameter-server";
mkdirSync(folder, { recursive: true });
// Each worker writes the files for itself; renaming makes them appear whole.
for (const [name, rows, seed] of [
  ["train", 65_536, 1],
  ["test", 8_192, 2],
] as const) {
  const path = `${folder}/${name}-${job.rank}.tsv`;
  if (!existsSync(path)) await data.generateCriteo({ path, rows, seed, maxCardinality: 500 });
}
const [train, test] = ["train", "test"].map((name) => data.criteo(`${folder}/${name}-${job.rank}.tsv`, { batch: 256 }));

const trainer = job.trainer(models.deepFM({ categorical: 26, dense: 13, dim: 8, hidden: [64, 32] }), {
  optimizer: optim.adagrad({ lr: 0.05 }),
  strategy: { mode: "async" },
});
await trainer.fit(train!.shard(job), { epochs: 1, progress: false });
const { auc } = await trainer.evaluate(test!);
if (job.rank === 0) {
  console.log(`AUC ${auc.toFixed(3)} after one pass, ${trainer.tableSizes.features} features`);
  console.log(`by ${job.worldSize} ${job.worldSize === 1 ? "worker" : "workers"}${job.servers ? " and servers" : ""}`);
}
await trainer.save(`${folder}/model`);
await job.close();
