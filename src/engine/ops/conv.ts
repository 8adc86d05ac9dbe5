// conv2d and its gradients, by the provider.
import { type Window, windowedLength } from "../geometry.ts";
import type { FloatType } from "../plan.ts";
import type { ConvShape, Provider } from "../provider.ts";
import { check, checkArity, checkType, type OpSignature, sizeOf, type TensorType } from "../tensor.ts";
import type { BindOp } from "./op.ts";

type ConvAttrs = Window & { readonly groups: number; readonly bias?: boolean; readonly activation?: "relu" };

const direction: Readonly<Record<string, ConvShape["direction"]>> = {
  conv2d: "forward",
  conv2d_input_grad: "input",
  conv2d_weight_grad: "weights",
};

/** x, w and y (or their gradients) and the bias among an instruction's operands. */
function roles<T>(kind: string, inputs: readonly T[], outputs: readonly T[]): { x: T; w: T; y: T; bias?: T } {
  const [first, second, third] = inputs as [T, T, T?];
  const [result, other] = outputs as [T, T?];
  switch (kind) {
    case "conv2d":
      return { x: first, w: second, y: result, ...(third !== undefined && { bias: third }) };
    case "conv2d_input_grad":
      return { x: result, w: second, y: first };
    default:
      return { x: first, w: result, y: second, ...(other !== undefined && { bias: other }) };
  }
}

export function convShape(op: OpSignature): ConvShape {
  const attrs = op.attrs as unknown as ConvAttrs;
  const forward = op.kind === "conv2d";
  checkArity(op, forward ? [2, 3] : 2, attrs.bias === true ? 2 : 1);
  const { x, w, y, bias } = roles<TensorType>(op.kind, op.inputs, op.outputs);
  for (const tensor of [x, w, y]) check(op, tensor.shape.length === 4, `${op.kind} takes tensors of rank 4`);
  const [batch, height, width, channels] = x.shape as [number, number, number, number];
  const [kernelHeight, kernelWidth, perGroup, outChannels] = w.shape as [number, number, number, number];
  const { groups, stride, padding, dilation, activation } = attrs;
  const outHeight = windowedLength(height, kernelHeight, attrs, 0);
  const outWidth = windowedLength(width, kernelWidth, attrs, 1);
  check(op, perGroup * groups === channels, `the weights take ${perGroup * groups} channels, there are ${channels}`);
  checkType(op, "y", y, y.dtype, [batch, outHeight, outWidth, outChannels]);
  if (bias !== undefined) checkType(op, "the bias", bias, "f32", [outChannels]);
  return {
    direction: direction[op.kind]!,
    ...{ batch, height, width, channels, outHeight, outWidth, outChannels, kernelHeight, kernelWidth, groups },
    ...{ strideHeight: stride[0], strideWidth: stride[1], padTop: padding[0], padLeft: padding[2] },
    ...{ dilationHeight: dilation[0], dilationWidth: dilation[1], bias: bias !== undefined },
    ...(activation !== undefined && { activation }),
    types: { x: x.dtype as FloatType, w: w.dtype as FloatType, y: y.dtype as FloatType },
  };
}

const isEmpty = (op: OpSignature): boolean => [...op.inputs, ...op.outputs].some(({ shape }) => sizeOf(shape) === 0);

export const convScratch = (op: OpSignature, provider: Pick<Provider, "conv">): number =>
  isEmpty(op) ? 0 : provider.conv.scratchBytes(convShape(op));

const bindConv: BindOp = ({ instruction, inputs, outputs, scratch, scratchBytes, context }) => {
  check(instruction, !isEmpty(instruction), "a convolution of nothing");
  const addresses = roles<number>(instruction.kind, inputs, outputs);
  return [context.provider.conv.bind(convShape(instruction), { ...addresses, scratch, scratchBytes })];
};

export const convOps = { conv2d: bindConv, conv2d_input_grad: bindConv, conv2d_weight_grad: bindConv };
