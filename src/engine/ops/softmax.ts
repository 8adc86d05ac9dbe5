// softmax and softmax cross-entropy with integer labels, forward and backward.

import type { KernelFunction } from "../../kernels/index.ts";
import { type Heap, instantiate } from "../../memory/index.ts";
import { check, checkArity, checkType, type OpSignature, sizeOf } from "../tensor.ts";
import { type BindOp, call } from "./op.ts";

type SoftmaxKernels = Record<"softmax" | "softmaxGrad" | "crossEntropy" | "crossEntropyGrad", KernelFunction>;

const kernels = (heap: Heap): SoftmaxKernels => instantiate<SoftmaxKernels>("softmax", heap);

/** [rows, n] of a tensor seen by its last axis. */
function rowsOf(op: OpSignature, shape: readonly number[]): [number, number] {
  check(op, shape.length > 0, `${op.kind} needs a last axis`);
  return [sizeOf(shape.slice(0, -1)), shape.at(-1)!];
}

const bindSoftmax: BindOp = ({ instruction, inputs, outputs, context }) => {
  checkArity(instruction, 1, 1);
  const { shape } = instruction.inputs[0]!;
  checkType(instruction, "x", instruction.inputs[0]!, "f32", shape);
  checkType(instruction, "y", instruction.outputs[0]!, "f32", shape);
  const [rows, n] = rowsOf(instruction, shape);
  return n === 0 ? [] : [call(kernels(context.heap).softmax, inputs[0]!, outputs[0]!, rows, n)];
};

const bindSoftmaxGrad: BindOp = ({ instruction, inputs, outputs, context }) => {
  checkArity(instruction, 2, 1);
  const { shape } = instruction.inputs[1]!;
  checkType(instruction, "dy", instruction.inputs[0]!, "f32", shape);
  checkType(instruction, "y", instruction.inputs[1]!, "f32", shape);
  checkType(instruction, "dx", instruction.outputs[0]!, "f32", shape);
  const [rows, n] = rowsOf(instruction, shape);
  return n === 0 ? [] : [call(kernels(context.heap).softmaxGrad, inputs[0]!, inputs[1]!, outputs[0]!, rows, n)];
};

/** [B, C] of the logits or probabilities, checked against the labels. */
function classes(
  op: OpSignature,
  matrix: OpSignature["inputs"][number],
  labels: OpSignature["inputs"][number],
): [number, number] {
  check(op, matrix.shape.length === 2, `${op.kind} takes logits of [batch, classes]`);
  const [batch, n] = [matrix.shape[0]!, matrix.shape[1]!];
  check(op, n > 0, `${op.kind} needs at least one class`);
  checkType(op, "the logits", matrix, "f32", [batch, n]);
  checkType(op, "the labels", labels, "i32", [batch]);
  return [batch, n];
}

const bindCrossEntropy: BindOp = ({ instruction, inputs, outputs, context }) => {
  checkArity(instruction, 2, 2);
  const [logits, labels] = instruction.inputs;
  const [batch, n] = classes(instruction, logits!, labels!);
  checkType(instruction, "the loss", instruction.outputs[0]!, "f32", [batch]);
  checkType(instruction, "the probabilities", instruction.outputs[1]!, "f32", [batch, n]);
  return [call(kernels(context.heap).crossEntropy, inputs[0]!, inputs[1]!, outputs[0]!, outputs[1]!, batch, n)];
};

const bindCrossEntropyGrad: BindOp = ({ instruction, inputs, outputs, context }) => {
  checkArity(instruction, 3, 1);
  const [dloss, probabilities, labels] = instruction.inputs;
  const [batch, n] = classes(instruction, probabilities!, labels!);
  checkType(instruction, "dloss", dloss!, "f32", [batch]);
  checkType(instruction, "dlogits", instruction.outputs[0]!, "f32", [batch, n]);
  const { crossEntropyGrad } = kernels(context.heap);
  return [call(crossEntropyGrad, inputs[0]!, inputs[1]!, inputs[2]!, outputs[0]!, batch, n)];
};

export const softmaxOps = {
  softmax: bindSoftmax,
  softmax_grad: bindSoftmaxGrad,
  softmax_cross_entropy: bindCrossEntropy,
  softmax_cross_entropy_grad: bindCrossEntropyGrad,
};
