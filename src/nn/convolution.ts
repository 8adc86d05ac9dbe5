// Convolution layers of pictures [B,H,W,C].
import {
  type Conv2dOptions,
  conv2d as conv2dOp,
  type Extent,
  type Init,
  ShapeError,
  type Tensor,
  type TraceContext,
} from "../program/index.ts";
import { type ActivationName, activate } from "./activations.ts";
import { biasStart, expectSizes } from "./options.ts";

export interface Conv2dLayerOptions extends Conv2dOptions {
  /** Height and width of the kernel. */
  readonly kernel: Extent;
  /** Default true. */
  readonly bias?: boolean;
  readonly activation?: ActivationName;
  /** Default He uniform of the kernel's fan-in. */
  readonly init?: Init;
  /** Default zeros. */
  readonly biasInit?: Init;
  /** Optimizer group of weight and bias; default "default". */
  readonly group?: string;
}

/**
 * x [B,H,W,C] → activation(conv(x, W) + b) [B,OH,OW,channels].
 * Parameters NAME/weight [KH, KW, C/groups, channels], NAME/bias [channels].
 */
export function conv2d(
  ctx: TraceContext,
  name: string,
  x: Tensor,
  channels: number,
  options: Conv2dLayerOptions,
): Tensor {
  const { kernel, bias = true, activation, init = { kind: "he-uniform" }, ...rest } = options;
  const { biasInit = { kind: "zeros" }, group = "default", ...window } = rest;
  const [height, width] = typeof kernel === "number" ? [kernel, kernel] : kernel;
  const { groups = 1 } = window;
  expectSizes(`conv2d ${name}`, { channels, height, width, groups });
  const perGroup = x.shape.at(-1)! / groups;
  if (!Number.isInteger(perGroup)) {
    throw new ShapeError(`conv2d ${name}: ${groups} groups do not divide the ${x.shape.at(-1)} channels of its input`);
  }
  const fanIn = height * width * perGroup;
  return ctx.scope(name, () => {
    const weight = ctx.parameter("weight", [height, width, perGroup, channels], init, { group });
    const shift = bias ? ctx.parameter("bias", [channels], biasStart(biasInit, fanIn), { group }) : undefined;
    const y = conv2dOp(x, weight, shift, window);
    return activation === undefined ? y : activate(activation, y);
  });
}
