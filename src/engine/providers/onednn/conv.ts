// The ways in which oneDNN convolves pictures and takes the gradients: its convolution primitive on pictures as they lie or
// in blocks of channels, a convolution with mirrored weights, and matrix products over pixels or windows.
import { bytesOf } from "../../plan.ts";
import type { ConvAddresses, ConvShape, Scratch } from "../../provider.ts";
import { type Role, resultOf } from "../wasm/conv.ts";
import type { WasmKernels } from "../wasm/provider.ts";
import { type Candidate, type Method, SAMPLE_FLOPS, type Sample } from "./choose.ts";
import { isF32, isStrided } from "./conv-shape.ts";
import { crashes, isWrong } from "./defects.ts";
import type { Windows } from "./dialect.ts";
import { Algorithm, Argument } from "./native.ts";
import { excelsAsProduct, productCandidates, suitsProducts } from "./pointwise.ts";
import {
  createPrimitive,
  type Freedom,
  type Implementation,
  type Operand,
  type Runtime,
  roundUp,
  sequence,
  withDescriptors,
  withReorders,
} from "./primitive.ts";
import { createWindows, excelsInWindows, suitsWindows } from "./windows.ts";

/** What distinguishes two shapes for a choice. */
export function convKey(shape: ConvShape): string {
  const { types, activation = "", bias } = shape;
  const x = [shape.batch, shape.height, shape.width, shape.channels].join("x");
  const w = [shape.kernelHeight, shape.kernelWidth].join("x");
  const y = [shape.outHeight, shape.outWidth, shape.outChannels].join("x");
  const steps = [shape.strideHeight, shape.strideWidth, shape.dilationHeight, shape.dilationWidth];
  const rest = [...steps, shape.padTop, shape.padLeft, shape.groups].join(" ");
  const kinds = [types.x, types.w, types.y].join(" ");
  return `conv ${shape.direction} ${x} ${w} ${y} ${rest} ${kinds}${bias ? " bias" : ""} ${activation}`.trimEnd();
}

/** The ways for a shape, the best by rule first; only those of which one is at times much faster than the other. */
export function convCandidates(runtime: Runtime, kernels: WasmKernels, shape: ConvShape): Candidate<ConvAddresses>[] {
  const direct: Candidate<ConvAddresses> = {
    method: "direct",
    create: () =>
      createDirect(runtime, shape, freeWeights) ?? createDirect(runtime, shape, { ...freeWeights, type: "f32" }),
  };
  if (suitsProducts(shape)) {
    const products = productCandidates(runtime, kernels, shape);
    if (excelsAsProduct(shape) || crashes(runtime.library.native, shape)) return products;
    return isF32(shape) && isStrided(shape) ? [direct, ...products] : [direct];
  }
  const ways = primitiveWays(runtime, shape, direct);
  const windows: Candidate<ConvAddresses> = {
    method: "windows",
    create: () => createWindows(runtime, kernels, shape),
  };
  if (excelsInWindows(shape)) return [windows, ...ways];
  return suitsWindows(shape) ? [...ways, windows] : ways;
}

/** Those by a primitive of the library for convolutions. */
function primitiveWays(
  runtime: Runtime,
  shape: ConvShape,
  direct: Candidate<ConvAddresses>,
): Candidate<ConvAddresses>[] {
  const { direction, kernelHeight, kernelWidth } = shape;
  const hasWindow = kernelHeight > 1 || kernelWidth > 1;
  const mirrored: Candidate<ConvAddresses> = { method: "mirrored", create: () => createMirrored(runtime, shape) };
  const by = (method: Method, way: Way): Candidate<ConvAddresses> => ({
    method,
    create: () => createDirect(runtime, shape, way),
  });
  const isFree = (): boolean => true;
  return [
    ...(direction === "input" && hasWindow && !isStrided(shape) ? [mirrored] : []),
    direct,
    ...(suitsWinograd(shape)
      ? [by("winograd", { isFree, algorithm: Algorithm.convolutionWinograd, type: "f32" })]
      : []),
    ...(direction === "weights" && hasWindow && isF32(shape) && isStrided(shape) ? [by("blocked", { isFree })] : []),
  ];
}

/**
 * Winograd's algorithm F(4×4, 3×3) (arXiv 1509.09308) multiplies a quarter as often as the definition does; its rounding
 * errors are about twice as large, those of weight gradients up to five times.
 */
function suitsWinograd(shape: ConvShape): boolean {
  const { kernelHeight, kernelWidth, strideHeight, strideWidth, dilationHeight, dilationWidth, groups } = shape;
  const steps = [strideHeight, strideWidth, dilationHeight, dilationWidth, groups];
  const fills = shape.outHeight * shape.outWidth > WINOGRAD_TILE / 2;
  return kernelHeight === 3 && kernelWidth === 3 && steps.every((step) => step === 1) && fills;
}

/** Pixels of a result that are computed together, whether the picture has them or not. */
const WINOGRAD_TILE = 16;

interface Way extends Freedom {
  readonly algorithm?: number;
}

const freeWeights: Way = {
  isFree: ({ argument }) => argument === Argument.weights || argument === Argument.weightsGradient,
};

/**
 * How many pixels a sample has at least: with fewer, weights would cost more than in the whole. Winograd's algorithm, which
 * transforms them, needs more: for 256 channels of 14×14 pixels it runs at 116 GFLOP/s on one picture, at 250 on four and at
 * 390 on 32.
 */
const SAMPLE_PIXELS = 196;
const WINOGRAD_SAMPLE_PIXELS = 784;

/** The same with as few pictures as give a millisecond or two of work, or pixels enough. */
export function convSample(runtime: Runtime, kernels: WasmKernels, shape: ConvShape): Sample<ConvAddresses> {
  const { kernelHeight, kernelWidth, channels, groups, outHeight, outWidth, outChannels, types } = shape;
  const weights = (kernelHeight * kernelWidth * channels * outChannels) / groups;
  const flops = 2 * weights * outHeight * outWidth;
  const pixels = suitsWinograd(shape) ? WINOGRAD_SAMPLE_PIXELS : SAMPLE_PIXELS;
  const pictures = Math.max(Math.round(SAMPLE_FLOPS / flops), Math.ceil(pixels / (outHeight * outWidth)));
  const batch = Math.min(shape.batch, pictures);
  return {
    candidates: convCandidates(runtime, kernels, { ...shape, batch }),
    sizes: [
      batch * shape.height * shape.width * channels * bytesOf[types.x],
      weights * bytesOf[types.w],
      batch * outHeight * outWidth * outChannels * bytesOf[types.y],
      outChannels * bytesOf.f32,
    ],
    place: ([x, w, y, bias]) => ({ x: x!, w: w!, y: y!, ...(shape.bias ? { bias: bias! } : {}) }),
  };
}

const scratchOf = ({ scratch, scratchBytes }: Scratch): Scratch => ({ scratch, scratchBytes });

/** Pictures [B,C,H,W] that lie as NHWC, and weights [(groups,) O, I, KH, KW] that lie as HWIO. */
function operandsOf(shape: ConvShape, argument: Readonly<Record<Role, number>>, written: Role): Record<Role, Operand> {
  const { batch, channels, outChannels, groups, kernelHeight, kernelWidth, types } = shape;
  const picture = (role: Role, height: number, width: number, depth: number): Operand => ({
    ...{ argument: argument[role], type: types[role], written: written === role },
    dims: [batch, depth, height, width],
    strides: [height * width * depth, 1, width * depth, depth],
  });
  const [inputs, outputs] = [channels / groups, outChannels / groups];
  const row = inputs * outChannels;
  return {
    x: picture("x", shape.height, shape.width, channels),
    y: picture("y", shape.outHeight, shape.outWidth, outChannels),
    w: {
      ...{ argument: argument.w, type: types.w, written: written === "w" },
      dims: [...(groups > 1 ? [groups] : []), outputs, inputs, kernelHeight, kernelWidth],
      strides: [...(groups > 1 ? [outputs] : []), 1, outChannels, kernelWidth * row, row],
    },
  };
}

const forwardArguments = { x: Argument.source, w: Argument.weights, y: Argument.destination } as const;
const argumentsOf = {
  forward: forwardArguments,
  input: { ...forwardArguments, x: Argument.sourceGradient, y: Argument.destinationGradient },
  weights: { x: Argument.source, w: Argument.weightsGradient, y: Argument.destinationGradient },
} as const;

/** Padding after the picture follows from the sizes; where a stride leaves rows over there is none. */
function windowsOf(shape: ConvShape): Windows {
  const after = (size: number, out: number, stride: number, gap: number, kernel: number, before: number): number =>
    Math.max(0, (out - 1) * stride + gap * (kernel - 1) + 1 - size - before);
  const { height, outHeight, strideHeight, dilationHeight, kernelHeight, padTop } = shape;
  const { width, outWidth, strideWidth, dilationWidth, kernelWidth, padLeft } = shape;
  return {
    strides: [strideHeight, strideWidth],
    gaps: [dilationHeight - 1, dilationWidth - 1],
    before: [padTop, padLeft],
    after: [
      after(height, outHeight, strideHeight, dilationHeight, kernelHeight, padTop),
      after(width, outWidth, strideWidth, dilationWidth, kernelWidth, padLeft),
    ],
  };
}

/** The convolution primitive; where the library has none of the operands' types, it may compute in f32. */
function createDirect(
  runtime: Runtime,
  shape: ConvShape,
  { algorithm = Algorithm.convolutionDirect, ...freedom }: Way,
  operands: Record<Role, Operand> = operandsOf(shape, argumentsOf[shape.direction], resultOf[shape.direction]),
): Implementation<ConvAddresses> | undefined {
  const { library } = runtime;
  const { direction } = shape;
  const { x, w, y } = operands;
  if (crashes(library.native, shape)) return undefined;
  const biasArgument = direction === "forward" ? Argument.bias : Argument.biasGradient;
  const bias: Operand = {
    ...{ argument: biasArgument, type: "f32", written: direction === "weights" },
    ...{ dims: [shape.outChannels], strides: [1] },
  };
  const type = direction === "weights" ? x.type : w.type;
  const forward = [
    { ...x, type },
    { ...w, type },
  ];
  const primitive = createPrimitive(
    library,
    (attributes) =>
      withDescriptors(library, [x, w, y, bias, ...forward], freedom, (dx, dw, dy, db, fx, fw) =>
        library.dialect.convolution(
          library.engine,
          {
            ...{ ...windowsOf(shape), direction, algorithm, x: dx!, w: dw!, y: dy!, bias: shape.bias ? db! : null },
            forward: direction === "forward" ? { x: dx!, w: dw! } : { x: fx!, w: fw! },
          },
          attributes,
        ),
      ),
    { activation: shape.activation },
    (implementation) => !isWrong(implementation, shape),
  );
  if (primitive === undefined) return undefined;
  const bound = withReorders(runtime, primitive, [x, w, y]);
  if (bound === undefined) return undefined;
  const { scratchBytes, bind } = bound;
  return {
    scratchBytes,
    bind: (at) =>
      bind({
        arguments: {
          ...{ [x.argument]: at.x, [w.argument]: at.w, [y.argument]: at.y },
          ...(shape.bias ? { [biasArgument]: at.bias! } : {}),
        },
        ...scratchOf(at),
      }),
  };
}

/**
 * The input gradient of a convolution of stride 1 is a convolution of dy with weights turned by half a turn, and inputs and
 * outputs swapped. The forward code is the library's best: in version 2 it is faster than that of the gradient.
 */
function createMirrored(runtime: Runtime, shape: ConvShape): Implementation<ConvAddresses> | undefined {
  const { kernelHeight, kernelWidth, dilationHeight, dilationWidth, groups, types } = shape;
  const turned: ConvShape = {
    ...shape,
    direction: "forward",
    ...{ height: shape.outHeight, width: shape.outWidth, channels: shape.outChannels },
    ...{ outHeight: shape.height, outWidth: shape.width, outChannels: shape.channels },
    padTop: dilationHeight * (kernelHeight - 1) - shape.padTop,
    padLeft: dilationWidth * (kernelWidth - 1) - shape.padLeft,
    types: { x: types.y, w: types.w, y: types.x },
  };
  if (turned.padTop < 0 || turned.padLeft < 0) return undefined;
  const { w } = operandsOf(shape, forwardArguments, "y");
  const swap = (values: readonly number[]): number[] => {
    const result = [...values];
    const first = groups > 1 ? 1 : 0;
    [result[first], result[first + 1]] = [values[first + 1]!, values[first]!];
    return result;
  };
  const operands = operandsOf(turned, forwardArguments, "y");
  const swapped = { ...operands, w: { ...w, dims: swap(w.dims), strides: swap(w.strides) } };
  const forward = createDirect(runtime, turned, freeWeights, swapped);
  if (forward === undefined) return undefined;
  const taps = kernelHeight * kernelWidth;
  const tapBytes = (shape.channels / groups) * shape.outChannels * bytesOf[types.w];
  const weightBytes = roundUp(taps * tapBytes);
  return {
    scratchBytes: weightBytes + forward.scratchBytes,
    bind({ x, w: weights, y, scratch, scratchBytes }) {
      const tapsAt = (address: number): Uint8Array[] =>
        Array.from({ length: taps }, (_, i) => runtime.heap.u8(address + i * tapBytes, tapBytes));
      const [from, to] = [tapsAt(weights), tapsAt(scratch).reverse()];
      const turn = (): void => {
        for (let i = 0; i < taps; i++) to[i]!.set(from[i]!);
      };
      const rest = { scratch: scratch + weightBytes, scratchBytes: scratchBytes - weightBytes };
      return sequence([turn, forward.bind({ x: y, w: scratch, y: x, ...rest })]);
    },
  };
}
