// Word vectors by all workers of a job: npx flotilla launch --servers 1 --workers 2 examples/word2vec-workers.ts
// Started plainly it trains in its own process.
import { mkdirSync, writeFileSync } from "node:fs";
import { fleet, models } from "../src/index.ts";

const folder = "runs/examples/word2vec";
const job = await fleet.init({ threads: 1 });
if (job.rank === 0) {
  mkdirSync(folder, { recursive: true });
  const topics = [
    ["wheat", "bread", "oven", "flour"],
    ["sail", "harbour", "wind", "anchor"],
  ];
  // The same text in every run: a sentence takes words of one topic, in changing order.
  const sentences = Array.from({ length: 20_000 }, (_, i) => {
    const topic = topics[i % 2]!;
    return Array.from({ length: 6 }, (_, j) => topic[(Math.imul(i + 1, 2654435761) >>> (4 * j)) & 3]).join(" ");
  });
  writeFileSync(`${folder}/topics.txt`, sentences.join("\n"));
}
await job.workers.meet("text");

const model = models.word2vec({ dim: 16, window: 3, subsample: 0, epochs: 5 });
const { vectors, words } = await fleet.trainVectors(job, model, `${folder}/topics.txt`, { progress: false });
if (job.rank === 0) await vectors.save(`${folder}/topics.vec`);

const near = vectors.nearest("sail", 3).map(({ word }) => word);
console.log(`worker ${job.rank} of ${job.worldSize} trained on ${words} words; near to sail: ${near.join(", ")}`);
await job.close();
