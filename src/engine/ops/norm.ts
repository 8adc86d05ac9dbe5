// layer_norm and batch_norm, forward and backward.
import type { KernelFunction } from "../../kernels/index.ts";
import { type Heap, instantiate } from "../../memory/index.ts";
import { check, checkArity, checkType, type OpSignature, sizeOf } from "../tensor.ts";
import { type BindOp, call } from "./op.ts";

type NormKernels = Record<
  | "layerNorm"
  | "layerNormGrad"
  | "batchStatistics"
  | "moveRunning"
  | "reciprocalStd"
  | "batchNormalize"
  | "batchNormGrad",
  KernelFunction
>;

const kernels = (heap: Heap): NormKernels => instantiate<NormKernels>("norm", heap);

function epsilonOf(op: OpSignature): number {
  const { epsilon } = op.attrs;
  check(op, typeof epsilon === "number" && epsilon >= 0, `epsilon must be a number of at least 0, got ${epsilon}`);
  return epsilon;
}

const bindLayerNorm: BindOp = ({ instruction, inputs, outputs, context }) => {
  checkArity(instruction, 3, 3);
  const { shape } = instruction.inputs[0]!;
  check(instruction, shape.length > 0, "layer_norm needs a last axis");
  const [lead, n] = [shape.slice(0, -1), shape.at(-1)!];
  for (const i of [1, 2]) checkType(instruction, ["", "gamma", "beta"][i]!, instruction.inputs[i]!, "f32", [n]);
  checkType(instruction, "y", instruction.outputs[0]!, "f32", shape);
  for (const i of [1, 2]) {
    check(instruction, sizeOf(instruction.outputs[i]!.shape) === sizeOf(lead), "mean and rstd hold one number a row");
  }
  const args = [...inputs, ...outputs, sizeOf(lead), n, epsilonOf(instruction)];
  return n === 0 ? [] : [call(kernels(context.heap).layerNorm, ...args)];
};

const bindLayerNormGrad: BindOp = ({ instruction, inputs, outputs, context }) => {
  checkArity(instruction, 5, 3);
  const { shape } = instruction.inputs[1]!;
  check(instruction, shape.length > 0, "layer_norm_grad needs a last axis");
  const [rows, n] = [sizeOf(shape.slice(0, -1)), shape.at(-1)!];
  checkType(instruction, "dy", instruction.inputs[0]!, "f32", shape);
  checkType(instruction, "gamma", instruction.inputs[2]!, "f32", [n]);
  for (const i of [3, 4]) {
    check(instruction, sizeOf(instruction.inputs[i]!.shape) === rows, "mean and rstd hold one number a row");
  }
  checkType(instruction, "dx", instruction.outputs[0]!, "f32", shape);
  for (const i of [1, 2]) checkType(instruction, ["", "dgamma", "dbeta"][i]!, instruction.outputs[i]!, "f32", [n]);
  return n === 0 ? [] : [call(kernels(context.heap).layerNormGrad, ...inputs, ...outputs, rows, n)];
};

/** [batch, n] of x. */
function matrix(op: OpSignature, x: OpSignature["inputs"][number]): [number, number] {
  check(op, x.shape.length === 2 && x.dtype === "f32", `${op.kind} takes x of f32[batch, n]`);
  return [x.shape[0]!, x.shape[1]!];
}

const bindBatchNorm: BindOp = ({ instruction, inputs, outputs, scratch, context }) => {
  const training = instruction.attrs.training === true;
  checkArity(instruction, 6, training ? 3 : 1);
  const [batch, n] = matrix(instruction, instruction.inputs[0]!);
  const names = ["gamma", "beta", "the running mean", "the running variance"];
  for (const [i, name] of names.entries()) checkType(instruction, name, instruction.inputs[i + 1]!, "f32", [n]);
  checkType(instruction, "y", instruction.outputs[0]!, "f32", [batch, n]);
  const epsilon = epsilonOf(instruction);
  const [x, gamma, beta, runningMean, runningVariance, weight] = inputs as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const { batchStatistics, moveRunning, reciprocalStd, batchNormalize } = kernels(context.heap);
  if (!training) {
    return [
      call(reciprocalStd, runningVariance, scratch, n, epsilon),
      call(batchNormalize, x, gamma, beta, runningMean, scratch, outputs[0]!, batch, n),
    ];
  }
  checkType(instruction, "the weight", instruction.inputs[5]!, "f32", [batch]);
  for (const i of [1, 2]) checkType(instruction, ["", "mean", "rstd"][i]!, instruction.outputs[i]!, "f32", [n]);
  const [y, mean, rstd] = outputs as [number, number, number];
  const momentum = instruction.attrs.momentum;
  check(
    instruction,
    typeof momentum === "number" && momentum >= 0 && momentum <= 1,
    `momentum must be a number from 0 to 1, got ${momentum}`,
  );
  return [
    call(batchStatistics, x, weight, mean, rstd, batch, n),
    ...(momentum === 1
      ? []
      : [
          call(moveRunning, runningMean, mean, n, momentum, weight, batch),
          call(moveRunning, runningVariance, rstd, n, momentum, weight, batch),
        ]),
    call(reciprocalStd, rstd, rstd, n, epsilon),
    call(batchNormalize, x, gamma, beta, mean, rstd, y, batch, n),
  ];
};

const bindBatchNormGrad: BindOp = ({ instruction, inputs, outputs, context }) => {
  checkArity(instruction, 6, 3);
  const [batch, n] = matrix(instruction, instruction.inputs[1]!);
  checkType(instruction, "dy", instruction.inputs[0]!, "f32", [batch, n]);
  for (const i of [2, 3, 4])
    checkType(instruction, ["gamma", "mean", "rstd"][i - 2]!, instruction.inputs[i]!, "f32", [n]);
  checkType(instruction, "the weight", instruction.inputs[5]!, "f32", [batch]);
  checkType(instruction, "dx", instruction.outputs[0]!, "f32", [batch, n]);
  for (const i of [1, 2]) checkType(instruction, ["", "dgamma", "dbeta"][i]!, instruction.outputs[i]!, "f32", [n]);
  return [call(kernels(context.heap).batchNormGrad, ...inputs, ...outputs, batch, n)];
};

export const normOps = {
  layer_norm: bindLayerNorm,
  layer_norm_grad: bindLayerNormGrad,
  batch_norm: bindBatchNorm,
  batch_norm_grad: bindBatchNormGrad,
};
