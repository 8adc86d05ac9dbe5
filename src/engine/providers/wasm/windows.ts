// Convolutions as matrix products over windows, which are copied to rows of a matrix, a block of them at a time so that they
// stay in the cache; all operands f32. After Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks
// for Document Processing" (2006).
import { type Heap, instantiate } from "../../../memory/index.ts";
import { bytesOf } from "../../plan.ts";
import type { ConvAddresses, ConvShape, MatmulShape, Scratch, Work } from "../../provider.ts";
import type { DenseProduct } from "./batch.ts";
import { padded, runAll, ScratchBlock } from "./half.ts";

type WindowKernels = Record<"im2col" | "col2im" | "fill" | "moveRows", (...args: number[]) => void>;
/** Adds a bias and applies an activation to c [m, n]. */
type Finish = (m: number, n: number, c: number, bias: number, activation: number) => void;

/** Bytes of windows that are copied at a time. */
const BLOCK_BYTES = 2 ** 20;
/** And so many at least: each product packs the weights again, which costs about 1 / windows of its multiplications. */
const BLOCK_WINDOWS = 192;
const F32 = bytesOf.f32;

interface Sizes {
  /** Of a group: channels, results, elements of a window. */
  readonly channels: number;
  readonly results: number;
  readonly window: number;
  /** Output rows of all pictures, and of a block. */
  readonly rows: number;
  readonly blockRows: number;
  /** Whether the pictures themselves are the matrix of windows. */
  readonly direct: boolean;
}

function sizesOf(s: ConvShape): Sizes {
  const channels = s.channels / s.groups;
  const window = s.kernelHeight * s.kernelWidth * channels;
  const rows = s.batch * s.outHeight;
  const isUnit = s.kernelHeight * s.kernelWidth * s.strideHeight * s.strideWidth === 1 && s.padTop + s.padLeft === 0;
  const direct = isUnit && s.groups === 1 && s.height === s.outHeight && s.width === s.outWidth;
  const blockRows = Math.max(
    Math.floor(BLOCK_BYTES / (F32 * window * s.outWidth)),
    Math.ceil(BLOCK_WINDOWS / s.outWidth),
  );
  return {
    ...{ channels, results: s.outChannels / s.groups, window },
    ...{ rows, blockRows: direct ? rows : Math.min(rows, blockRows), direct },
  };
}

/** The product of the windows of some output rows with a group's weights. */
function productShape(s: ConvShape, rows: number, accumulate: boolean): MatmulShape {
  const { window, results } = sizesOf(s);
  const places = rows * s.outWidth;
  const plain = { transposeA: false, transposeB: false };
  switch (s.direction) {
    case "forward": {
      const epilogue = { ...(s.bias && { bias: 0 }), ...(s.activation && { activation: s.activation }) };
      return { m: places, n: results, k: window, ...plain, ...(s.groups === 1 && epilogue) };
    }
    case "input":
      return { m: places, n: window, k: results, ...plain, transposeB: true };
    case "weights":
      return { m: window, n: results, k: places, ...plain, transposeA: true, ...(accumulate && { accumulate }) };
    default:
      return s.direction satisfies never;
  }
}

/** Of the greatest of the products. */
function productBytes(s: ConvShape, product: DenseProduct): number {
  const { rows, blockRows } = sizesOf(s);
  const blocks = rows % blockRows === 0 ? [blockRows] : [blockRows, rows % blockRows];
  const shapes = blocks.flatMap((block) => [false, true].map((accumulate) => productShape(s, block, accumulate)));
  return Math.max(...shapes.map((shape) => product.scratchBytes(shape)));
}

export function windowConv(heap: Heap, product: DenseProduct, finish: Finish): Work<ConvShape, ConvAddresses> {
  return {
    scratchBytes(s) {
      const { window, results, blockRows, direct } = sizesOf(s);
      const places = blockRows * s.outWidth;
      const windows = direct ? 0 : padded(F32 * places * window);
      const group = s.groups === 1 ? 0 : padded(F32 * window * results) + padded(F32 * places * results);
      return windows + group + padded(productBytes(s, product));
    },
    bind: (s, at) => bindWindows(instantiate<WindowKernels>("conv", heap), s, at, product, finish),
  };
}

function bindWindows(
  { im2col, col2im, fill, moveRows }: WindowKernels,
  s: ConvShape,
  { x, w, y, bias, ...at }: ConvAddresses & Scratch,
  product: DenseProduct,
  finish: Finish,
): () => void {
  const { channels, results, window, rows, blockRows, direct } = sizesOf(s);
  const { groups, direction } = s;
  const block = new ScratchBlock(at.scratch);
  const windows = direct ? x : block.take(F32 * blockRows * s.outWidth * window);
  // A group's weights are columns of all weights; its results are columns of all results.
  const groupW = groups === 1 ? w : block.take(F32 * window * results);
  const groupY = groups === 1 ? 0 : block.take(F32 * blockRows * s.outWidth * results);
  const scratchBytes = productBytes(s, product);
  const scratch = block.take(scratchBytes);
  const [outPixel, groupPixel] = [F32 * s.outChannels, F32 * results];
  const calls: (() => void)[] = [];
  if (direction === "input" && !direct) calls.push(() => fill(x, F32 * s.batch * s.height * s.width * s.channels, 0));
  for (let g = 0; g < groups; g++) {
    const columns = w + g * groupPixel;
    if (groups > 1 && direction !== "weights") {
      calls.push(() => moveRows(groupW, groupPixel, columns, outPixel, window, groupPixel));
    }
    const from = x + F32 * g * channels;
    for (let row = 0; row < rows; row += blockRows) {
      const count = Math.min(blockRows, rows - row);
      const places = count * s.outWidth;
      const geometry = [
        ...([from, windows, s.height, s.width, F32 * s.channels, F32 * channels] as const),
        ...([s.kernelHeight, s.kernelWidth, s.strideHeight, s.strideWidth, s.dilationHeight, s.dilationWidth] as const),
        ...([s.padTop, s.padLeft, s.outHeight, s.outWidth, row, row + count] as const),
      ];
      const ownY = y + row * s.outWidth * outPixel + g * groupPixel;
      const blockY = groups === 1 ? ownY : groupY;
      const bindProduct = (a: number, b: number, c: number): (() => void) =>
        product.bind({
          ...productShape(s, count, row > 0),
          ...(bias !== undefined && groups === 1 && direction === "forward" && { bias }),
          ...{ a, b, c, scratch, scratchBytes },
        });
      if (direction === "forward") {
        if (!direct) calls.push(() => im2col(...geometry));
        calls.push(bindProduct(windows, groupW, blockY));
        if (groups > 1) calls.push(() => moveRows(ownY, outPixel, groupY, groupPixel, places, groupPixel));
        continue;
      }
      if (groups > 1) calls.push(() => moveRows(groupY, groupPixel, ownY, outPixel, places, groupPixel));
      if (direction === "input") {
        calls.push(bindProduct(blockY, groupW, windows));
        if (!direct) calls.push(() => col2im(...geometry));
      } else {
        if (!direct) calls.push(() => im2col(...geometry));
        calls.push(bindProduct(windows, blockY, groupW));
      }
    }
    if (groups > 1 && direction === "weights") {
      calls.push(() => moveRows(columns, outPixel, groupW, groupPixel, window, groupPixel));
    }
  }
  if (groups > 1 && direction === "forward" && (s.bias || s.activation !== undefined)) {
    const activation = Number(s.activation === "relu");
    calls.push(() => finish(rows * s.outWidth, s.outChannels, y, bias ?? 0, activation));
  }
  return runAll(calls);
}
