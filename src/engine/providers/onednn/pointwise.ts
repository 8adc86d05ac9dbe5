// Convolutions with a kernel of 1×1 as matrix products over all pixels.
import type { ConvAddresses, ConvShape, MatmulShape } from "../../provider.ts";
import type { WasmKernels } from "../wasm/provider.ts";
import { type Candidate, renamed } from "./choose.ts";
import { type MatmulAddresses, matmulCandidates } from "./matmul.ts";
import type { Runtime } from "./primitive.ts";

type Role = "x" | "w" | "y";

/** Whether the convolution is one product over all pixels. */
export function isPointwise(shape: ConvShape): boolean {
  const { kernelHeight, kernelWidth, strideHeight, strideWidth, padTop, padLeft, groups } = shape;
  const ones = [kernelHeight, kernelWidth, strideHeight, strideWidth, groups];
  const isSameSize = shape.height === shape.outHeight && shape.width === shape.outWidth;
  return ones.every((value) => value === 1) && padTop === 0 && padLeft === 0 && isSameSize;
}

/**
 * Whether there are more weights than numbers in x and y. Reordering them then costs up to a quarter of the time in bf16,
 * where the matmul primitive takes them as they lie.
 */
export function isHeavy({ batch, height, width, channels, outChannels }: ConvShape): boolean {
  return channels * outChannels > batch * height * width * (channels + outChannels);
}

/** y = act(x·w + bias), dx = dy·wᵀ and dw = xᵀ·dy over all pixels. */
export function productCandidates(
  runtime: Runtime,
  kernels: WasmKernels,
  shape: ConvShape,
): Candidate<ConvAddresses>[] {
  const { channels, outChannels, types, activation } = shape;
  const pixels = shape.batch * shape.height * shape.width;
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
      const layout = { transposeA: true, transposeB: false, types: ofTypes("x", "y", "w") };
      return product({ m: channels, n: outChannels, k: pixels, ...layout }, ({ x, w, y }) => ({ a: x, b: y, c: w }));
    }
    default:
      return shape.direction satisfies never;
  }
}
