// Expressions over operand lists: inlining one into another, merging equal operands and dropping unread ones.
import { type Expr, input } from "../kernels/expr.ts";
import { inputsOf, mapInputs } from "../program/expr-tools.ts";
import type { ValueId } from "../program/ir.ts";

export interface Arithmetic {
  readonly exprs: readonly Expr[];
  readonly inputs: readonly ValueId[];
}

/** The same arithmetic with each operand once and none that is not read, except those in `keep`. */
export function normalize({ exprs, inputs }: Arithmetic, keep: readonly ValueId[] = []): Arithmetic {
  const read = new Set(exprs.flatMap((expr) => inputsOf(expr).map((index) => inputs[index]!)));
  const left = [...new Set(inputs)].filter((id) => read.has(id) || keep.includes(id));
  return {
    exprs: exprs.map((expr) => mapInputs(expr, (index) => input(left.indexOf(inputs[index]!)))),
    inputs: left,
  };
}

/** Replaces operand `id` by an expression over operands of its own. */
export function inline(
  consumer: Arithmetic,
  id: ValueId,
  producer: { readonly expr: Expr; readonly inputs: readonly ValueId[] },
  keep: readonly ValueId[] = [],
): Arithmetic {
  const base = consumer.inputs.length;
  const body = mapInputs(producer.expr, (index) => input(base + index));
  return normalize(
    {
      exprs: consumer.exprs.map((expr) =>
        mapInputs(expr, (index) => (consumer.inputs[index] === id ? body : input(index))),
      ),
      inputs: [...consumer.inputs, ...producer.inputs],
    },
    keep,
  );
}
