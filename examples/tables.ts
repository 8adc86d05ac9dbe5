// Sparse tables: 64-bit ids grow a table as they come; `buckets` bounds it. What a feature costs depends on the optimizer.
import { mkdirSync } from "node:fs";
import { data, fleet, models, optim } from "../src/index.ts";

const folder = "runs/examples/tables";
mkdirSync(folder, { recursive: true });
await data.generateCriteo({ path: `${folder}/train.tsv`, rows: 20_000 });
await data.generateCriteo({ path: `${folder}/test.tsv`, rows: 5_000, seed: 2 });
const job = await fleet.init({ threads: 2 });

for (const buckets of [undefined, 4096]) {
  for (const optimizer of [optim.adagrad(), optim.adam()]) {
    const options = { batch: 128, ...(buckets === undefined ? {} : { buckets }) };
    const trainer = job.trainer(models.factorizationMachine({ categorical: 26, dense: 13, dim: 16 }), { optimizer });
    await trainer.fit(data.criteo(`${folder}/train.tsv`, options).shard(job), { progress: false });
    const { auc } = await trainer.evaluate(data.criteo(`${folder}/test.tsv`, options));
    const ids = buckets === undefined ? "64-bit ids" : `${buckets} buckets`;
    console.log(`${ids}, ${optimizer.name}: ${trainer.tableSizes.features} features, AUC ${auc.toFixed(3)}`);
    await trainer.close();
  }
}
await job.close();
