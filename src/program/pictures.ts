// Functions of pictures [B,H,W,C]: convolution and pooling.
import { ShapeError } from "./errors.ts";
import type { Pooling2d, Window } from "./ir.ts";
import { emit, type Tensor } from "./tensor.ts";

/** One number for height and width, or one for each. */
export type Extent = number | readonly [height: number, width: number];
/** One number for all sides, one for height and one for width, or top, bottom, left, right. */
export type Sides = number | readonly [number, number] | readonly [number, number, number, number];

export interface WindowOptions {
  /** Default 1. */
  readonly stride?: Extent;
  /** Zeros around the picture; "same" keeps ⌈size / stride⌉. Default 0. */
  readonly padding?: Sides | "same";
  /** Distance of neighbouring elements of the window; default 1. */
  readonly dilation?: Extent;
}

export interface Conv2dOptions extends WindowOptions {
  /** Divide channels and results into groups that do not see each other; default 1. */
  readonly groups?: number;
}

export interface PoolOptions extends Omit<WindowOptions, "dilation"> {
  readonly kernel: Extent;
}

export interface AveragePoolOptions extends PoolOptions {
  /** Divide by the whole window, padding too; default true, as PyTorch does. */
  readonly countPadding?: boolean;
}

const pair = (extent: Extent): readonly [number, number] => (typeof extent === "number" ? [extent, extent] : extent);

function paddingOf(
  padding: Sides | "same",
  size: readonly [number, number],
  kernel: readonly [number, number],
  stride: readonly [number, number],
  dilation: readonly [number, number],
): Window["padding"] {
  if (padding === "same") {
    const [height, width] = [0, 1].map((axis) => {
      const reach = dilation[axis]! * (kernel[axis]! - 1) + 1;
      const all = Math.max(0, (Math.ceil(size[axis]! / stride[axis]!) - 1) * stride[axis]! + reach - size[axis]!);
      return [Math.floor(all / 2), Math.ceil(all / 2)];
    }) as [[number, number], [number, number]];
    return [...height, ...width];
  }
  if (typeof padding === "number") return [padding, padding, padding, padding];
  return padding.length === 4 ? padding : [padding[0], padding[0], padding[1], padding[1]];
}

/**
 * Convolution of x [B,H,W,C] with weights [KH,KW,C/groups,O] and an optional bias [O] → [B,OH,OW,O]; as in the field, the
 * kernel is not flipped.
 */
export function conv2d(x: Tensor, weight: Tensor, bias?: Tensor, options: Conv2dOptions = {}): Tensor {
  const { padding = 0, groups = 1 } = options;
  const [stride, dilation] = [pair(options.stride ?? 1), pair(options.dilation ?? 1)];
  const kernel = [weight.shape[0]!, weight.shape[1]!] as const;
  const attrs = { stride, dilation, padding: paddingOf(padding, sizeOf(x), kernel, stride, dilation), groups };
  return x.emit("conv2d", bias === undefined ? [x, weight] : [x, weight, bias], attrs);
}

/** The maximum of each window of x [B,H,W,C]; the gradient goes to the first of equal ones. Stride defaults to the window. */
export const maxPool2d = (x: Tensor, options: PoolOptions): Tensor => pool(x, "max", options, false);

/** The mean of each window of x [B,H,W,C]. Stride defaults to the window. */
export const averagePool2d = (x: Tensor, options: AveragePoolOptions): Tensor =>
  pool(x, "average", options, options.countPadding ?? true);

function pool(x: Tensor, mode: Pooling2d["mode"], options: PoolOptions, countPadding: boolean): Tensor {
  const kernel = pair(options.kernel);
  const stride = pair(options.stride ?? options.kernel);
  const padding = paddingOf(options.padding ?? 0, sizeOf(x), kernel, stride, [1, 1]);
  const { training } = x.trace;
  return emit(x.trace, "pool2d", [x], { mode, kernel, stride, padding, countPadding, training })[0]!;
}

function sizeOf(x: Tensor): readonly [number, number] {
  const [, height, width] = x.shape;
  if (x.rank !== 4) throw new ShapeError(`expected pictures [B,H,W,C], got [${x.shape.join(",")}]`);
  return [height!, width!];
}

/** The mean over height and width: [B,H,W,C] → [B,C]. */
export function globalAveragePool(x: Tensor): Tensor {
  sizeOf(x);
  return x.mean({ axes: [1, 2] });
}
