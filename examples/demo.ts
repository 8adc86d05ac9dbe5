// The demo: three million real US flights, or a Criteo file of yours with `--data FILE`. A DeepFM learns which flights will
// be more than 15 minutes late, a logistic regression shows what the crosses alone can do, the last tenth is held out.
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { data, doctor, fleet, models, optim, report } from "../src/index.ts";

const { values: args } = parseArgs({
  options: {
    data: { type: "string" },
    threads: { type: "string" },
    engine: { type: "string", default: "auto" },
    epochs: { type: "string", default: "1" },
    name: { type: "string", default: "demo" },
    help: { type: "boolean", short: "h" },
  },
});
if (args.help === true) {
  console.log(`npm run demo -- [options]

  --data FILE      train on a Criteo file (label, 13 integers, 26 categories; plain or gzip) instead of the flights
  --threads N      trainer threads; default one a core
  --engine NAME    auto, onednn or wasm; default auto
  --epochs N       passes over the training rows; default 1
  --name NAME      the folder under runs/; default demo`);
  process.exit(0);
}

/**
 * Flights in the order of their dates, learnt in that order too, so that the newest ones are fresh in mind. The last tenth
 * by position is the last tenth in time: nothing of it is seen in training.
 */
function flights(): { dataset: data.Dataset; columns: { categorical: number; dense: number }; task: string } {
  const file = fileURLToPath(new URL("../node_modules/vega-datasets/data/flights-3m.parquet", import.meta.url));
  const cross = (...columns: string[]) => ({ cross: columns });
  const categorical = [
    ...["hour", "weekday", "month", "origin", "destination"],
    cross("origin", "destination"),
    cross("origin", "hour"),
    cross("destination", "hour"),
    cross("weekday", "hour"),
    cross("origin", "weekday"),
    cross("destination", "weekday"),
  ];
  const dataset = data.parquet(file, {
    schema: {
      label: { column: "delay", greaterThan: 15 },
      derived: {
        hour: { column: "date", part: "hour" },
        weekday: { column: "date", part: "weekday" },
        month: { column: "date", part: "month" },
      },
      categorical,
      dense: [{ column: "distance", transform: { mean: 700, scale: 550 } }],
    },
  });
  return { dataset, columns: { categorical: categorical.length, dense: 1 }, task: "late by more than 15 minutes" };
}

function criteo(file: string): ReturnType<typeof flights> {
  return { dataset: data.criteo(file), columns: { categorical: 26, dense: 13 }, task: "clicked" };
}

if (args.engine === "auto") {
  const found = await doctor.fetchOneDnn({ log: (line) => console.log(`oneDNN: ${line}`) });
  if (!found.ok)
    console.log(`notice: no oneDNN (${found.reason}); WASM computes instead, at about a quarter of the speed`);
}
const job = await fleet.init({
  engine: args.engine as "auto" | "onednn" | "wasm",
  ...(args.threads === undefined ? {} : { threads: Number(args.threads) }),
});
const { dataset, columns, task } = args.data === undefined ? flights() : criteo(args.data);
const train = dataset.where({ rows: { to: 0.9 } }).shard(job);
const test = dataset.where({ rows: { from: 0.9 } });
const epochs = Number(args.epochs);
const deepFM = models.deepFM({ ...columns, dim: 8, hidden: [128, 64] });
const logistic = models.logisticRegression(columns);
const optimizer = optim.adagrad({ lr: args.data === undefined ? 0.05 : 0.02 });
const run = await fleet.RunFolder.create(`runs/${args.name}`, {
  task,
  data: dataset.spec.patterns,
  model: { name: deepFM.name, ...deepFM.config },
  optimizer,
  epochs,
  engine: job.engine,
  threads: job.threads,
});

console.log(`${task}: ${job.threads} threads, ${job.engine}; the last tenth of the rows is held out`);
const results = [];
for (const model of [deepFM, logistic]) {
  const trainer = job.trainer(model, { optimizer });
  const first = results.length === 0;
  const fit = await trainer.fit(train, { epochs, validation: test, ...(first ? { run } : {}) });
  if (first) await trainer.save(run.checkpoint);
  results.push({ name: model.name, fit, metrics: fit.evaluation!, parameters: trainer.parameterCount });
  await trainer.close();
}
await job.close();

const [deep, baseline] = results as [(typeof results)[0], (typeof results)[0]];
const page = await run.finish({
  name: args.name,
  model: deepFM.name,
  engine: job.engine,
  threads: job.threads,
  samples: deep.fit.samples,
  seconds: deep.fit.seconds,
  samplesPerSecond: deep.fit.samplesPerSecond,
  auc: deep.metrics.auc,
  logLoss: deep.metrics.loss,
  logisticAuc: baseline.metrics.auc,
  logisticLogLoss: baseline.metrics.loss,
  calibration: deep.metrics.calibration,
  heldOutSamples: deep.metrics.samples,
  models: results.map(({ name, fit, metrics, parameters }) => ({
    name,
    auc: metrics.auc,
    logLoss: metrics.loss,
    samplesPerSecond: fit.samplesPerSecond,
    parameters,
    bins: metrics.bins,
  })),
});
console.log();
console.log(
  report.formatTable(
    results.map(({ name, fit, metrics, parameters }) => ({
      model: name,
      engine: job.engine,
      threads: job.threads,
      rows: report.formatCount(fit.samples),
      "rows/s": report.formatRate(fit.samplesPerSecond),
      time: report.formatSeconds(fit.seconds),
      parameters: report.formatCount(parameters),
      AUC: metrics.auc.toFixed(4),
      "log loss": metrics.loss.toFixed(4),
    })),
  ),
);
console.log(`report: ${page}`);
