// pool2d and its gradient, by the provider.
import { type Window, windowedLength } from "../geometry.ts";
import type { FloatType } from "../plan.ts";
import type { PoolShape, Provider } from "../provider.ts";
import { check, checkArity, checkType, type OpSignature, sizeOf, type TensorType } from "../tensor.ts";
import type { BindOp } from "./op.ts";

interface PoolAttrs {
  readonly mode: "max" | "average";
  readonly kernel: readonly [number, number];
  readonly stride: Window["stride"];
  readonly padding: Window["padding"];
  readonly countPadding: boolean;
}

/** x, y (or their gradients) and the places of maxima among an instruction's operands. */
function roles<T>(kind: string, inputs: readonly T[], outputs: readonly T[]): { x: T; y: T; places?: T } {
  const forward = kind === "pool2d";
  const places = forward ? outputs[1] : inputs[1];
  const [x, y] = forward ? [inputs[0]!, outputs[0]!] : [outputs[0]!, inputs[0]!];
  return { x, y, ...(places !== undefined && { places }) };
}

export function poolShape(op: OpSignature): PoolShape {
  const { mode, kernel, stride, padding, countPadding } = op.attrs as unknown as PoolAttrs;
  const forward = op.kind === "pool2d";
  const { x, y, places } = roles<TensorType>(op.kind, op.inputs, op.outputs);
  const count = places === undefined ? 1 : 2;
  checkArity(op, forward ? 1 : count, forward ? count : 1);
  check(op, forward || mode === "average" || places !== undefined, "the gradient of max pooling needs the places");
  check(op, x.shape.length === 4, `${op.kind} takes pictures of rank 4`);
  const [batch, height, width, channels] = x.shape as [number, number, number, number];
  const window: Window = { stride, padding, dilation: [1, 1] };
  const outHeight = windowedLength(height, kernel[0], window, 0);
  const outWidth = windowedLength(width, kernel[1], window, 1);
  const shape = [batch, outHeight, outWidth, channels];
  checkType(op, "y", y, x.dtype, shape);
  if (places !== undefined) checkType(op, "the places", places, "u8", shape);
  return {
    direction: forward ? "forward" : "input",
    ...{ mode, batch, height, width, channels, outHeight, outWidth, countPadding },
    ...{ kernelHeight: kernel[0], kernelWidth: kernel[1], strideHeight: stride[0], strideWidth: stride[1] },
    ...{ padTop: padding[0], padLeft: padding[2], type: x.dtype as FloatType },
  };
}

export const poolScratch = (op: OpSignature, provider: Pick<Provider, "pool">): number =>
  sizeOf(op.outputs[0]!.shape) === 0 ? 0 : provider.pool.scratchBytes(poolShape(op));

const bindPool: BindOp = ({ instruction, inputs, outputs, scratch, scratchBytes, context }) => {
  const addresses = roles<number>(instruction.kind, inputs, outputs);
  return [context.provider.pool.bind(poolShape(instruction), { ...addresses, scratch, scratchBytes })];
};

export const poolOps = { pool2d: bindPool, pool2d_grad: bindPool };
