// Convolutions of small pictures in f32 as products of their windows, which a WASM kernel copies to the rows of a matrix.
import type { ConvAddresses, ConvShape } from "../../provider.ts";
import type { DenseProduct } from "../wasm/batch.ts";
import type { WasmKernels } from "../wasm/provider.ts";
import { windowConv } from "../wasm/windows.ts";
import { allowsProducts, isF32, isStrided, weightShare } from "./conv-shape.ts";
import { createSgemm } from "./matmul.ts";
import type { Implementation, Runtime } from "./primitive.ts";

/**
 * Whether windows may be the faster way. Where there are more weights than pixels the convolution primitive waits for them,
 * and where a stride leaves pixels out its gradient of weights loses a third.
 */
export const suitsWindows = (shape: ConvShape): boolean =>
  isF32(shape) &&
  allowsProducts(shape) &&
  (weightShare(shape) > 1 || (shape.direction === "weights" && isStrided(shape)));

/**
 * Whether they are, whatever a clock says: 512 channels of 2×2 pixels, 32 pictures, run at 153–182 GFLOP/s beside 81–103 of
 * the primitive, 7×7 pixels of 8 pictures, with 6 weights a number, at 150–180 beside 140–170 (one core of an AMD EPYC with
 * AVX-512, oneDNN 2.6).
 */
export const excelsInWindows = (shape: ConvShape): boolean => suitsWindows(shape) && weightShare(shape) > 4;

export function createWindows(runtime: Runtime, kernels: WasmKernels, shape: ConvShape): Implementation<ConvAddresses> {
  const product: DenseProduct = {
    scratchBytes: (matmul) => createSgemm(runtime, kernels, matmul).scratchBytes,
    bind: (spec) => createSgemm(runtime, kernels, spec).bind(spec),
  };
  const work = windowConv(runtime.heap, product);
  return { scratchBytes: work.scratchBytes(shape), bind: (at) => work.bind(shape, at) };
}
