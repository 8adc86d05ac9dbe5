// Layers as values: a small convolutional network with a residual block, its summary, and training it to tell rows,
// columns and crosses in noisy pictures.
import { data, fleet, type models, nn, optim } from "../src/index.ts";

const { layers, residual, sequential } = nn;
const size = 12;
const names = ["row", "column", "cross"];

const block = (channels: number) =>
  sequential([
    layers.conv2d(channels, { kernel: 3, padding: "same", bias: false }),
    layers.batchNorm(),
    layers.activation("relu"),
  ]);
const net = sequential({
  stem: block(8),
  pool: layers.maxPool2d({ kernel: 2 }),
  deep: residual(block(8)),
  mean: layers.globalAveragePool(),
  dropout: layers.dropout(0.1),
  head: layers.linear(names.length),
});

console.log(nn.summary(net, { image: { shape: [32, size, size, 1], dtype: "f32" } }, { depth: 1 }).text);

const model: models.Model = {
  name: "shapes",
  config: {},
  task: "classification",
  forward: ({ image }, ctx) => net.apply(ctx, "net", image!),
};

/** Pictures of one shape each, brighter than their noise. */
function draw(rows: number, seed: number) {
  let state = seed;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const label = Int32Array.from({ length: rows }, () => Math.floor(random() * names.length));
  const image = Float32Array.from({ length: rows * size * size }, () => random());
  for (const [row, shape] of label.entries()) {
    const [top, left] = [Math.floor(random() * size), Math.floor(random() * size)];
    for (let i = 0; i < size; i++) {
      const at = row * size * size;
      if (shape !== 1) image[at + top * size + i]! += 0.8;
      if (shape !== 0) image[at + i * size + left]! += 0.8;
    }
  }
  const columns = { image: { data: image, shape: [rows, size, size, 1] }, label: { data: label, shape: [rows] } };
  return data.tensors(columns, { batch: 32 });
}

const job = await fleet.init({ threads: 2 });
const trainer = job.trainer(model, { optimizer: optim.adam({ lr: 0.005 }), strategy: { mode: "sync" } });
await trainer.fit(draw(3000, 1), { epochs: 4, progress: false });
const { accuracy } = await trainer.evaluate(draw(600, 2));
console.log(`accuracy on new pictures: ${accuracy!.toFixed(3)}`);
await job.close();
