// The ready models side by side on the same generated rows.
import { mkdirSync } from "node:fs";
import { data, fleet, models, optim, report } from "../src/index.ts";

const folder = "runs/examples/models";
mkdirSync(folder, { recursive: true });
const { bestAuc } = await data.generateCriteo({ path: `${folder}/train.tsv`, rows: 20_000, maxCardinality: 200 });
await data.generateCriteo({ path: `${folder}/test.tsv`, rows: 10_000, seed: 2, maxCardinality: 200 });

const columns = { categorical: 26, dense: 13 };
const deep = { ...columns, dim: 8, hidden: [64, 32] };
const all = [
  models.logisticRegression(columns),
  models.factorizationMachine({ ...columns, dim: 8 }),
  models.wideAndDeep(deep),
  models.deepFM(deep),
  models.dcnV2({ ...deep, crossLayers: 2 }),
];

const job = await fleet.init({ threads: 2 });
const rows = [];
for (const model of all) {
  const trainer = job.trainer(model, { optimizer: optim.adagrad({ lr: 0.02 }) });
  await trainer.fit(data.criteo(`${folder}/train.tsv`, { batch: 128 }).shard(job), { progress: false });
  const { auc, loss } = await trainer.evaluate(data.criteo(`${folder}/test.tsv`, { batch: 128 }));
  const parameters = report.formatCount(trainer.parameterCount);
  rows.push({ model: model.name, parameters, AUC: auc.toFixed(4), "log loss": loss.toFixed(4) });
  await trainer.close();
}
await job.close();
console.log(report.formatTable(rows));
console.log(`best possible AUC: ${bestAuc.toFixed(4)}`);
