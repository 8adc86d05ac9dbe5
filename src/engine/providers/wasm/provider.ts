// The provider that is always there: all work in WASM SIMD, with the relaxed multiply-add where the engine has it.
import { type Heap, instantiate } from "../../../memory/index.ts";
import type { Activation, MatmulShape, MatmulSpec, Provider } from "../../provider.ts";
import { checkShape, checkSpec } from "../spec.ts";
import { checked, convDemands, normDemands, poolDemands } from "../spec-work.ts";
import { batchScratchBytes, bindBatch, type DenseProduct, isPlain, layoutsOf } from "./batch.ts";
import { wasmConv } from "./conv.ts";
import type { GroupedKernels } from "./grouped.ts";
import { wasmNorm } from "./norm.ts";
import { wasmPool } from "./pool.ts";

/** Exports of gemm.as.ts. Results are i32 and need `>>> 0`. */
export interface GemmKernels {
  scratchBytes(m: number, n: number, k: number): number;
  gemm(
    m: number,
    n: number,
    k: number,
    a: number,
    rowA: number,
    transposeA: number,
    b: number,
    rowB: number,
    transposeB: number,
    c: number,
    rowC: number,
    bias: number,
    activation: number,
    accumulate: number,
    scratch: number,
  ): void;
  microKernelLoop(times: number, kc: number, a: number, b: number, c: number): number;
}

/** Exports of gemv.as.ts. */
export interface GemvKernels {
  dotRows(rows: number, k: number, a: number, x: number, y: number, accumulate: number): void;
  sumRows(n: number, k: number, a: number, x: number, y: number, accumulate: number): void;
  outer(m: number, n: number, x: number, y: number, c: number, accumulate: number): void;
  finish(m: number, n: number, c: number, bias: number, activation: number): void;
}

export interface WasmKernels {
  readonly gemm: GemmKernels;
  readonly gemv: GemvKernels;
  readonly grouped: GroupedKernels;
}

const activationCode: Readonly<Record<Activation, number>> = { relu: 1, sigmoid: 2, tanh: 3 };

/** The WASM kernels of this thread over `heap`. */
export function wasmKernels(heap: Heap): WasmKernels {
  return {
    gemm: instantiate<GemmKernels>("gemm", heap),
    gemv: instantiate<GemvKernels>("gemv", heap),
    grouped: instantiate<GroupedKernels>("grouped", heap),
  };
}

/** Whether one of the operands is a vector, and all lie densely: rows apart take the way of matrices. */
const isVectorProduct = ({ m, n, k, strides }: MatmulShape): boolean =>
  strides === undefined && (m === 1 || n === 1 || k === 1);

/** All work on `kernels`; by default the variant that this engine runs fastest. */
export function wasmProvider(heap: Heap, kernels: WasmKernels = wasmKernels(heap)): Provider {
  const { gemm } = kernels;
  const dense: DenseProduct = {
    scratchBytes: (shape) => (isVectorProduct(shape) ? 0 : gemm.scratchBytes(shape.m, shape.n, shape.k) >>> 0),
    bind(spec) {
      if (isVectorProduct(spec)) return vectorProduct(spec, kernels.gemv);
      const { m, n, k, a, b, c, scratch } = spec;
      const layouts = layoutsOf(spec);
      const [rowA, rowB, rowC] = [layouts.a.stride, layouts.b.stride, layouts.c.stride];
      const [transposeA, transposeB] = [Number(layouts.a.transposed), Number(layouts.b.transposed)];
      const bias = spec.bias ?? 0;
      const activation = spec.activation ? activationCode[spec.activation] : 0;
      const accumulate = Number(spec.accumulate ?? false);
      return () =>
        gemm.gemm(m, n, k, a, rowA, transposeA, b, rowB, transposeB, c, rowC, bias, activation, accumulate, scratch);
    },
  };
  const scratchBytes = (shape: MatmulShape): number => {
    checkShape(shape);
    return isPlain(shape) ? dense.scratchBytes(shape) : batchScratchBytes(shape, dense);
  };
  return {
    name: "wasm",
    nativeBf16: false,
    scratchBytes,
    matmul(spec) {
      checkSpec(spec, scratchBytes(spec));
      return isPlain(spec) ? dense.bind(spec) : bindBatch(heap, spec, dense);
    },
    conv: checked(convDemands, wasmConv(heap, dense, kernels.grouped)),
    pool: checked(poolDemands, wasmPool(heap)),
    norm: checked(normDemands, wasmNorm(heap)),
  };
}

/** Bias and activation as a pass of their own over C, or undefined where the spec has neither. */
export function bindEpilogue(spec: MatmulSpec, { finish }: GemvKernels): (() => void) | undefined {
  if (spec.bias === undefined && spec.activation === undefined) return undefined;
  const { m, n, c, bias = 0 } = spec;
  const activation = spec.activation ? activationCode[spec.activation] : 0;
  return () => finish(m, n, c, bias, activation);
}

/** One of m, n, k is 1: each matrix is read once, nothing is packed. */
function vectorProduct(spec: MatmulSpec, kernels: GemvKernels): () => void {
  const product = bareVectorProduct(spec, kernels);
  const epilogue = bindEpilogue(spec, kernels);
  if (epilogue === undefined) return product;
  return () => {
    product();
    epilogue();
  };
}

function bareVectorProduct(spec: MatmulSpec, { dotRows, sumRows, outer }: GemvKernels): () => void {
  const { m, n, k, a, b, c } = spec;
  const accumulate = Number(spec.accumulate ?? false);
  if (n === 1 && spec.transposeA) return () => sumRows(m, k, a, b, c, accumulate);
  if (n === 1) return () => dotRows(m, k, a, b, c, accumulate);
  if (m === 1 && spec.transposeB) return () => dotRows(n, k, b, a, c, accumulate);
  if (m === 1) return () => sumRows(n, k, b, a, c, accumulate);
  return () => outer(m, n, a, b, c, accumulate);
}
