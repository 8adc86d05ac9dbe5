// The engine benchmark's MLP in jax-js on its WebAssembly backend, which has one thread in Node. Run as
// `node engine-jax.ts PACKAGES BATCH`; speaks as engine_torch.py does.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { answerSteps, mlpBatch, mlpWeights } from "./engine-steps.ts";

/** Arrays are counted references: an argument is given away, `ref` keeps one. */
interface Tensor {
  readonly ref: Tensor;
  add(other: Tensor): Tensor;
  sub(other: Tensor): Tensor;
  mul(other: Tensor | number): Tensor;
  sum(axis?: number): Tensor;
  reshape(shape: readonly number[]): Tensor;
  mean(): Tensor;
  data(): Promise<Float32Array>;
}
type Parameters = Readonly<Record<"w0" | "b0" | "w1" | "b1", Tensor>>;
type Step = (parameters: Parameters, x: Tensor, y: Tensor) => [Tensor, Parameters];
/** The part of jax-js that is used here. */
interface Jax {
  init(...devices: string[]): Promise<string[]>;
  defaultDevice(device: string): string;
  jit(step: Step): Step;
  valueAndGrad(
    loss: (parameters: Parameters, x: Tensor, y: Tensor) => Tensor,
  ): (parameters: Parameters, x: Tensor, y: Tensor) => [Tensor, Parameters];
  blockUntilReady<T>(value: T): Promise<T>;
  readonly numpy: {
    array(values: Float32Array): Tensor;
    matmul(a: Tensor, b: Tensor): Tensor;
  };
  readonly nn: { relu(x: Tensor): Tensor; logSoftmax(x: Tensor, axis: number): Tensor };
}

const [packages, batchText] = process.argv.slice(2);
const require = createRequire(join(packages!, "package.json"));
const jax = (await import(pathToFileURL(require.resolve("@jax-js/jax")).href)) as Jax;
await jax.init("wasm");
jax.defaultDevice("wasm");
const { numpy, nn } = jax;

const tensor = (values: Float32Array, shape: readonly number[]): Tensor => numpy.array(values).reshape(shape);
const { batch, inputs, classes, x: pixels, labels } = mlpBatch(Number(batchText));
const { w0, w1, hidden } = mlpWeights();
const oneHot = new Float32Array(batch * classes);
for (const [row, label] of labels.entries()) oneHot[row * classes + label] = 1;
const x = tensor(pixels, [batch, inputs]);
const y = tensor(oneHot, [batch, classes]);

function loss(p: Parameters, x: Tensor, y: Tensor): Tensor {
  const inner = nn.relu(numpy.matmul(x, p.w0).add(p.b0));
  return nn.logSoftmax(numpy.matmul(inner, p.w1).add(p.b1), -1).mul(y).sum(-1).mean().mul(-1);
}

const rate = 0.01;
const train = jax.jit((p, x, y) => {
  const { w0, b0, w1, b1 } = p;
  const own = { w0: w0.ref, b0: b0.ref, w1: w1.ref, b1: b1.ref };
  const [value, d] = jax.valueAndGrad(loss)(own, x, y);
  return [
    value,
    {
      w0: w0.sub(d.w0.mul(rate)),
      b0: b0.sub(d.b0.mul(rate)),
      w1: w1.sub(d.w1.mul(rate)),
      b1: b1.sub(d.b1.mul(rate)),
    },
  ];
});

let parameters: Parameters = {
  w0: tensor(w0, [inputs, hidden]),
  b0: tensor(new Float32Array(hidden), [hidden]),
  w1: tensor(w1, [hidden, classes]),
  b1: tensor(new Float32Array(classes), [classes]),
};
await answerSteps(async () => {
  const [value, next] = train(parameters, x.ref, y.ref);
  parameters = await jax.blockUntilReady(next);
  return (await value.data())[0]!;
});
