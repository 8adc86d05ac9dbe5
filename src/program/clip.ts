// Bounds on gradients before the optimizer sees them: on each element, on the norm of each gradient, or on the norm of all.
import * as e from "../kernels/expr.ts";
import type { UpdateRule } from "../kernels/update-rule.ts";
import type { ProgramBuilder } from "./builder.ts";
import { mapInputs } from "./expr-tools.ts";
import type { ValueId } from "./ir.ts";

/**
 * - `value`: every element is kept within ±value (PyTorch's `clip_grad_value_`);
 * - `norm`: the gradient g of each parameter is multiplied by min(1, norm / (‖g‖ + 1e-6));
 * - `globalNorm`: the same with the norm of all gradients together (PyTorch's `clip_grad_norm_`; arXiv 1211.5063).
 */
export type Clip = { readonly value: number } | { readonly norm: number } | { readonly globalNorm: number };

/** As in PyTorch: gradients that are all 0 stay so. */
const GUARD = 1e-6;
/** Sums of more numbers are taken in a tree. */
const FAN_IN = 8;

/** The rule over gradients that are clipped by value; other clips do not concern a rule. */
export function clipRule(rule: UpdateRule, clip: Clip | undefined): UpdateRule {
  if (clip === undefined || !("value" in clip)) return rule;
  const clipped = e.max(e.min(e.input(1), clip.value), -clip.value);
  const within = (expr: e.Expr): e.Expr => mapInputs(expr, (index) => (index === 1 ? clipped : e.input(index)));
  return { ...rule, weight: within(rule.weight), state: rule.state.map(within) };
}

/**
 * Gradients that are clipped by a norm. The products are elementwise, so fusion writes them into the updates.
 * @param squares of `globalNorm`: Σ‖g‖² over all gradients (rank 0), where those given here are not all
 */
export function clipByNorm(
  builder: ProgramBuilder,
  gradients: readonly ValueId[],
  clip: Clip | undefined,
  squares?: ValueId,
): readonly ValueId[] {
  if (clip === undefined || "value" in clip || gradients.length === 0) return gradients;
  const factor = (sum: ValueId, limit: number): ValueId => {
    const expr = e.min(e.div(limit, e.add(e.sqrt(e.input(0)), GUARD)), 1);
    return builder.emit("map", [sum], { exprs: [expr] })[0]!;
  };
  const scaled = (gradient: ValueId, by: ValueId): ValueId =>
    builder.emit("map", [gradient, by], { exprs: [e.mul(e.input(0), e.input(1))] })[0]!;
  if ("norm" in clip) return gradients.map((id) => scaled(id, factor(sumOfSquares(builder, [id]), clip.norm)));
  const shared = factor(squares ?? sumOfSquares(builder, gradients), clip.globalNorm);
  return gradients.map((id) => scaled(id, shared));
}

/** Σ‖g‖² over the gradients, rank 0. */
export function sumOfSquares(builder: ProgramBuilder, gradients: readonly ValueId[]): ValueId {
  const g = e.input(0);
  const sums = gradients.map((id) => {
    const axes = builder.typeOf(id).shape.map((_, axis) => axis);
    return builder.emit("reduce", [id], { op: "sum", axes, keepDims: false, exprs: [e.mul(g, g)] })[0]!;
  });
  return total(builder, sums);
}

/** The sum of rank-0 values. */
export function total(builder: ProgramBuilder, values: readonly ValueId[]): ValueId {
  if (values.length === 1) return values[0]!;
  const sums: ValueId[] = [];
  for (let at = 0; at < values.length; at += FAN_IN) {
    const part = values.slice(at, at + FAN_IN);
    const expr = part.map((_, i): e.Expr => e.input(i)).reduce((a, b) => e.add(a, b));
    sums.push(builder.emit("map", part, { exprs: [expr], shape: [] })[0]!);
  }
  return total(builder, sums);
}
