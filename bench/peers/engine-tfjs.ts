// The engine benchmark's MLP in TensorFlow.js on its WebAssembly backend, one thread. Run as
// `node engine-tfjs.ts PACKAGES BATCH`; speaks as engine_torch.py does.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { answerSteps, mlpBatch, mlpWeights } from "./engine-steps.ts";

interface Tensor {
  data(): Promise<Float32Array>;
  dispose(): void;
}
type Binary = (a: Tensor, b: Tensor) => Tensor;
/** The part of TensorFlow.js that is used here. */
interface TensorFlow {
  setBackend(name: string): Promise<boolean>;
  variable(value: Tensor): Tensor;
  zeros(shape: readonly number[]): Tensor;
  tensor(values: Float32Array | Int32Array, shape: readonly number[], dtype: "float32" | "int32"): Tensor;
  oneHot(labels: Tensor, classes: number): Tensor;
  relu(x: Tensor): Tensor;
  readonly add: Binary;
  readonly matMul: Binary;
  readonly losses: { softmaxCrossEntropy: Binary };
  readonly train: { sgd(rate: number): { minimize(loss: () => Tensor, returnCost: true): Tensor } };
}
interface WasmBackend {
  setWasmPaths(folder: string): void;
  setThreadsCount(count: number): void;
}

const [packages, batchText] = process.argv.slice(2);
const require = createRequire(join(packages!, "package.json"));
const tf = require("@tensorflow/tfjs") as TensorFlow;
const wasm = require("@tensorflow/tfjs-backend-wasm") as WasmBackend;
wasm.setWasmPaths(`${dirname(require.resolve("@tensorflow/tfjs-backend-wasm"))}/`);
wasm.setThreadsCount(1);
if (!(await tf.setBackend("wasm"))) throw new Error("the wasm backend does not start");

const { batch, inputs, classes, x: pixels, labels } = mlpBatch(Number(batchText));
const start = mlpWeights();
const x = tf.tensor(pixels, [batch, inputs], "float32");
const y = tf.oneHot(tf.tensor(labels, [batch], "int32"), classes);
const w0 = tf.variable(tf.tensor(start.w0, [inputs, start.hidden], "float32"));
const b0 = tf.variable(tf.zeros([start.hidden]));
const w1 = tf.variable(tf.tensor(start.w1, [start.hidden, classes], "float32"));
const b1 = tf.variable(tf.zeros([classes]));

const optimizer = tf.train.sgd(0.01);
const loss = (): Tensor => {
  const inner = tf.relu(tf.add(tf.matMul(x, w0), b0));
  return tf.losses.softmaxCrossEntropy(y, tf.add(tf.matMul(inner, w1), b1));
};
await answerSteps(async () => {
  const value = optimizer.minimize(loss, true);
  const [number] = await value.data();
  value.dispose();
  return number!;
});
