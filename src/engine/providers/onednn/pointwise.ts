// Convolutions with a kernel of 1×1 as matrix products over all pixels, or over those where the stride stops.
import { bytesOf } from "../../plan.ts";
import type { ConvAddresses, ConvShape, MatmulShape } from "../../provider.ts";
import type { Role } from "../wasm/conv.ts";
import type { WasmKernels } from "../wasm/provider.ts";
import { type Candidate, renamed } from "./choose.ts";
import { allowsProducts, isF32, weightShare } from "./conv-shape.ts";
import { type MatmulAddresses, matmulCandidates } from "./matmul.ts";
import { Argument } from "./native.ts";
import {
  asTheyLie,
  bindPrimitive,
  contiguous,
  type Implementation,
  ifOffered,
  type Operand,
  type Runtime,
  reorderBetween,
  roundUp,
  sequence,
  withDescriptors,
} from "./primitive.ts";
import { transposed } from "./turned.ts";

/** Whether the convolution is a product over pixels. */
export function suitsProducts(shape: ConvShape): boolean {
  const { kernelHeight, kernelWidth, padTop, padLeft } = shape;
  const isPoint = kernelHeight === 1 && kernelWidth === 1 && padTop === 0 && padLeft === 0;
  // Where the last windows stand on padding, there are fewer pixels than results.
  const isInside =
    (shape.outHeight - 1) * shape.strideHeight < shape.height && (shape.outWidth - 1) * shape.strideWidth < shape.width;
  return isPoint && isInside && allowsProducts(shape);
}

/**
 * Whether products are the faster way (one core of an AMD EPYC with AVX-512, oneDNN 2.6, layers of ResNet-50, GFLOP/s):
 * gradients of weights at 162–201 against 104–173 in f32 and at 308–414 against 235–340 in bf16; gradients of f32 pictures by
 * a tenth; and with more weights than numbers in x and y, where the convolution waits for weights or spends a quarter of its
 * time on reordering them: 512 → 2048 channels of 2×2 pixels, 32 pictures, at 189 against 121.
 */
export function excelsAsProduct(shape: ConvShape): boolean {
  const { direction } = shape;
  if (direction === "weights") return true;
  return isDense(shape) && ((isF32(shape) && direction === "input") || weightShare(shape) > 1);
}

/** Whether every pixel takes part. */
function isDense({ height, width, outHeight, outWidth }: ConvShape): boolean {
  return height === outHeight && width === outWidth;
}

/** y = act(x·w + bias), dx = dy·wᵀ and dw = xᵀ·dy over all pixels. */
function denseCandidates(runtime: Runtime, kernels: WasmKernels, shape: ConvShape): Candidate<ConvAddresses>[] {
  const { channels, outChannels, types, activation } = shape;
  const pixels = shape.batch * shape.outHeight * shape.outWidth;
  const ofTypes = (a: Role, b: Role, c: Role): NonNullable<MatmulShape["types"]> => ({
    a: types[a],
    b: types[b],
    c: types[c],
  });
  const product = (matmul: MatmulShape, place: (at: ConvAddresses) => MatmulAddresses): Candidate<ConvAddresses>[] =>
    renamed(matmulCandidates(runtime, kernels, matmul), place);
  switch (shape.direction) {
    case "forward": {
      const layout = { transposeA: false, transposeB: false, types: ofTypes("x", "w", "y") };
      const epilogue = { ...(shape.bias && { bias: 0 }), ...(activation && { activation }) };
      return product({ m: pixels, n: outChannels, k: channels, ...layout, ...epilogue }, ({ x, w, y, bias }) => ({
        ...{ a: x, b: w, c: y },
        ...(bias === undefined ? {} : { bias }),
      }));
    }
    case "input": {
      const layout = { transposeA: false, transposeB: true, types: ofTypes("y", "w", "x") };
      return product({ m: pixels, n: channels, k: outChannels, ...layout }, ({ x, w, y }) => ({ a: y, b: w, c: x }));
    }
    case "weights": {
      const layout = { transposeA: true, transposeB: false };
      const xy = { m: channels, n: outChannels, k: pixels, ...layout, types: ofTypes("x", "y", "w") };
      const ways = product(xy, ({ x, w, y }) => ({ a: x, b: y, c: w }));
      if (isF32(shape) || channels < 2 * outChannels || channels * outChannels > TURNED_WEIGHTS) return ways;
      const yx = { m: outChannels, n: channels, k: pixels, ...layout, types: ofTypes("y", "x", "w") };
      const [right] = product(yx, ({ x, w, y }) => ({ a: y, b: x, c: w }));
      const result = { name: "w", rows: channels, columns: outChannels, type: types.w } as const;
      return [{ method: "turned", create: () => transposed<ConvAddresses>(runtime, result, right!.create()) }, ...ways];
    }
    default:
      return shape.direction satisfies never;
  }
}

/**
 * The most weights whose gradient is computed turned. In bf16 (one core of an AMD EPYC with AVX-512, oneDNN 2.6, layers of
 * ResNet-50, GFLOP/s): 251–377 against 200–350.
 */
const TURNED_WEIGHTS = 2 ** 18;

/** The ways for a shape that suits products; where its stride leaves pixels out, around copies of the others. */
export function productCandidates(
  runtime: Runtime,
  kernels: WasmKernels,
  shape: ConvShape,
): Candidate<ConvAddresses>[] {
  const products = denseCandidates(runtime, kernels, shape);
  if (isDense(shape)) return products;
  return products.map(({ method, create }) => ({
    method,
    create() {
      const product = create();
      return product === undefined ? undefined : ifOffered(() => gathered(runtime, shape, product));
    },
  }));
}

/** The product over pixels gathered into scratch first, or scattered from there over zeros. */
function gathered(
  runtime: Runtime,
  shape: ConvShape,
  product: Implementation<ConvAddresses>,
): Implementation<ConvAddresses> {
  const { library, heap } = runtime;
  const { batch, height, width, channels, outHeight, outWidth, strideHeight, strideWidth } = shape;
  const isInput = shape.direction === "input";
  const dims = [batch, outHeight, outWidth, channels];
  const common = { argument: Argument.source, type: shape.types.x, dims, written: false };
  const row = width * channels;
  const strides = [height * row, strideHeight * row, strideWidth * channels, 1];
  const ends: Operand[] = [
    { ...common, strides },
    { ...common, strides: contiguous(dims) },
  ];
  const copy = withDescriptors(library, ends, asTheyLie, (apart, dense) =>
    isInput ? reorderBetween(library, dense!, apart!) : reorderBetween(library, apart!, dense!),
  );
  const pictureBytes = batch * height * row * bytesOf[shape.types.x];
  const denseBytes = roundUp(batch * outHeight * outWidth * channels * bytesOf[shape.types.x]);
  return {
    scratchBytes: denseBytes + Math.max(copy.scratchBytes, product.scratchBytes),
    bind({ scratch, scratchBytes, ...at }) {
      const rest = { scratch: scratch + denseBytes, scratchBytes: scratchBytes - denseBytes };
      const [from, to] = isInput ? [scratch, at.x] : [at.x, scratch];
      const move = { [Argument.source]: from, [Argument.destination]: to };
      const copyPixels = bindPrimitive(runtime, copy, move, rest.scratch);
      const multiply = product.bind({ ...at, x: scratch, ...rest });
      if (!isInput) return sequence([copyPixels, multiply]);
      const picture = heap.u8(at.x, pictureBytes);
      return sequence([multiply, () => void picture.fill(0), copyPixels]);
    },
  };
}
