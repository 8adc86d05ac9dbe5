// The folder of a run: configuration, metrics while it goes, checkpoints, and at the end a summary and a report page.
import { mkdirSync, readdirSync } from "node:fs";
import { data, fleet, models, optim, report } from "../src/index.ts";

mkdirSync("runs/examples/data", { recursive: true });
await data.generateCriteo({ path: "runs/examples/data/train.tsv", rows: 20_000, maxCardinality: 500 });
await data.generateCriteo({ path: "runs/examples/data/test.tsv", rows: 5_000, seed: 2, maxCardinality: 500 });

const job = await fleet.init({ threads: 2 });
const model = models.deepFM({ categorical: 26, dense: 13, dim: 8, hidden: [32] });
const optimizer = optim.adagrad({ lr: 0.03 });
const run = await fleet.RunFolder.create("runs/examples/clicks", { model: model.config, optimizer });

const trainer = job.trainer(model, { optimizer });
const result = await trainer.fit(data.criteo("runs/examples/data/train.tsv", { batch: 128 }).shard(job), {
  epochs: 3,
  validation: data.criteo("runs/examples/data/test.tsv", { batch: 128 }),
  run,
  checkpointSeconds: 60,
  progress: false,
});
await trainer.save(run.checkpoint);
await run.finish({
  name: "clicks",
  model: model.name,
  engine: job.engine,
  threads: job.threads,
  samples: result.samples,
  seconds: result.seconds,
  samplesPerSecond: result.samplesPerSecond,
  auc: result.evaluation!.auc,
  logLoss: result.evaluation!.loss,
});
await job.close();

console.log(readdirSync(run.path).sort().join("  "));
const { train, evaluations } = await report.readRun(run.path);
console.log(`${train.length > 0} ${evaluations.map(({ auc }) => auc?.toFixed(3)).join(" ")}`);
