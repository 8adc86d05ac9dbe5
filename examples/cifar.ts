// A residual network with batch norm for small photos, as examples/mnist.ts for digits: alone, by
//   npx flotilla launch --workers 4 examples/cifar.ts --data FOLDER --epochs 5
// or by srun. FOLDER holds CIFAR-10's binary files, data_batch_1.bin … and test_batch.bin. Without it, pictures are drawn.
import { parseArgs } from "node:util";
import { fleet, type models, nn, optim } from "../src/index.ts";
import { datasetOf, drawPictures, readCifar } from "./lib/pictures.ts";

const { values } = parseArgs({
  options: {
    data: { type: "string" },
    rows: { type: "string", default: "50000" },
    epochs: { type: "string", default: "1" },
    batch: { type: "string", default: "32" },
  },
});
const [rows, epochs, batch] = [Number(values.rows), Number(values.epochs), Number(values.batch)];

const { layers } = nn;
const convNorm = (channels: number, stride = 1): nn.Module =>
  nn.sequential([
    layers.conv2d(channels, { kernel: 3, padding: 1, stride, bias: false }),
    layers.batchNorm(),
    layers.activation("relu"),
  ]);
const net = nn.sequential({
  down0: convNorm(8, 2),
  block0: nn.residual(convNorm(8)),
  down1: convNorm(16, 2),
  block1: nn.residual(convNorm(16)),
  mean: layers.globalAveragePool(),
  head: layers.linear(10),
});
const model: models.Model = {
  name: "objects",
  config: {},
  task: "classification",
  forward: ({ image }, ctx) => net.apply(ctx, "net", image!),
};

// Batch norm takes the statistics of all rows of a step: ranks exchange them, for which each has one thread.
const job = await fleet.init({ threads: 1 });
const own = Math.ceil(batch / job.worldSize);
const folder = values.data;
const pictures = folder === undefined ? drawPictures(2048, [32, 32, 3], 1) : readCifar(folder, "data");
const held = folder === undefined ? drawPictures(256, [32, 32, 3], 2) : readCifar(folder, "test");
const train = datasetOf(pictures, rows, { batch: own, shuffle: 1 });
const test = datasetOf(held, rows, { batch: own });

const trainer = job.trainer(model, {
  optimizer: optim.momentum({ lr: 0.05 }),
  strategy: { mode: "collective", syncBatchNorm: true, wire: "bf16" },
});
const result = await trainer.fit(train, { epochs, progress: job.rank === 0 });
const { accuracy } = await trainer.evaluate(test);
if (job.rank === 0) {
  const workers = `${job.worldSize} ${job.worldSize === 1 ? "worker" : "workers"}`;
  console.log(`${(100 * accuracy).toFixed(1)} % of the held-out pictures right, ${result.steps} steps, ${workers}`);
}
await job.close();
