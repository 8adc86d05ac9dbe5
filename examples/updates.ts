// What lies between gradients and weights: AdamW without decay for biases and norms, gradients clipped by their norm,
// four small batches as one step, and moving averages of the weights.
import { data, fleet, type models, nn, optim } from "../src/index.ts";

const model: models.Model = {
  name: "rings",
  config: {},
  task: "classification",
  forward: (batch, ctx) => {
    const first = nn.linear(ctx, "first", batch.x!, 32, { activation: "relu" });
    const hidden = nn.mlp(ctx, "hidden", first, batch.weight!, { hidden: [32], norm: "layer" });
    return nn.linear(ctx, "classes", hidden, 3);
  },
};

/** Points of three rings, some beside their ring. */
function rings(count: number, seed: number, batch: number): data.Dataset {
  const x = new Float32Array(2 * count);
  const label = new Int32Array(count);
  let state = seed;
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  for (let i = 0; i < count; i++) {
    label[i] = Math.floor(3 * random());
    const [angle, radius] = [2 * Math.PI * random(), 1 + label[i]! + random() + random() - 1];
    x.set([radius * Math.cos(angle), radius * Math.sin(angle)], 2 * i);
  }
  const columns = { x: { data: x, shape: [count, 2] }, label: { data: label, shape: [count] } };
  return data.tensors(columns, { batch });
}

const lr: optim.LearningRateOptions = { kind: "warmup", warmup: 20, after: 0.05 };
const optimizer = {
  default: optim.adamw({ lr, weightDecay: 0.1 }),
  "**/{bias,gamma,beta}": optim.adamw({ lr, weightDecay: 0 }),
};

const job = await fleet.init({ threads: 1 });
const test = rings(2000, 2, 32);
const trainer = job.trainer(model, { optimizer, strategy: { clip: { globalNorm: 1 }, gradientMerge: 4, ema: 0.97 } });
const { steps } = await trainer.fit(rings(4000, 1, 32), { epochs: 10, progress: false });
for (const weights of ["trained", "ema"] as const) {
  const { loss, accuracy } = await trainer.evaluate(test, { weights });
  console.log(`${weights.padEnd(7)}: loss ${loss.toFixed(4)}, accuracy ${(100 * accuracy).toFixed(1)} %`);
}
await trainer.close();

const large = job.trainer(model, { optimizer, strategy: { clip: { globalNorm: 1 } } });
const fit = await large.fit(rings(4000, 1, 128), { epochs: 10, progress: false });
const { loss } = await large.evaluate(rings(2000, 2, 128));
console.log(`${steps} steps of 4 × 32 rows; ${fit.steps} steps of 128 rows: loss ${loss.toFixed(4)}`);
await job.close();
