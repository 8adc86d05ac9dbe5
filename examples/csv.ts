// CSV with a schema: numbers, ids, crosses, buckets, parts of dates and multi-valued columns become the columns of a batch.
import { mkdirSync, writeFileSync } from "node:fs";
import { data, fleet, models, optim } from "../src/index.ts";

const folder = "runs/examples/csv";
mkdirSync(folder, { recursive: true });
const lines = ["time,user,age,price,shop,tags,bought"];
for (let i = 0; i < 20_000; i++) {
  const user = (i * 7919) % 400;
  const shop = ["north", "south", "east"][(i * 31) % 3];
  const tags = ["sale", "new", "large"].filter((_, tag) => ((i >> tag) & 1) === 1).join("|");
  const time = new Date(Date.UTC(2026, 0, 1) + i * 120_000).toISOString();
  const liking = user % 3 === 0 && tags.includes("sale") ? 0.8 : 0.2;
  const bought = ((i * 2654435761) % 1000) / 1000 < liking ? "yes" : "no";
  lines.push(`${time},u${user},${18 + (user % 50)},${(5 + (i % 97) / 4).toFixed(2)},${shop},${tags},${bought}`);
}
lines[100] = "not a row";
writeFileSync(`${folder}/orders.csv`, `${lines.join("\n")}\n`);

const orders = data.csv(`${folder}/orders.csv`, {
  schema: {
    label: { column: "bought", equals: "yes" },
    derived: {
      hour: { column: "time", part: "hour" },
      weekday: { column: "time", part: "weekday" },
    },
    dense: [
      { column: "price", transform: "log" },
      { column: "age", transform: { mean: 40, scale: 15 } },
    ],
    categorical: [
      "user",
      "shop",
      "hour",
      { column: "age", bucketize: [25, 35, 50, 65] },
      { cross: ["shop", "weekday"] },
    ],
    bags: { tags: { column: "tags", separator: "|", max: 8 } },
  },
  onBadLine: "skip",
});
const train = orders.where({ column: "time", to: "2026-01-25" });
const test = orders.where({ column: "time", from: "2026-01-25" });

const job = await fleet.init({ threads: 1 });
const model = models.deepFM({ categorical: 5, dense: 2, bags: ["tags"], dim: 8, hidden: [32] });
const trainer = job.trainer(model, { optimizer: optim.adagrad({ lr: 0.05 }) });
const { samples, badLines } = await trainer.fit(train.shard(job), { progress: false });
console.log(`${samples} rows, ${badLines.count} left out:`);
for (const message of badLines.first) console.log(`  ${message}`);
console.log(`AUC of the days after: ${(await trainer.evaluate(test)).auc.toFixed(4)}`);
await job.close();
