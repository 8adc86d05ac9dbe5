// Weights to and from other software: a network goes out as PyTorch would save it, comes back under names of one's own
// into a network with another head, and leaves as an ONNX model.
import { mkdirSync, statSync } from "node:fs";
import { checkpoint, data, fleet, type models, nn, optim } from "../src/index.ts";

const folder = "runs/examples/weights";
mkdirSync(folder, { recursive: true });
const rows = 256;
const size = 8;

/** A network for `classes` kinds of pictures. */
const model = (classes: number, backbone: string): models.Model => ({
  name: "tiny",
  config: { classes },
  task: "classification",
  forward({ image }, ctx) {
    const y = ctx.scope(backbone, () => {
      const conv = nn.conv2d(ctx, "conv", image!, 6, { kernel: 3, stride: 2, padding: 1, bias: false });
      return nn.batchNorm(ctx, "bn", conv).relu();
    });
    return nn.linear(ctx, "fc", y.flatten(), classes);
  },
});

/** Pictures whose brighter half tells their class. */
function pictures(classes: number): data.Dataset {
  const label = Int32Array.from({ length: rows }, (_, row) => row % classes);
  const image = Float32Array.from({ length: rows * size * size }, (_, i) => {
    const [row, place] = [Math.floor(i / size ** 2), i % size ** 2];
    return Math.sin(i * 12.9898) + (Math.floor((place * classes) / size ** 2) === row % classes ? 1 : 0);
  });
  const columns = { image: { data: image, shape: [rows, size, size, 1] }, label: { data: label, shape: [rows] } };
  return data.tensors(columns, { batch: 32 });
}

const job = await fleet.init({ threads: 2 });
const options = { optimizer: optim.adam({ lr: 0.01 }), strategy: { mode: "sync" } } as const;
const trainer = job.trainer(model(2, "features"), options);
await trainer.fit(pictures(2), { epochs: 4, progress: false });

await trainer.exportWeights(`${folder}/tiny.safetensors`);
{
  await using file = await checkpoint.SafetensorsFile.open(`${folder}/tiny.safetensors`);
  for (const [name, { dtype, shape }] of file.tensors) console.log(`${dtype} [${shape}] ${name}`);
}

const next = job.trainer(model(4, "backbone"), options);
const report = await next.importWeights(`${folder}/tiny.safetensors`, pictures(4), {
  names: (ours, theirs) => (ours.startsWith("fc/") ? `head.${theirs}` : theirs.replace("backbone.", "features.")),
  strict: false,
});
console.log(report);

await trainer.exportOnnx(`${folder}/tiny.onnx`, { batch: 1 });
console.log(`tiny.onnx: ${statSync(`${folder}/tiny.onnx`).size} bytes`);
await job.close();
