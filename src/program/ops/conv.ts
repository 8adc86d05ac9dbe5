// 2-D convolution of pictures [B,H,W,C] with weights [KH,KW,C/groups,O], and its two gradients.
import { ShapeError } from "../errors.ts";
import type { FloatType, OpAttrs, Shape, TensorType, ValueId } from "../ir.ts";
import { activationGradient } from "./activation.ts";
import { typed } from "./broadcast.ts";
import { expectCount, expectFloat, expectRank, expectShape, f32, numbers, type OpDefinition } from "./definition.ts";
import { stores } from "./map.ts";
import { overWindows, type Pair, windowedSize } from "./window.ts";

type ConvAttrs = Omit<OpAttrs["conv2d"], "activation" | "dtype">;

const typedAs = (shape: Shape, dtype: FloatType = "f32"): TensorType => ({ shape, dtype });

/** [B,OH,OW,O] of a convolution. @throws ShapeError */
export function convShape(x: Shape, w: Shape, attrs: ConvAttrs): number[] {
  if (x.length !== 4 || w.length !== 4) {
    throw new ShapeError(`takes pictures [B,H,W,C] and weights [KH,KW,C/groups,O], got [${x}] and [${w}]`);
  }
  const { groups } = attrs;
  const [batch, height, width, channels] = x as [number, number, number, number];
  const [kernelHeight, kernelWidth, perGroup, outChannels] = w as [number, number, number, number];
  if (!Number.isInteger(groups) || groups < 1 || channels % groups !== 0 || outChannels % groups !== 0) {
    throw new ShapeError(`${groups} groups do not divide ${channels} channels and ${outChannels} results`);
  }
  if (perGroup * groups !== channels) {
    throw new ShapeError(`the weights [${w}] take ${perGroup * groups} channels in ${groups} groups, got ${channels}`);
  }
  const size = windowedSize([height, width], [kernelHeight, kernelWidth], attrs);
  return [batch, ...size, outChannels];
}

export const conv2d: OpDefinition<"conv2d"> = {
  infer(inputs, attrs) {
    expectCount(inputs, 2, 3);
    const [x, w, bias] = inputs as [TensorType, TensorType, TensorType?];
    expectFloat(x, "the pictures");
    expectFloat(w, "the weights");
    const shape = convShape(x.shape, w.shape, attrs);
    if (bias !== undefined) expectShape(bias, shape.slice(3), "the bias");
    return [typedAs(shape, attrs.dtype)];
  },

  gradient({ op, builder, outputGradients, needs }) {
    const { activation, dtype: _, ...attrs } = op.attrs;
    const [x, w, bias] = op.inputs as [ValueId, ValueId, ValueId?];
    let dy = outputGradients[0]!;
    if (activation !== undefined) {
      const { dtype } = builder.typeOf(dy);
      [dy] = builder.emit("map", [dy, op.outputs[0]!], {
        exprs: [activationGradient[activation]],
        ...typed([dtype as FloatType]),
      }) as [ValueId];
    }
    const [xType, wType] = [builder.typeOf(x), builder.typeOf(w)];
    const of = ({ shape, dtype }: TensorType) => ({ ...attrs, shape, ...(dtype === "f32" ? {} : { dtype }) });
    const dx = needs[0]
      ? builder.emit("conv2d_input_grad", [dy, w], of(xType) as OpAttrs["conv2d_input_grad"])[0]
      : undefined;
    const withBias = bias !== undefined && needs[2] === true;
    const weights =
      needs[1] || withBias
        ? builder.emit("conv2d_weight_grad", [x, dy], {
            ...(of(wType) as OpAttrs["conv2d_input_grad"]),
            bias: withBias,
          })
        : [];
    return [dx, needs[1] ? weights[0] : undefined, ...(bias === undefined ? [] : [weights[1]])];
  },

  reference({ attrs, inputs, outputs }) {
    const [x, w, y] = [numbers(inputs[0]), numbers(inputs[1]), numbers(outputs[0])];
    const outChannels = outputs[0]!.shape[3]!;
    const bias = inputs[2] === undefined ? undefined : numbers(inputs[2]);
    for (let i = 0; i < y.length; i++) y[i] = bias?.[i % outChannels] ?? 0;
    forEachProduct(inputs[0]!.shape, inputs[1]!.shape, outputs[0]!.shape, attrs, (xi, wi, yi) => {
      y[yi]! += x[xi]! * w[wi]!;
    });
    const stored = stores(attrs.dtype);
    for (let i = 0; i < y.length; i++) y[i] = stored(attrs.activation === "relu" ? Math.max(y[i]!, 0) : y[i]!);
  },
};

/** dy, w → dx. */
export const conv2d_input_grad: OpDefinition<"conv2d_input_grad"> = {
  infer(inputs, attrs) {
    expectCount(inputs, 2);
    const [dy, w] = inputs as [TensorType, TensorType];
    expectFloat(w, "the weights");
    expectShape(dy, convShape(attrs.shape, w.shape, attrs), "the gradient");
    return [typedAs(attrs.shape, attrs.dtype)];
  },
  reference({ attrs, inputs, outputs }) {
    const [dy, w, dx] = [numbers(inputs[0]), numbers(inputs[1]), numbers(outputs[0])];
    forEachProduct(outputs[0]!.shape, inputs[1]!.shape, inputs[0]!.shape, attrs, (xi, wi, yi) => {
      dx[xi]! += dy[yi]! * w[wi]!;
    });
    roundAll(dx, attrs.dtype);
  },
};

/** x, dy → dw, and with `bias` dbias [O]. */
export const conv2d_weight_grad: OpDefinition<"conv2d_weight_grad"> = {
  infer(inputs, attrs) {
    expectCount(inputs, 2);
    const [x, dy] = inputs as [TensorType, TensorType];
    expectFloat(x, "the pictures");
    expectRank(dy, 4, "the gradient");
    expectShape(dy, convShape(x.shape, attrs.shape, attrs), "the gradient");
    return [typedAs(attrs.shape, attrs.dtype), ...(attrs.bias ? [f32(attrs.shape[3]!)] : [])];
  },
  reference({ attrs, inputs, outputs }) {
    const [x, dy, dw] = [numbers(inputs[0]), numbers(inputs[1]), numbers(outputs[0])];
    forEachProduct(inputs[0]!.shape, outputs[0]!.shape, inputs[1]!.shape, attrs, (xi, wi, yi) => {
      dw[wi]! += x[xi]! * dy[yi]!;
    });
    roundAll(dw, attrs.dtype);
    if (!attrs.bias) return;
    const dbias = numbers(outputs[1]);
    for (let i = 0; i < dy.length; i++) dbias[i % dbias.length]! += dy[i]!;
  },
};

function roundAll(values: Float64Array, dtype: FloatType | undefined): void {
  const stored = stores(dtype);
  for (let i = 0; i < values.length; i++) values[i] = stored(values[i]!);
}

/** Every product of a convolution, as flat indices into x, w and y. */
function forEachProduct(
  x: Shape,
  w: Shape,
  y: Shape,
  attrs: ConvAttrs,
  visit: (xi: number, wi: number, yi: number) => void,
): void {
  const [batch, height, width, channels] = x as [number, number, number, number];
  const [kernelHeight, kernelWidth, perGroup, outChannels] = w as [number, number, number, number];
  const [, outHeight, outWidth] = y as [number, number, number, number];
  const size: Pair = [height, width];
  const out: Pair = [outHeight, outWidth];
  const outPerGroup = outChannels / attrs.groups;
  overWindows(size, out, [kernelHeight, kernelWidth], attrs, (outPlace, place, element) => {
    for (let b = 0; b < batch; b++) {
      const xStart = (b * height * width + place) * channels;
      const yStart = (b * outHeight * outWidth + outPlace) * outChannels;
      for (let o = 0; o < outChannels; o++) {
        const group = Math.floor(o / outPerGroup) * perGroup;
        for (let c = 0; c < perGroup; c++) {
          visit(xStart + group + c, (element * perGroup + c) * outChannels + o, yStart + o);
        }
      }
    }
  });
}
