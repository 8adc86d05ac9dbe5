// Memory: what training will take, a model that does not fit, recompute, and the search for a number that is not finite.
import { mkdirSync } from "node:fs";
import { data, fleet, models, optim } from "../src/index.ts";

const folder = "runs/examples/memory";
mkdirSync(folder, { recursive: true });
await data.generateCriteo({ path: `${folder}/train.tsv`, rows: 8_000, maxCardinality: 100 });
const train = data.criteo(`${folder}/train.tsv`, { batch: 4096 });
const job = await fleet.init({ threads: 1, maxBytes: 96 * 2 ** 20 });
const hidden = new Array(8).fill(256);
const model = models.deepFM({ categorical: 26, dense: 13, dim: 4, hidden, norm: "layer", dropout: 0.1 });

const plain = job.trainer(model);
await plain.fit(train, { progress: false }).catch((error: Error) => console.log(error.message));
await plain.close();

const trainer = job.trainer(model, { strategy: { recompute: { segments: "auto" } } });
const { steps } = await trainer.fit(train, { progress: false });
const { memory } = await trainer.session(train.layout);
console.log(`${steps} steps, ${Math.round(memory.activations / 1e6)} MB of activations`);
await trainer.close();

const careless = job.trainer(model, {
  optimizer: optim.sgd({ lr: 1e38 }),
  strategy: { debug: { nan: true }, recompute: { segments: "auto" } },
});
await careless.fit(train, { progress: false }).catch((error: Error) => console.log(error.message));
await job.close();
