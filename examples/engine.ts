// The engine: who multiplies matrices here, and where the time of a step goes.
import { mkdirSync } from "node:fs";
import { data, fleet, models } from "../src/index.ts";

const folder = "runs/examples/engine";
mkdirSync(folder, { recursive: true });
await data.generateCriteo({ path: `${folder}/train.tsv`, rows: 20_000, maxCardinality: 500 });

const auto = await fleet.init({ threads: 1 });
console.log(auto.provider.name, auto.provider.version ?? auto.provider.reason ?? "");
await auto.close();

const job = await fleet.init({ threads: 1, engine: "wasm", maxBytes: 2 ** 30 });
const trainer = job.trainer(models.deepFM({ categorical: 26, dense: 13, dim: 16, hidden: [128, 64] }));
const { profiles } = await trainer.fit(data.criteo(`${folder}/train.tsv`, { batch: 512 }), {
  profile: true,
  progress: false,
});
console.log(profiles?.[0]);
await job.close();
