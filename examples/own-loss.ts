// A loss of a model's own, measures beside it, and weights of rows: three quantiles of a noisy number are learnt, young rows
// count more than old ones, and training stops when the median gets no closer.
import { data, fleet, type models, nn, optim } from "../src/index.ts";
import { generator } from "./lib/random.ts";

const quantiles = [0.1, 0.5, 0.9];

const model: models.Model = {
  name: "quantiles",
  config: { quantiles },
  forward: ({ x }, ctx) => nn.linear(ctx, "output", nn.linear(ctx, "hidden", x!, 32, { activation: "tanh" }), 3),
  loss(outputs, { y }) {
    const [low, middle, high] = quantiles.map((_, i) => outputs.slice(1, i, i + 1).reshape([-1])); // each [B]
    const errors = [low!, middle!, high!].map((quantile) => y!.sub(quantile));
    const losses = errors.map((error, i) => error.mul(quantiles[i]!).maximum(error.mul(quantiles[i]! - 1)));
    return {
      loss: losses[0]!.add(losses[1]!).add(losses[2]!), // [B]
      measures: {
        covered: y!.greater(low!).mul(y!.less(high!)), // 1 or 0
        medianError: errors[1]!.abs(),
      },
    };
  },
};

/** y is a wave of x with noise that grows with x; the wave drifts as rows get older. */
function waves(rows: number, seed: number, ageOf: (random: number) => number): data.Dataset {
  const random = generator(seed);
  const x = Float32Array.from({ length: rows }, () => random());
  const ages = x.map(() => ageOf(random()));
  const noise = (): number => random() + random() + random() - 1.5;
  const y = x.map((value, row) => Math.sin(6 * value + ages[row]!) + value * noise());
  return data.tensors(
    {
      x: { data: x, shape: [rows, 1] },
      y: { data: y, shape: [rows] },
      weight: { data: ages.map((age) => Math.exp(-8 * age)), shape: [rows] },
    },
    { batch: 64, shuffle: 1 },
  );
}

const job = await fleet.init({ threads: 1 });
const trainer = job.trainer(model, { optimizer: optim.adam({ lr: 0.005 }) });
const result = await trainer.fit(
  waves(4096, 1, (random) => random),
  {
    epochs: 40,
    validation: waves(2048, 2, () => 0),
    earlyStop: { metric: "medianError", better: "lower", patience: 3 },
    progress: false,
  },
);
const { loss, measures } = result.evaluation!;
console.log(`${result.stopped} after ${result.epochs} passes: loss ${loss.toFixed(3)}`);
console.log(`median off by ${measures!.medianError!.toFixed(3)}`);
console.log(`${(100 * measures!.covered!).toFixed(0)} % of the rows between the outer quantiles`);
await job.close();
