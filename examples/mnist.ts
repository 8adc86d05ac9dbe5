// A convolutional network for digits, trained by one process or by many, which sum their gradients:
//   node examples/mnist.ts
//   npx flotilla launch --workers 4 examples/mnist.ts --data FOLDER --epochs 2
//   srun -n 4 node examples/mnist.ts
// FOLDER holds the four IDX files of MNIST or Fashion-MNIST, plain or gzip. Without it, pictures are drawn.
import { join } from "node:path";
import { parseArgs } from "node:util";
import { fleet, type models, nn, optim } from "../src/index.ts";
import { datasetOf, drawPictures, readIdx } from "./lib/pictures.ts";

const { values } = parseArgs({
  options: {
    data: { type: "string" },
    rows: { type: "string", default: "60000" },
    epochs: { type: "string", default: "1" },
    batch: { type: "string", default: "64" },
    /** Note the first steps of all ranks in runs/digits/trace.json. */
    trace: { type: "boolean", default: false },
    /** A folder: every worker writes its weights there. */
    export: { type: "string" },
  },
});
const [rows, epochs, batch] = [Number(values.rows), Number(values.epochs), Number(values.batch)];

const { layers } = nn;
const net = nn.sequential({
  first: layers.conv2d(8, { kernel: 3, padding: 1, activation: "relu" }),
  pool: layers.maxPool2d({ kernel: 2 }),
  second: layers.conv2d(16, { kernel: 3, padding: 1, activation: "relu" }),
  poolAgain: layers.maxPool2d({ kernel: 2 }),
  flat: layers.flatten(),
  head: layers.linear(10),
});
const model: models.Model = {
  name: "digits",
  config: {},
  task: "classification",
  forward: ({ image }, ctx) => net.apply(ctx, "net", image!),
};

const job = await fleet.init();
// The same union batch, however many threads of however many workers share it.
const own = Math.ceil(batch / job.worldSize / job.threads);
const folder = values.data;
const pictures = folder === undefined ? drawPictures(2048, [28, 28, 1], 1) : readIdx(folder, "train");
const held = folder === undefined ? drawPictures(512, [28, 28, 1], 2) : readIdx(folder, "t10k");
const train = datasetOf(pictures, rows, { batch: own, shuffle: 1 });
const test = datasetOf(held, rows, { batch: own });

const trainer = job.trainer(model, {
  optimizer: optim.momentum({ lr: 0.02 }),
  strategy: { mode: "collective" },
});
const { trace } = values;
const run = trace && job.rank === 0 ? await fleet.RunFolder.create("runs/digits", { model: model.name }) : undefined;
const result = await trainer.fit(train, { epochs, trace, ...(run && { run }), progress: job.rank === 0 });
const { accuracy } = await trainer.evaluate(test);
if (job.rank === 0) {
  const workers = `${job.worldSize} ${job.worldSize === 1 ? "worker" : "workers"}`;
  console.log(`${(100 * accuracy).toFixed(1)} % of the held-out pictures right, ${result.steps} steps, ${workers}`);
}
if (values.export !== undefined) await trainer.exportWeights(join(values.export, `weights-${job.rank}.safetensors`));
await job.close();
