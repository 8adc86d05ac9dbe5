// Training: a DeepFM on two threads over generated Criteo rows, evaluated after each pass until it stops improving.
import { mkdirSync, writeFileSync } from "node:fs";
import { data, fleet, models, optim } from "../src/index.ts";

const folder = "runs/examples/training";
mkdirSync(folder, { recursive: true });
const { bestAuc } = await data.generateCriteo({ path: `${folder}/train.tsv`, rows: 30_000, maxCardinality: 100 });
await data.generateCriteo({ path: `${folder}/test.tsv`, rows: 10_000, seed: 2, maxCardinality: 100 });

const job = await fleet.init({ threads: 2 });
const train = data.criteo(`${folder}/train.tsv`, { batch: 256, shuffle: 1 }).shard(job);
const test = data.criteo(`${folder}/test.tsv`, { batch: 256 });

const model = models.deepFM({ categorical: 26, dense: 13, dim: 8, hidden: [64, 32] });
const trainer = job.trainer(model, {
  optimizer: optim.adagrad({ lr: { kind: "warmup", warmup: 20, after: 0.01 } }),
  strategy: { mode: "async" },
  seed: 1,
});
const result = await trainer.fit(train, {
  epochs: 8,
  validation: test,
  earlyStop: { metric: "auc", patience: 1, minDelta: 0.001 },
  onRecord: (record) => {
    if (record.type === "evaluation") console.log(`pass ${record.epoch}: AUC ${record.auc?.toFixed(4)}`);
  },
  progress: false,
});
console.log(`${result.stopped} after ${result.epochs} passes, ${result.steps} steps, ${result.samples} rows`);

const metrics = await trainer.evaluate(test);
console.log(`AUC ${metrics.auc.toFixed(4)} of at most ${bestAuc.toFixed(4)}, log loss ${metrics.loss.toFixed(4)}`);
const scores = await trainer.predict(test);
writeFileSync(`${folder}/scores.txt`, scores.join("\n"));
await trainer.save(`${folder}/checkpoint`);
await job.close();
