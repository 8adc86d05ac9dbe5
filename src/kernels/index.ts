// Elementwise arithmetic: the expression language, its float64 reference, and its compiler to WebAssembly SIMD.
export { bindKernels, compileKernels } from "./compile.ts";
export { evaluate, evaluateRows, evaluateRule, type Lane, type RuleState } from "./evaluate.ts";
export type { BinaryOp, Expr, UnaryOp } from "./expr.ts";
export { uniformAt } from "./random.ts";
export { reduceScratch } from "./reduce.ts";
export { rowsScratch } from "./rows.ts";
export type {
  CompiledKernels,
  ElementType,
  Kernel,
  KernelFunction,
  KernelInput,
  MapKernel,
  ReduceKernel,
  RowStage,
  RowsKernel,
  RowUpdateKernel,
} from "./spec.ts";
export type { SlotSpec, UpdateRule } from "./update-rule.ts";
