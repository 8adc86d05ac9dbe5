// Expressions over operand lists: inlining one into another, merging equal operands and dropping unread ones.
import { type Expr, input } from "../kernels/expr.ts";
import { inputsOf, mapInputs } from "../program/expr-tools.ts";
import type { Program, Shape, ValueId } from "../program/ir.ts";
import { broadcastShapes } from "../program/ops/broadcast.ts";

/** The shape that values span together. */
export const spanOf = (program: Program, ids: readonly ValueId[]): Shape =>
  broadcastShapes(ids.map((id) => program.values[id]!.shape));

export interface Arithmetic {
  readonly exprs: readonly Expr[];
  readonly inputs: readonly ValueId[];
}

/** The same arithmetic with each operand once and none that is not read, except those in `keep`. */
export function normalize(arithmetic: Arithmetic, keep: readonly ValueId[] = []): Arithmetic {
  const { exprs, inputs } = arithmetic;
  const read = new Set<ValueId>();
  for (const expr of exprs) for (const index of inputsOf(expr)) read.add(inputs[index]!);
  const left = inputs.filter((id, i) => inputs.indexOf(id) === i && (read.has(id) || keep.includes(id)));
  if (left.length === inputs.length) return arithmetic;
  const places = inputs.map((id) => left.indexOf(id));
  return { exprs: exprs.map((expr) => mapInputs(expr, (index) => input(places[index]!))), inputs: left };
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

/** Both arithmetics over one list of operands, the expressions of the second in front of number `at` of the first. */
export function join(first: Arithmetic, second: Arithmetic, at: number): Arithmetic {
  const base = first.inputs.length;
  const moved = second.exprs.map((expr) => mapInputs(expr, (index) => input(base + index)));
  return normalize({ exprs: first.exprs.toSpliced(at, 0, ...moved), inputs: [...first.inputs, ...second.inputs] });
}
