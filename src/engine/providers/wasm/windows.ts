// Convolutions as matrix products over windows, which are copied to rows of a matrix, a block of them at a time so that they
// stay in the cache. After Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for Document
// Processing" (2006).
import { type Heap, instantiate } from "../../../memory/index.ts";
import { bytesOf, type FloatType } from "../../plan.ts";
import type { ConvAddresses, ConvShape, MatmulShape, Scratch, Work } from "../../provider.ts";
import type { DenseProduct } from "./batch.ts";
import { padded, runAll, ScratchBlock } from "./half.ts";

type WindowKernels = Record<"im2col" | "col2im" | "fill", (...args: number[]) => void>;

/** Bytes of windows that are copied at a time. */
const BLOCK_BYTES = 2 ** 20;
/** And so many at least: each product packs the weights again, which costs about 1 / windows of its multiplications. */
const BLOCK_WINDOWS = 192;

interface Sizes {
  /** Of a group: channels, results, elements of a window. */
  readonly channels: number;
  readonly results: number;
  readonly window: number;
  /** Of an element of a window. */
  readonly bytes: number;
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
  const bytes = bytesOf[s.types.x];
  const blockRows = Math.max(
    Math.floor(BLOCK_BYTES / (bytes * window * s.outWidth)),
    Math.ceil(BLOCK_WINDOWS / s.outWidth),
  );
  // Of sums in half precision each block would round.
  const whole = direct || (s.direction === "weights" && s.types.w !== "f32");
  return {
    ...{ channels, results: s.outChannels / s.groups, window, bytes },
    ...{ rows, blockRows: whole ? rows : Math.min(rows, blockRows), direct },
  };
}

/** The product of the windows of some output rows with a group's weights, which are columns of all weights. */
function productShape(s: ConvShape, rows: number, accumulate: boolean): MatmulShape {
  const { window, results } = sizesOf(s);
  const { x, w, y } = s.types;
  const places = rows * s.outWidth;
  const [dense, apart] = [[window, 1] as const, [s.outChannels, 1] as const];
  const turned = ([row, column]: readonly [number, number]) => [column, row] as const;
  const lying = (transposeA: boolean, transposeB: boolean, strides: NonNullable<MatmulShape["strides"]>) =>
    s.groups === 1 ? { transposeA, transposeB } : { transposeA: false, transposeB: false, strides };
  switch (s.direction) {
    case "forward":
      return {
        ...{ m: places, n: results, k: window, ...lying(false, false, { a: dense, b: apart, c: apart }) },
        types: { a: x, b: w, c: y },
        ...(s.bias && { bias: 0 }),
        ...(s.activation && { activation: s.activation }),
      };
    case "input":
      return {
        ...{ m: places, n: window, k: results, ...lying(false, true, { a: apart, b: turned(apart), c: dense }) },
        types: { a: y, b: w, c: x },
      };
    case "weights":
      return {
        ...{ m: window, n: results, k: places, ...lying(true, false, { a: turned(dense), b: apart, c: apart }) },
        types: { a: x, b: y, c: w },
        ...(accumulate && { accumulate }),
      };
    default:
      return s.direction satisfies never;
  }
}

/** Of the greatest of the products. */
function productBytes(s: ConvShape, product: DenseProduct): number {
  const { rows, blockRows } = sizesOf(s);
  const blocks = rows % blockRows === 0 ? [blockRows] : [blockRows, rows % blockRows];
  const sums = blockRows < rows ? [false, true] : [false];
  const shapes = blocks.flatMap((block) => sums.map((accumulate) => productShape(s, block, accumulate)));
  return Math.max(...shapes.map((shape) => product.scratchBytes(shape)));
}

/**
 * Of f32, or of half precision with an even number of channels; pictures that are written, sums of windows, are f32. `product`
 * multiplies operands of the shape's types.
 */
export function windowConv(heap: Heap, product: DenseProduct): Work<ConvShape, ConvAddresses> {
  return {
    scratchBytes(s) {
      const { window, bytes, blockRows, direct } = sizesOf(s);
      return (direct ? 0 : padded(bytes * blockRows * s.outWidth * window)) + padded(productBytes(s, product));
    },
    bind: (s, at) => bindWindows(instantiate<WindowKernels>("conv", heap), s, at, product),
  };
}

function bindWindows(
  { im2col, col2im, fill }: WindowKernels,
  s: ConvShape,
  { x, w, y, bias, ...at }: ConvAddresses & Scratch,
  product: DenseProduct,
): () => void {
  const { channels, results, window, bytes, rows, blockRows, direct } = sizesOf(s);
  const { groups, direction, types } = s;
  const block = new ScratchBlock(at.scratch);
  const windows = direct ? x : block.take(bytes * blockRows * s.outWidth * window);
  const scratchBytes = productBytes(s, product);
  const scratch = block.take(scratchBytes);
  const calls: (() => void)[] = [];
  if (direction === "input" && !direct) calls.push(() => fill(x, bytes * s.batch * s.height * s.width * s.channels, 0));
  for (let g = 0; g < groups; g++) {
    const ofGroup = (address: number, element: FloatType): number => address + bytesOf[element] * g * results;
    for (let row = 0; row < rows; row += blockRows) {
      const count = Math.min(blockRows, rows - row);
      const geometry = [
        ...([x + bytes * g * channels, windows, s.height, s.width, bytes * s.channels, bytes * channels] as const),
        ...([s.kernelHeight, s.kernelWidth, s.strideHeight, s.strideWidth, s.dilationHeight, s.dilationWidth] as const),
        ...([s.padTop, s.padLeft, s.outHeight, s.outWidth, row, row + count] as const),
      ];
      const ownW = ofGroup(w, types.w);
      const ownY = ofGroup(y + bytesOf[types.y] * row * s.outWidth * s.outChannels, types.y);
      const [a, b, c] = {
        forward: [windows, ownW, ownY] as const,
        input: [ownY, ownW, windows] as const,
        weights: [windows, ownY, ownW] as const,
      }[direction];
      if (direction !== "input" && !direct) calls.push(() => im2col(...geometry));
      calls.push(
        product.bind({
          ...productShape(s, count, row > 0),
          ...(bias !== undefined && direction === "forward" && { bias: ofGroup(bias, "f32") }),
          ...{ a, b, c, scratch, scratchBytes },
        }),
      );
      if (direction === "input" && !direct) calls.push(() => col2im(...geometry));
    }
  }
  return runAll(calls);
}
