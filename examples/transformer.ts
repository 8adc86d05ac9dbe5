// A small transformer learns to write text, character by character; alone, by
//   npx flotilla launch --workers 4 examples/transformer.ts --data FILE --epochs 2
// or by srun. Without FILE, the text is sums spelled out.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { data, fleet, models, optim } from "../src/index.ts";

const { values } = parseArgs({
  options: {
    data: { type: "string" },
    epochs: { type: "string", default: "1" },
    batch: { type: "string", default: "16" },
    length: { type: "string", default: "32" },
  },
});
const [epochs, batch, length] = [Number(values.epochs), Number(values.batch), Number(values.length)];

function sums(count: number): string {
  const names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
  const sum = (i: number): string => {
    const [a, b] = [(i * 7) % 6, (i * 13 + 5) % 5];
    return `${names[a]} and ${names[b]} are ${names[a + b]}. `;
  };
  return Array.from({ length: count }, (_, i) => sum(i)).join("");
}

const text = values.data === undefined ? sums(900) : readFileSync(values.data, "latin1");
const characters = [...new Set(text)].sort();
const ids = Int32Array.from(text, (character) => characters.indexOf(character));

const job = await fleet.init();
/** Rows of characters, and those that follow each. */
function rowsOf(from: number, to: number): data.Dataset {
  const rows = Math.floor((to - from - 1) / length);
  const part = (start: number): data.TensorColumn => ({
    data: ids.subarray(start, start + rows * length),
    shape: [rows, length],
  });
  const own = Math.ceil(batch / job.worldSize / job.threads);
  return data.tensors({ ids: part(from), label: part(from + 1) }, { batch: own, shuffle: 1 });
}
const cut = Math.floor(0.9 * ids.length);

const model = models.gpt({
  vocabulary: characters.length,
  width: 32,
  layers: 2,
  heads: 4,
  positions: length,
  dropout: 0,
});
const trainer = job.trainer(model, {
  optimizer: optim.adam({ lr: 0.005 }),
  strategy: { mode: "collective", clip: { globalNorm: 1 } },
});
const result = await trainer.fit(rowsOf(0, cut), { epochs, progress: job.rank === 0 });
const { loss } = await trainer.evaluate(rowsOf(cut, ids.length));
if (job.rank === 0) {
  const workers = `${job.worldSize} ${job.worldSize === 1 ? "worker" : "workers"}`;
  console.log(`${(loss / Math.LN2).toFixed(2)} bits a character, ${result.steps} steps, ${workers}`);
}
await job.close();
