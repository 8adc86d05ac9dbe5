// The arithmetic of collectives as TypeScript sees it: kernels bound to a heap, and which of them a call needs.
import type { FloatType } from "../kernels/half.ts";
import { type Heap, instantiate } from "../memory/index.ts";

type Reduce = (destination: number, source: number, count: number) => void;
type ReduceAll = (table: number, peers: number, start: number, count: number, factor: number) => void;

/** Exports of `reduction.as.ts`. Addresses of the heap, counts of elements. */
export interface Reduction {
  readonly sumF32: Reduce;
  readonly maxF32: Reduce;
  readonly sumBf16: Reduce;
  readonly maxBf16: Reduce;
  readonly sumF16: Reduce;
  readonly maxF16: Reduce;
  readonly encodeBf16: Reduce;
  readonly encodeF16: Reduce;
  readonly decodeBf16: Reduce;
  readonly decodeF16: Reduce;
  readonly scaleF32: (address: number, count: number, factor: number) => void;
  readonly copyBytes: (destination: number, source: number, bytes: number) => void;
  readonly sumAllF32: ReduceAll;
  readonly maxAllF32: ReduceAll;
}

export const reduction = (heap: Heap): Reduction => instantiate<Reduction>("reduction", heap);

/** What a reduction computes; the mean is the sum divided by the number of ranks. */
export type ReduceOp = "sum" | "mean" | "max";

/** How numbers travel: `reduce` and `decode` read what came, `encode` writes what goes. */
export interface Wire {
  readonly bytes: 2 | 4;
  readonly reduce: Reduce;
  /** Missing where numbers travel as they are. */
  readonly half?: { readonly encode: Reduce; readonly decode: Reduce };
}

export function wireOf(kernels: Reduction, type: FloatType, op: ReduceOp): Wire {
  const max = op === "max";
  switch (type) {
    case "f32":
      return { bytes: 4, reduce: max ? kernels.maxF32 : kernels.sumF32 };
    case "bf16":
      return {
        bytes: 2,
        reduce: max ? kernels.maxBf16 : kernels.sumBf16,
        half: { encode: kernels.encodeBf16, decode: kernels.decodeBf16 },
      };
    case "f16":
      return {
        bytes: 2,
        reduce: max ? kernels.maxF16 : kernels.sumF16,
        half: { encode: kernels.encodeF16, decode: kernels.decodeF16 },
      };
    default:
      return type satisfies never;
  }
}
