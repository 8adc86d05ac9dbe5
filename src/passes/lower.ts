// Lowering: ops with a meaning of their own become the generated kernels' maps, reductions and rows. It comes after
// differentiation, which knows better gradients of the former, and before fusion, which knows only the latter.
import type { DType, Op, Program, ValueId } from "../program/ir.ts";
import { lowerBatchNorm } from "./lower-batch-norm.ts";
import { lowerRows } from "./lower-rows.ts";
import { replaceOps } from "./replace.ts";

export interface LowerOptions {
  /**
   * Whether the provider computes in bf16 by the processor's own instructions, which WASM has not: it then keeps the
   * gradients of batch norms of bf16, in 0.4 to 0.6 of the time of generated kernels.
   */
  readonly nativeBf16?: boolean;
}

export function lower(program: Program, { nativeBf16 = false }: LowerOptions = {}): Program {
  const typeOf = (id: ValueId): DType => program.values[id]!.dtype;
  /** Weights of rows are the kernels' alone. */
  const isNative = (op: Op): boolean =>
    op.kind === "batch_norm_grad" &&
    op.inputs.length === 5 &&
    [op.inputs[0]!, op.inputs[1]!, op.outputs[0]!].every((id) => typeOf(id) === "bf16");
  return replaceOps(
    program,
    (op, by) => !(nativeBf16 && isNative(op)) && (lowerRows(op, by) || lowerBatchNorm(op, by)),
  );
}
