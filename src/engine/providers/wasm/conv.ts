// Convolutions as matrix products over windows, a block of output rows at a time so that the windows stay in the cache.
import { type Heap, instantiate } from "../../../memory/index.ts";
import { bytesOf } from "../../plan.ts";
import type { ConvAddresses, ConvShape, Scratch, Work } from "../../provider.ts";
import type { DenseProduct } from "./batch.ts";
import { converter, copyBytes, padded, ScratchBlock } from "./half.ts";

type ConvKernels = Record<"im2col" | "col2im" | "sumColumns" | "fill" | "moveRows", (...args: number[]) => void>;

/** Bytes of windows that are copied at a time. */
const BLOCK_BYTES = 2 ** 20;
const F32 = bytesOf.f32;

interface Sizes {
  readonly x: number;
  readonly w: number;
  readonly y: number;
  /** Of a group: channels, results, elements of a window, elements of weights. */
  readonly channels: number;
  readonly results: number;
  readonly window: number;
  readonly weights: number;
  /** Output rows a block. */
  readonly rows: number;
  /** Whether the picture itself is the matrix of windows. */
  readonly direct: boolean;
}

function sizesOf(s: ConvShape): Sizes {
  const channels = s.channels / s.groups;
  const results = s.outChannels / s.groups;
  const window = s.kernelHeight * s.kernelWidth * channels;
  const unit = s.kernelHeight * s.kernelWidth * s.strideHeight * s.strideWidth === 1;
  return {
    x: s.batch * s.height * s.width * s.channels,
    w: s.kernelHeight * s.kernelWidth * channels * s.outChannels,
    y: s.batch * s.outHeight * s.outWidth * s.outChannels,
    ...{ channels, results, window, weights: window * results },
    rows: Math.max(1, Math.min(s.outHeight, Math.floor(BLOCK_BYTES / (F32 * window * s.outWidth)))),
    direct: unit && s.groups === 1 && s.height === s.outHeight && s.width === s.outWidth,
  };
}

/** The product of a block of `places` windows with a group's weights. */
function productShape(s: ConvShape, places: number, accumulate = false) {
  const { window, results } = sizesOf(s);
  const plain = { transposeA: false, transposeB: false };
  switch (s.direction) {
    case "forward": {
      const epilogue =
        s.groups > 1 ? {} : { ...(s.bias && { bias: 0 }), ...(s.activation && { activation: s.activation }) };
      return { m: places, n: results, k: window, ...plain, ...epilogue };
    }
    case "input":
      return { m: places, n: window, k: results, ...plain, transposeB: true };
    case "weights":
      return { m: window, n: results, k: places, ...plain, transposeA: true, ...(accumulate && { accumulate }) };
    default:
      return s.direction satisfies never;
  }
}

export function wasmConv(
  heap: Heap,
  product: DenseProduct,
  finish: (...args: number[]) => void,
): Work<ConvShape, ConvAddresses> {
  /** Output rows of the blocks: whole ones and the rest. */
  const blocksOf = (s: ConvShape): number[] => {
    const { rows, direct } = sizesOf(s);
    if (direct) return [s.outHeight];
    return s.outHeight % rows === 0 ? [rows] : [rows, s.outHeight % rows];
  };
  const placesOf = (s: ConvShape, rows: number): number => (sizesOf(s).direct ? s.batch : 1) * rows * s.outWidth;
  const productBytes = (s: ConvShape): number =>
    Math.max(
      ...blocksOf(s).flatMap((rows) =>
        [false, true].map((accumulate) => product.scratchBytes(productShape(s, placesOf(s, rows), accumulate))),
      ),
    );
  const scratchBytes = (s: ConvShape): number => {
    const { x, w, y, window, weights, results, rows, direct } = sizesOf(s);
    const { types } = s;
    const copies = copyBytes(types.x, x) + copyBytes(types.w, w) + copyBytes(types.y, y);
    const windows = direct ? 0 : padded(F32 * rows * s.outWidth * window);
    const group = s.groups === 1 ? 0 : padded(F32 * weights) + padded(F32 * rows * s.outWidth * results);
    return copies + windows + group + padded(productBytes(s));
  };
  return { scratchBytes, bind: (s, at) => bindConv(heap, s, at, product, finish, blocksOf(s), productBytes(s)) };
}

function bindConv(
  heap: Heap,
  s: ConvShape,
  at: ConvAddresses & Scratch,
  product: DenseProduct,
  finish: (...args: number[]) => void,
  blocks: readonly number[],
  productBytes: number,
): () => void {
  const kernels = instantiate<ConvKernels>("conv", heap);
  const { read, write } = converter(heap);
  const sizes = sizesOf(s);
  const { channels, results, window, weights, direct } = sizes;
  const { types, groups, direction } = s;
  const block = new ScratchBlock(at.scratch);
  const numbers = (name: "x" | "w" | "y"): number =>
    types[name] === "f32" ? at[name] : block.take(copyBytes(types[name], sizes[name]));
  const [x, w, y] = [numbers("x"), numbers("w"), numbers("y")];
  const col = direct ? 0 : block.take(F32 * sizes.rows * s.outWidth * window);
  const groupW = groups === 1 ? w : block.take(F32 * weights);
  const groupY = groups === 1 ? 0 : block.take(F32 * sizes.rows * s.outWidth * results);
  const scratch = block.take(productBytes);
  const result = { forward: "y", input: "x", weights: "w" }[direction] as "x" | "w" | "y";
  const calls: (() => void)[] = [];
  for (const name of ["x", "w", "y"] as const) {
    if (name !== result) calls.push(read(types[name], at[name], { x, w, y }[name], sizes[name]));
  }
  const pixel = F32 * s.channels;
  const outPixel = F32 * s.outChannels;
  if (direction === "input" && !direct) calls.push(() => kernels.fill(x, F32 * sizes.x, 0));
  for (let g = 0; g < groups; g++) {
    // A group's weights are columns of all weights; its results are columns of all results.
    const wColumns = w + F32 * g * results;
    const moveW = (out: boolean) => (): void =>
      out
        ? kernels.moveRows(wColumns, outPixel, groupW, F32 * results, window, F32 * results)
        : kernels.moveRows(groupW, F32 * results, wColumns, outPixel, window, F32 * results);
    if (groups > 1 && direction !== "weights") calls.push(moveW(false));
    let first = true;
    for (let b = 0; b < (direct ? 1 : s.batch); b++) {
      for (let oy = 0; oy < s.outHeight; oy += blocks[0]!) {
        const rows = Math.min(blocks[0]!, s.outHeight - oy);
        const places = (direct ? s.batch : 1) * rows * s.outWidth;
        const picture = x + (b * s.height * s.width * s.channels + g * channels) * F32;
        const window0 = direct ? x : col;
        const yRows = y + (b * s.outHeight + oy) * s.outWidth * outPixel + F32 * g * results;
        const geometry = [
          ...[picture, col, s.height, s.width, pixel, F32 * channels, s.kernelHeight, s.kernelWidth],
          ...[s.strideHeight, s.strideWidth, s.dilationHeight, s.dilationWidth, s.padTop, s.padLeft],
          ...[s.outWidth, oy, oy + rows],
        ];
        const yAt = groups === 1 ? yRows : groupY;
        const moveY = (out: boolean) => (): void =>
          out
            ? kernels.moveRows(yRows, outPixel, groupY, F32 * results, places, F32 * results)
            : kernels.moveRows(groupY, F32 * results, yRows, outPixel, places, F32 * results);
        const shape = productShape(s, places, direction === "weights" && !first);
        const bind = (a: number, bAt: number, c: number): (() => void) =>
          product.bind({
            ...shape,
            ...(direction === "forward" && groups === 1 && s.bias ? { bias: at.bias! } : {}),
            ...{ a, b: bAt, c, scratch, scratchBytes: productBytes },
          });
        if (direction !== "input" && !direct) calls.push(() => kernels.im2col(...geometry));
        if (direction === "forward") {
          calls.push(bind(window0, groupW, yAt));
          if (groups > 1) calls.push(moveY(true));
        } else {
          if (groups > 1) calls.push(moveY(false));
          calls.push(direction === "input" ? bind(yAt, groupW, window0) : bind(window0, yAt, groupW));
          if (direction === "input" && !direct) calls.push(() => kernels.col2im(...geometry));
        }
        first = false;
      }
    }
    if (groups > 1 && direction === "weights") calls.push(moveW(true));
  }
  const outPlaces = s.batch * s.outHeight * s.outWidth;
  if (direction === "forward" && groups > 1 && (s.bias || s.activation)) {
    calls.push(() => finish(outPlaces, s.outChannels, y, s.bias ? at.bias! : 0, s.activation ? 1 : 0));
  }
  if (direction === "weights" && s.bias) calls.push(() => kernels.sumColumns(y, at.bias!, outPlaces, s.outChannels));
  calls.push(write(types[result], { x, w, y }[result], at[result], sizes[result]));
  return () => {
    for (let i = 0; i < calls.length; i++) calls[i]!();
  };
}
