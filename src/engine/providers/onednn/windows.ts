// Convolutions of small pictures as products of their windows, which a WASM kernel copies to the rows of a matrix.
import type { ConvAddresses, ConvShape, MatmulShape } from "../../provider.ts";
import { onF32Copies } from "../wasm/conv.ts";
import type { WasmKernels } from "../wasm/provider.ts";
import { windowConv } from "../wasm/windows.ts";
import { allowsProducts, isF32, isStrided, weightShare } from "./conv-shape.ts";
import { createSgemm, type MatmulAddresses, matmulCandidates, matmulKey } from "./matmul.ts";
import type { Implementation, Runtime } from "./primitive.ts";

/**
 * Whether windows may be the faster way. Where there are more weights than pixels the convolution primitive waits for them,
 * and where a stride leaves pixels out its gradient of weights loses a third.
 */
export const suitsWindows = (shape: ConvShape): boolean =>
  isMultiplied(shape) &&
  allowsProducts(shape) &&
  (weightShare(shape) > 1 || (shape.direction === "weights" && isStrided(shape)));

/** f32, or bf16 whose pixels fill words. */
const isMultiplied = (shape: ConvShape): boolean =>
  isF32(shape) || (shape.channels % 2 === 0 && Object.values(shape.types).every((type) => type !== "f16"));

/**
 * Whether they are, whatever a clock says: 512 channels of 2×2 pixels, 32 pictures, run at 153–182 GFLOP/s beside 81–103 of
 * the primitive, 7×7 pixels of 8 pictures, with 6 weights a number, at 150–180 beside 140–170; in bf16 the gradients of the
 * latter at 363–374 beside 272–285 (one core of an AMD EPYC with AVX-512, oneDNN 2.6).
 */
export const excelsInWindows = (shape: ConvShape): boolean => suitsWindows(shape) && weightShare(shape) > 4;

export function createWindows(
  runtime: Runtime,
  kernels: WasmKernels,
  shape: ConvShape,
): Implementation<ConvAddresses> | undefined {
  const products = new Map<string, Implementation<MatmulAddresses> | undefined>();
  const productOf = (matmul: MatmulShape): Implementation<MatmulAddresses> | undefined => {
    const key = matmulKey(matmul);
    if (!products.has(key)) products.set(key, createProduct(runtime, kernels, matmul));
    return products.get(key);
  };
  const windows = windowConv(runtime.heap, {
    scratchBytes: (matmul) => productOf(matmul)?.scratchBytes ?? 0,
    bind: (spec) => productOf(spec)!.bind(spec),
  });
  const work = shape.direction === "input" ? onF32Copies(runtime.heap, windows, ["x"]) : windows;
  const scratchBytes = work.scratchBytes(shape);
  const isOffered = [...products.values()].every((product) => product !== undefined);
  return isOffered ? { scratchBytes, bind: (at) => work.bind(shape, at) } : undefined;
}

/** By `dnnl_sgemm`, or in half precision by the matmul primitive, where the library has one. */
function createProduct(
  runtime: Runtime,
  kernels: WasmKernels,
  shape: MatmulShape,
): Implementation<MatmulAddresses> | undefined {
  if (Object.values(shape.types!).every((type) => type === "f32")) return createSgemm(runtime, kernels, shape);
  return matmulCandidates(runtime, kernels, shape)[0]?.create();
}
