// The arithmetic of a rows op as that of a map: the results of its stages are operands too, with numbers that no value has,
// so that passes which rewrite expressions over operands need not know of stages.
import { type Expr, input } from "../kernels/expr.ts";
import { inputsOf, mapInputs } from "../program/expr-tools.ts";
import type { OpOf, ValueId } from "../program/ir.ts";
import { type Arithmetic, normalize } from "./operands.ts";

const stageId = (stage: number): ValueId => -1 - stage;

/** The results of a rows op's stages as operands. */
export const stageIds = (op: OpOf<"rows">): ValueId[] => op.attrs.stages.map((_, stage) => stageId(stage));

/** Stages, tensors and row expressions, in this order, over the inputs and the stages' results. */
export function rowArithmetic(op: OpOf<"rows">): Arithmetic {
  const { stages, exprs, rowExprs } = op.attrs;
  return {
    exprs: [...stages.map(({ expr }) => expr), ...exprs, ...rowExprs],
    inputs: [...op.inputs, ...stageIds(op)],
  };
}

/** The rows op with other arithmetic in the order of `rowArithmetic`; stages that nothing reads are gone. */
export function withRowArithmetic(op: OpOf<"rows">, arithmetic: Arithmetic): OpOf<"rows"> {
  const count = op.attrs.stages.length;
  const { exprs, inputs } = arithmetic;
  const stagesOf = (expr: Expr): number[] =>
    inputsOf(expr).flatMap((index) => (inputs[index]! < 0 ? [-1 - inputs[index]!] : []));
  const read = new Set(exprs.slice(count).flatMap(stagesOf));
  for (let stage = count - 1; stage >= 0; stage--) {
    if (read.has(stage)) for (const other of stagesOf(exprs[stage]!)) read.add(other);
  }
  const stages = op.attrs.stages.flatMap((_, stage) => (read.has(stage) ? [stage] : []));
  const kept = [...stages, ...exprs.keys().drop(count)].map((k) => exprs[k]!);
  const left = normalize({ exprs: kept, inputs });
  const values = left.inputs.filter((id) => id >= 0);
  const order = [...values, ...stages.map(stageId)];
  const placed = left.exprs.map((expr) => mapInputs(expr, (index) => input(order.indexOf(left.inputs[index]!))));
  const tensors = stages.length + op.attrs.exprs.length;
  return {
    ...op,
    inputs: values,
    attrs: {
      ...op.attrs,
      stages: stages.map((stage, k) => ({ op: op.attrs.stages[stage]!.op, expr: placed[k]! })),
      exprs: placed.slice(stages.length, tensors),
      rowExprs: placed.slice(tensors),
    },
  };
}
