// Constant folding: simplifies expressions, and writes values that are one number into the expressions that read them.
import { constant } from "../kernels/expr.ts";
import { mapInputs, simplify } from "../program/expr-tools.ts";
import { type FloatType, type Op, type Program, sameShape, type TensorType, type ValueId } from "../program/ir.ts";
import { typed } from "../program/ops/broadcast.ts";
import { reducedExprs, stores } from "../program/ops/map.ts";
import { eliminateDeadCode } from "./dead-code.ts";
import { type Arithmetic, normalize, spanOf } from "./operands.ts";
import { rowArithmetic, stageIds, withRowArithmetic } from "./row-arithmetic.ts";

export function foldConstants(program: Program): Program {
  const constants = new Map<ValueId, number>();
  const aliases = new Map<ValueId, ValueId>();
  const outputs = new Set(Object.values(program.outputs));
  const parameters = new Set(Object.values(program.parameters).map(({ value }) => value));
  /** Whether a map that gives the value unchanged is a plain copy; a parameter may change after the copy. */
  const copies = (source: ValueId, type: TensorType): boolean => {
    const { dtype, shape } = program.values[source]!;
    return dtype === type.dtype && sameShape(shape, type.shape) && !parameters.has(source);
  };
  const ops = program.ops.map((old): Op => {
    const aliased = old.inputs.some((id) => aliases.has(id));
    const op = aliased ? ({ ...old, inputs: old.inputs.map((id) => aliases.get(id) ?? id) } as Op) : old;
    switch (op.kind) {
      case "map": {
        const { exprs, inputs } = fold({ exprs: op.attrs.exprs, inputs: op.inputs }, constants);
        const { shape } = program.values[op.outputs[0]!]!;
        for (const [k, id] of op.outputs.entries()) {
          const expr = exprs[k]!;
          const type = program.values[id]!;
          if (expr.op === "const") constants.set(id, stores(type.dtype as FloatType)(expr.value));
          const source = expr.op === "input" ? inputs[expr.index]! : undefined;
          if (source !== undefined && !outputs.has(id) && copies(source, type)) aliases.set(id, source);
        }
        return { ...op, inputs, attrs: { exprs, shape, ...typed(op.attrs.dtypes ?? []) } };
      }
      case "reduce": {
        const folded = fold({ exprs: reducedExprs(op.attrs), inputs: op.inputs }, constants);
        if (!sameShape(spanOf(program, folded.inputs), spanOf(program, op.inputs))) return op;
        return { ...op, inputs: folded.inputs, attrs: { ...op.attrs, exprs: folded.exprs } };
      }
      case "rows": {
        const { exprs, inputs } = fold(rowArithmetic(op), constants, stageIds(op));
        return withRowArithmetic(op, { exprs, inputs });
      }
      case "update": {
        const targets = op.attrs.targets.map((target) => op.inputs[target]!);
        const { exprs, inputs } = fold({ exprs: op.attrs.exprs, inputs: op.inputs }, constants, targets);
        return { ...op, inputs, attrs: { ...op.attrs, exprs, targets: targets.map((id) => inputs.indexOf(id)) } };
      }
      case "reshape":
      case "transpose":
      case "slice": {
        const value = constants.get(op.inputs[0]!);
        if (value !== undefined) constants.set(op.outputs[0]!, value);
        return op;
      }
      default:
        return op;
    }
  });
  return eliminateDeadCode({ ...program, ops });
}

function fold(
  { exprs, inputs }: Arithmetic,
  constants: ReadonlyMap<ValueId, number>,
  keep: readonly ValueId[] = [],
): Arithmetic {
  const filled = inputs.some((id) => constants.has(id))
    ? exprs.map((expr) =>
        mapInputs(expr, (index) => {
          const value = constants.get(inputs[index]!);
          return value === undefined ? { op: "input", index } : constant(value);
        }),
      )
    : exprs;
  const folded = filled.map(simplify);
  return normalize({ exprs: folded, inputs }, keep);
}
