// The two strategies: `sync` on two threads does what one thread does with the union of their batches; `async` needs no
// barrier, and its threads see each other's updates at once.
import { mkdirSync } from "node:fs";
import { data, fleet, models, optim } from "../src/index.ts";

const folder = "runs/examples/strategies";
mkdirSync(folder, { recursive: true });
await data.generateCriteo({ path: `${folder}/train.tsv`, rows: 16_384, maxCardinality: 500 });
await data.generateCriteo({ path: `${folder}/test.tsv`, rows: 8_192, seed: 2, maxCardinality: 500 });

const cases = [
  { threads: 1, batch: 256, mode: "async" },
  { threads: 2, batch: 128, mode: "sync" },
  { threads: 2, batch: 128, mode: "async" },
] as const;
for (const { threads, batch, mode } of cases) {
  const job = await fleet.init({ threads });
  const trainer = job.trainer(models.factorizationMachine({ categorical: 26, dense: 13, dim: 8 }), {
    optimizer: optim.adagrad({ lr: 0.05 }),
    strategy: { mode },
  });
  await trainer.fit(data.criteo(`${folder}/train.tsv`, { batch, order: "file" }), { progress: false });
  const { loss } = await trainer.evaluate(data.criteo(`${folder}/test.tsv`, { batch }));
  console.log(`${threads} × ${batch} rows, ${mode.padEnd(5)}: log loss ${loss.toFixed(6)}`);
  await job.close();
}
