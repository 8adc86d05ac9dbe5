// A small GPT that learns to continue counting, in single precision, in bf16 and in fp16 with a loss scale.
import { data, fleet, models, optim } from "../src/index.ts";

const [rows, length, vocabulary] = [2048, 16, 24];

/** Sequences that count on from anywhere in steps of 1 to 3; the label of each token is the next one. */
function sequences(seed: number) {
  let state = seed;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const [ids, label] = [new Int32Array(rows * length), new Int32Array(rows * length)];
  for (let row = 0; row < rows; row++) {
    const [start, stride] = [random(vocabulary), 1 + random(3)];
    for (let i = 0; i < length; i++) {
      ids[row * length + i] = (start + i * stride) % vocabulary;
      label[row * length + i] = (start + (i + 1) * stride) % vocabulary;
    }
  }
  const shape = [rows, length];
  return data.tensors({ ids: { data: ids, shape }, label: { data: label, shape } }, { batch: 32 });
}

const model = models.gpt({ vocabulary, width: 32, layers: 2, heads: 2, positions: length, dropout: 0 });
const strategies: Record<string, fleet.StrategyOptions> = {
  f32: {},
  bf16: { amp: "bf16" },
  "bf16, last in f32": { amp: "bf16", ampLists: { black: ["transformer/h/1"] } },
  fp16: { amp: "fp16", lossScale: { start: 1024 } },
};

const job = await fleet.init({ threads: 1 });
for (const [name, strategy] of Object.entries(strategies)) {
  const trainer = job.trainer(model, { optimizer: optim.adamw({ lr: 0.003 }), strategy });
  await trainer.fit(sequences(1), { epochs: 3, progress: false });
  const { accuracy, perplexity } = await trainer.evaluate(sequences(2));
  console.log(`${name.padEnd(18)} next token ${accuracy.toFixed(3)}, perplexity ${perplexity!.toFixed(3)}`);
  await trainer.close();
}
await job.close();
