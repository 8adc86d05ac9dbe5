// Convolution layers of pictures [B,H,W,C].
import {
  type Conv2dOptions,
  conv2d as conv2dOp,
  type Extent,
  type Init,
  type Tensor,
  type TraceContext,
} from "../program/index.ts";
import { type ActivationName, activate } from "./activations.ts";

export interface Conv2dLayerOptions extends Conv2dOptions {
  /** Height and width of the kernel. */
  readonly kernel: Extent;
  /** Default true. */
  readonly bias?: boolean;
  readonly activation?: ActivationName;
  /** Default He uniform of the kernel's fan-in. */
  readonly init?: Init;
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
  const { kernel, bias = true, activation, init = { kind: "he-uniform" }, group = "default", ...window } = options;
  const [height, width] = typeof kernel === "number" ? [kernel, kernel] : kernel;
  const perGroup = x.shape.at(-1)! / (window.groups ?? 1);
  return ctx.scope(name, () => {
    const weight = ctx.parameter("weight", [height, width, perGroup, channels], init, { group });
    const shift = bias ? ctx.parameter("bias", [channels], { kind: "zeros" }, { group }) : undefined;
    const y = conv2dOp(x, weight, shift, window);
    return activation === undefined ? y : activate(activation, y);
  });
}
