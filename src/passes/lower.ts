// Lowering: ops with a meaning of their own become the generated kernels' maps, reductions and rows. It comes after
// differentiation, which knows better gradients of the former, and before fusion, which knows only the latter.
import type { Program } from "../program/ir.ts";
import { lowerBatchNorm } from "./lower-batch-norm.ts";
import { lowerRows } from "./lower-rows.ts";
import { replaceOps } from "./replace.ts";

export function lower(program: Program): Program {
  return replaceOps(program, (op, by) => lowerRows(op, by) || lowerBatchNorm(op, by));
}
