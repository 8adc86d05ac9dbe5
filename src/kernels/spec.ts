// What a generated kernel computes: plain data that the engine writes from an instruction's shapes and the compiler turns
// into one WebAssembly function. Shapes are baked into the code; only pointers and the number of sparse rows are arguments.
import type { Expr } from "./expr.ts";
import type { FloatType } from "./half.ts";
import type { UpdateRule } from "./update-rule.ts";

/** The types whose elements a kernel reads as f32 numbers. */
export type ElementType = FloatType | "i32" | "u32" | "u8";

export const elementBytes = { f32: 4, bf16: 2, f16: 2, i32: 4, u32: 4, u8: 1 } as const satisfies Record<
  ElementType,
  number
>;

/** A dense row-major tensor that the kernel reads. Its elements become f32 numbers, except those of a seed. */
export interface KernelInput {
  readonly shape: readonly number[];
  /** Default `f32`. */
  readonly dtype?: ElementType;
}

/**
 * `exprs[i]` of the inputs, broadcast together by numpy's rules to `shape`, into output i (dense, of `shape`). The
 * arithmetic is f32; an output of another type is rounded to it, to the nearest, ties to even.
 *
 * Call: `k(...inputPointers, ...outputPointers)`. An output may lie exactly over an input of the same shape whose elements
 * are as wide (in place); any other overlap is an error of the caller. No byte outside the tensors is read or written.
 */
export interface MapKernel {
  readonly type: "map";
  readonly exprs: readonly Expr[];
  readonly shape: readonly number[];
  readonly inputs: readonly KernelInput[];
  /** Of each output; default all f32. */
  readonly dtypes?: readonly FloatType[];
}

/**
 * Sums or maxima over `axes` of `exprs[i]` of the inputs, broadcast together to `shape`, in one pass. Output i is dense f32
 * of the remaining dimensions in order (kept dimensions of size 1 do not change its bytes). Over nothing: 0 or -Infinity.
 *
 * Call: `k(...inputPointers, ...outputPointers)`, followed by a pointer to `reduceScratch(kernel)` bytes, a multiple of 16,
 * where it wants any; nothing that is written overlaps an input.
 */
export interface ReduceKernel {
  readonly type: "reduce";
  readonly op: "sum" | "max";
  readonly exprs: readonly Expr[];
  readonly shape: readonly number[];
  readonly inputs: readonly KernelInput[];
  /** Dimensions of `shape` that vanish, each once, from 0; all of them for a full reduction. */
  readonly axes: readonly number[];
}

/** A pass over each row: the sum or maximum of an expression over the row. */
export interface RowStage {
  readonly op: "sum" | "max";
  readonly expr: Expr;
}

/**
 * Arithmetic over the rows of `shape`, its last axis, in several passes. The expressions read the inputs, which broadcast to
 * `shape`, and as operands behind them the results of the stages: a stage those before it, the others all of them.
 * `exprs` give tensors of `shape`, as those of a map; `rowExprs`, which are the same along a row, f32 numbers of the other
 * axes. What is dear to compute and read by several passes is computed once.
 *
 * Call: `k(...inputPointers, ...outputPointers)`, tensors first, followed by a pointer to `rowsScratch(kernel)` bytes, a
 * multiple of 16, where it wants any. Tensors may lie over inputs as those of a map may, if no row is shorter than `shape`'s.
 */
export interface RowsKernel {
  readonly type: "rows";
  readonly stages: readonly RowStage[];
  readonly exprs: readonly Expr[];
  readonly rowExprs: readonly Expr[];
  /** At least one axis. */
  readonly shape: readonly number[];
  readonly inputs: readonly KernelInput[];
  /** Of the tensors; default all f32. */
  readonly dtypes?: readonly FloatType[];
}

/**
 * An update rule applied in place to sparse rows: for u in 0..n, the row at byte address `handles[u] * 16`.
 * A handle of 0 is skipped, so a caller can blank rows that must not move.
 *
 * Call: `k(handlesPointer, gradientsPointer, n, ...scalarPointers)`, one pointer to an f32 for each of `rule.scalars`.
 * Gradients are f32 [n, dim]. No two handles of a call may be equal.
 */
export interface RowUpdateKernel {
  readonly type: "rowUpdate";
  readonly rule: UpdateRule;
  readonly dim: number;
  /** Byte offset of the weights in the row. */
  readonly weightOffset: number;
  /** Byte offset of each slot in the row, in the rule's order; a `perRow` slot is one f32. */
  readonly slotOffsets: readonly number[];
  /** Elements from one gradient row to the next; default `dim`. */
  readonly gradientStride?: number;
}

export type Kernel = MapKernel | ReduceKernel | RowsKernel | RowUpdateKernel;

/** One compiled module: `names[i]` is the export that runs `kernels[i]`; equal kernels share an export. */
export interface CompiledKernels {
  readonly module: WebAssembly.Module;
  readonly names: readonly string[];
}

/** A bound kernel: byte offsets into the memory, then sizes, as its kind says. */
export type KernelFunction = (...args: number[]) => void;
