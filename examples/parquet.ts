// Parquet with a schema: a week of real flights trains a model that says which of the next two days' will be late.
import { fileURLToPath } from "node:url";
import { data, fleet, models, optim } from "../src/index.ts";

const flights = data.parquet(
  fileURLToPath(new URL("../node_modules/vega-datasets/data/flights-3m.parquet", import.meta.url)),
  {
    schema: {
      label: { column: "delay", greaterThan: 15 },
      derived: { hour: { column: "date", part: "hour" } },
      categorical: ["origin", "destination", "hour", { cross: ["origin", "hour"] }],
      dense: [{ column: "distance", transform: { mean: 700, scale: 550 } }],
    },
  },
);

const job = await fleet.init({ threads: 2 });
const trainer = job.trainer(models.wideAndDeep({ categorical: 4, dense: 1, dim: 8, hidden: [32] }), {
  optimizer: optim.adagrad({ lr: 0.02 }),
});
const week = flights.where({ column: "date", from: "2001-01-01", to: "2001-01-08" });
const { samples } = await trainer.fit(week.shard(job), { progress: false });
const days = flights.where({ column: "date", from: "2001-01-08", to: "2001-01-10" });
const metrics = await trainer.evaluate(days);
console.log(`trained on ${samples} flights, tested on ${metrics.samples}: AUC ${metrics.auc.toFixed(4)}`);
await job.close();
