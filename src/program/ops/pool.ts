// Pooling of pictures [B,H,W,C] by windows, and its gradient.
import { ShapeError } from "../errors.ts";
import type { FloatType, Pooling2d, Shape, TensorType, ValueId } from "../ir.ts";
import {
  expectCount,
  expectFloat,
  expectRank,
  expectShape,
  type NdArray,
  numbers,
  type OpDefinition,
} from "./definition.ts";
import { stores } from "./map.ts";
import { overWindows, type Pair, windowedSize } from "./window.ts";

/** Places in a window that a u8 can tell apart. */
const MAX_PLACES = 256;

const dense = (attrs: Pooling2d) => ({ ...attrs, dilation: [1, 1] as const });

function poolShape(x: Shape, attrs: Pooling2d): number[] {
  const [batch, height, width, channels] = x as [number, number, number, number];
  const { kernel, padding, mode } = attrs;
  if (mode === "max" && kernel[0] * kernel[1] > MAX_PLACES) {
    throw new ShapeError(`a window [${kernel}] has more than the ${MAX_PLACES} places that max pooling can tell apart`);
  }
  if (padding.some((pad, side) => pad >= kernel[side < 2 ? 0 : 1]!)) {
    throw new ShapeError(`padding [${padding}] must be less than the window [${kernel}]: it would see nothing else`);
  }
  return [batch, ...windowedSize([height, width], kernel, dense(attrs)), channels];
}

/** x → y, and for max pooling in training the places of the maxima in their windows, u8. */
export const pool2d: OpDefinition<"pool2d"> = {
  infer(inputs, attrs) {
    expectCount(inputs, 1);
    const [x] = inputs as [TensorType];
    expectFloat(x, "the pictures");
    expectRank(x, 4, "the pictures");
    const shape = poolShape(x.shape, attrs);
    const places: TensorType[] = attrs.mode === "max" && attrs.training ? [{ shape, dtype: "u8" }] : [];
    return [{ shape, dtype: x.dtype }, ...places];
  },

  gradient({ op, builder, outputGradients }) {
    const { training, ...attrs } = op.attrs;
    if (!training) throw new ShapeError("pool2d was traced for inference and has no gradient");
    const [dy] = outputGradients;
    if (dy === undefined || outputGradients[1] !== undefined) throw new ShapeError("places of maxima have no gradient");
    const { shape } = builder.typeOf(op.inputs[0]!);
    return builder.emit("pool2d_grad", [dy, ...op.outputs.slice(1)] as ValueId[], { ...attrs, shape });
  },

  reference({ attrs, inputs, outputs }) {
    const [x, y] = [numbers(inputs[0]), numbers(outputs[0])];
    const places = outputs[1] === undefined ? undefined : numbers(outputs[1]);
    const counts = windowCounts(inputs[0]!.shape, outputs[0]!.shape, attrs);
    if (attrs.mode === "max") y.fill(Number.NEGATIVE_INFINITY);
    forEachPlace(inputs[0]!.shape, outputs[0]!.shape, attrs, (xi, yi, element, outPlace) => {
      if (attrs.mode === "average") y[yi]! += x[xi]! / counts[outPlace]!;
      else if (x[xi]! > y[yi]! || Number.isNaN(x[xi]!)) {
        y[yi] = x[xi]!;
        if (places !== undefined) places[yi] = element;
      }
    });
    roundAs(y, outputs[0]!);
  },
};

/** dy, and for max pooling the places → dx. */
export const pool2d_grad: OpDefinition<"pool2d_grad"> = {
  infer(inputs, attrs) {
    expectCount(inputs, attrs.mode === "max" ? 2 : 1);
    const [dy, places] = inputs as [TensorType, TensorType?];
    expectFloat(dy, "the gradient");
    const shape = poolShape(attrs.shape, attrs);
    expectShape(dy, shape, "the gradient");
    if (places !== undefined) expectShape(places, shape, "the places");
    return [{ shape: attrs.shape, dtype: dy.dtype }];
  },

  reference({ attrs, inputs, outputs }) {
    const [dy, dx] = [numbers(inputs[0]), numbers(outputs[0])];
    const places = inputs[1] === undefined ? undefined : numbers(inputs[1]);
    const counts = windowCounts(outputs[0]!.shape, inputs[0]!.shape, attrs);
    forEachPlace(outputs[0]!.shape, inputs[0]!.shape, attrs, (xi, yi, element, outPlace) => {
      if (places === undefined) dx[xi]! += dy[yi]! / counts[outPlace]!;
      else if (places[yi] === element) dx[xi]! += dy[yi]!;
    });
    roundAs(dx, outputs[0]!);
  },
};

function roundAs(values: Float64Array, { dtype }: NdArray): void {
  const stored = stores(dtype as FloatType | undefined);
  for (let i = 0; i < values.length; i++) values[i] = stored(values[i]!);
}

/** By what each average of an output place is divided. */
function windowCounts(x: Shape, y: Shape, attrs: Pooling2d): number[] {
  const whole = attrs.kernel[0] * attrs.kernel[1];
  const counts = new Array<number>(y[1]! * y[2]!).fill(attrs.countPadding ? whole : 0);
  if (attrs.countPadding) return counts;
  overWindows(sizeIn(x), sizeIn(y), attrs.kernel, dense(attrs), (outPlace) => {
    counts[outPlace]!++;
  });
  return counts;
}

const sizeIn = (shape: Shape): Pair => [shape[1]!, shape[2]!];

function forEachPlace(
  x: Shape,
  y: Shape,
  attrs: Pooling2d,
  visit: (xi: number, yi: number, element: number, outPlace: number) => void,
): void {
  const [batch, height, width, channels] = x as [number, number, number, number];
  overWindows([height, width], sizeIn(y), attrs.kernel, dense(attrs), (outPlace, place, element) => {
    for (let b = 0; b < batch; b++) {
      const xStart = (b * height * width + place) * channels;
      const yStart = (b * y[1]! * y[2]! + outPlace) * channels;
      for (let c = 0; c < channels; c++) visit(xStart + c, yStart + c, element, outPlace);
    }
  });
}
