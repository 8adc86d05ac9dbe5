// An update rule says how a weight moves, given its gradient and its optimizer state: a value, shared by dense
// parameters and sparse rows, so that there is one definition of each optimizer.
import type { Expr } from "./expr.ts";

export interface SlotSpec {
  readonly name: string;
  /** The state's value before the first update. */
  readonly initial: number;
  /** One number for a whole sparse row instead of one an element (AdaGrad with a shared accumulator). */
  readonly perRow?: boolean;
}

/**
 * Operands of the expressions, in order: the weight, the gradient, each slot, each scalar.
 * `weight` is the weight's new value, `state[i]` the new value of slot i. Both read only old values: an expression that
 * needs a slot's new value repeats its expression (the compiler finds the common part).
 */
export interface UpdateRule {
  readonly slots: readonly SlotSpec[];
  /** Names of the per-step numbers that the trainer supplies ("lr", "biasCorrection1", …). */
  readonly scalars: readonly string[];
  readonly weight: Expr;
  readonly state: readonly Expr[];
}
