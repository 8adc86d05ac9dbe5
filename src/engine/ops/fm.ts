// fm: the second-order term of a factorisation machine, forward and backward.

import type { KernelFunction } from "../../kernels/index.ts";
import { instantiate } from "../../memory/index.ts";
import { check, checkArity, checkType, type OpSignature } from "../tensor.ts";
import { type BindOp, call } from "./op.ts";

type FmKernels = Record<"fm" | "fmGrad", KernelFunction>;

function factors(op: OpSignature, x: OpSignature["inputs"][number]): [number, number, number] {
  check(op, x.shape.length === 3 && x.dtype === "f32", `${op.kind} takes x of f32[batch, fields, dim]`);
  return [x.shape[0]!, x.shape[1]!, x.shape[2]!];
}

const bindFm: BindOp = ({ instruction, inputs, outputs, context }) => {
  checkArity(instruction, 1, 2);
  const [batch, fields, dim] = factors(instruction, instruction.inputs[0]!);
  checkType(instruction, "y", instruction.outputs[0]!, "f32", [batch, 1]);
  checkType(instruction, "the sum", instruction.outputs[1]!, "f32", [batch, dim]);
  return [
    call(instantiate<FmKernels>("fm", context.heap).fm, inputs[0]!, outputs[0]!, outputs[1]!, batch, fields, dim),
  ];
};

const bindFmGrad: BindOp = ({ instruction, inputs, outputs, context }) => {
  checkArity(instruction, 3, 1);
  const [dy, x, sum] = instruction.inputs;
  const [batch, fields, dim] = factors(instruction, x!);
  checkType(instruction, "dy", dy!, "f32", [batch, 1]);
  checkType(instruction, "the sum", sum!, "f32", [batch, dim]);
  checkType(instruction, "dx", instruction.outputs[0]!, "f32", x!.shape);
  const { fmGrad } = instantiate<FmKernels>("fm", context.heap);
  return [call(fmGrad, inputs[0]!, inputs[1]!, inputs[2]!, outputs[0]!, batch, fields, dim)];
};

export const fmOps = { fm: bindFm, fm_grad: bindFmGrad };
