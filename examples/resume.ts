// Stopping and going on: a run is interrupted in the middle of a pass, saved, and finished by another trainer with exactly
// the rows that were left.
import { mkdirSync } from "node:fs";
import { data, fleet, models } from "../src/index.ts";

const folder = "runs/examples/resume";
mkdirSync(folder, { recursive: true });
const rows = 50_000;
await data.generateCriteo({ path: `${folder}/train.tsv`, rows, maxCardinality: 500 });
const train = data.criteo(`${folder}/train.tsv`, { batch: 128, shuffle: 1, shuffleWindow: 4096 });
const model = models.deepFM({ categorical: 26, dense: 13, dim: 16, hidden: [400, 400] });
const job = await fleet.init({ threads: 1 });

const stop = new AbortController();
process.once("SIGINT", () => stop.abort());
const first = job.trainer(model);
const before = await first.fit(train, {
  signal: stop.signal,
  onRecord: () => stop.abort(),
  progress: false,
});
await first.save(`${folder}/checkpoint`);
await first.close();
console.log(`${before.stopped} after ${before.samples} rows`);

const second = job.trainer(model);
await second.load(`${folder}/checkpoint`);
const after = await second.fit(train, { progress: false });
console.log(`${after.stopped} after ${after.samples} rows more`);
console.log(`${second.state.samples} of ${rows} rows in ${second.state.step} steps, each row once`);
await job.close();
