// One optimizer for each part of a model: FTRL with L1 for the linear weights of features, AdaGrad with one accumulator a
// row for the embeddings, Adam with a schedule for everything dense.
import { mkdirSync } from "node:fs";
import { data, fleet, models, optim } from "../src/index.ts";

const folder = "runs/examples/optimizers";
mkdirSync(folder, { recursive: true });
await data.generateCriteo({ path: `${folder}/train.tsv`, rows: 20_000, maxCardinality: 500 });

const lr: optim.LearningRateOptions = {
  kind: "warmup",
  warmup: 50,
  after: { kind: "cosine", lr: 0.002, total: 300, floor: 0.0001 },
};
const default_ = optim.adam({ lr });
for (const step of [0, 25, 50, 200, 350]) {
  console.log(`step ${String(step).padStart(3)}: learning rate ${optim.learningRateAt(default_.lr, step).toFixed(6)}`);
}

const job = await fleet.init({ threads: 1 });
const trainer = job.trainer(models.wideAndDeep({ categorical: 26, dense: 13, dim: 8, hidden: [64, 32] }), {
  optimizer: {
    default: default_,
    linear: optim.ftrl({ lr: 0.05, l1: 0.5 }),
    embedding: optim.adagradShared({ lr: 0.05 }),
  },
});
const { steps, evaluation } = await trainer.fit(data.criteo(`${folder}/train.tsv`, { batch: 64 }).shard(job), {
  validation: data.criteo(`${folder}/train.tsv`, { batch: 64 }),
  progress: false,
});
console.log(`${steps} steps, log loss ${evaluation?.loss.toFixed(4)} on the rows of the training`);
await job.close();
