// Constant folding: simplifies expressions, and writes values that are one number into the expressions that read them.
import { constant, type Expr } from "../kernels/expr.ts";
import { mapInputs, simplify } from "../program/expr-tools.ts";
import { type Op, type Program, type Shape, sameShape, type ValueId } from "../program/ir.ts";
import { broadcastShapes } from "../program/ops/broadcast.ts";
import { eliminateDeadCode } from "./dead-code.ts";
import { type Arithmetic, normalize } from "./operands.ts";

export function foldConstants(program: Program): Program {
  const constants = new Map<ValueId, number>();
  const aliases = new Map<ValueId, ValueId>();
  const outputs = new Set(Object.values(program.outputs));
  const parameters = new Set(Object.values(program.parameters).map(({ value }) => value));
  /** Whether a map of that shape that gives the value unchanged is a plain copy; a parameter may change after the copy. */
  const copies = (source: ValueId, shape: Shape): boolean => {
    const { dtype, shape: own } = program.values[source]!;
    return dtype === "f32" && sameShape(own, shape) && !parameters.has(source);
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
          if (expr.op === "const") constants.set(id, expr.value);
          const source = expr.op === "input" ? inputs[expr.index]! : undefined;
          if (source !== undefined && !outputs.has(id) && copies(source, shape)) aliases.set(id, source);
        }
        return { ...op, inputs, attrs: { exprs, shape } };
      }
      case "reduce": {
        const expr = op.attrs.expr ?? ({ op: "input", index: 0 } satisfies Expr);
        const folded = fold({ exprs: [expr], inputs: op.inputs }, constants);
        if (!sameShape(spanOf(program, folded.inputs), spanOf(program, op.inputs))) return op;
        return { ...op, inputs: folded.inputs, attrs: { ...op.attrs, expr: folded.exprs[0]! } };
      }
      case "update": {
        const targets = op.attrs.targets.map((target) => op.inputs[target]!);
        const { exprs, inputs } = fold({ exprs: op.attrs.exprs, inputs: op.inputs }, constants, targets);
        return { ...op, inputs, attrs: { exprs, targets: targets.map((id) => inputs.indexOf(id)) } };
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

const spanOf = (program: Program, inputs: readonly ValueId[]): Shape =>
  broadcastShapes(inputs.map((id) => program.values[id]!.shape));

function fold(
  { exprs, inputs }: Arithmetic,
  constants: ReadonlyMap<ValueId, number>,
  keep: readonly ValueId[] = [],
): Arithmetic {
  const folded = exprs.map((expr) =>
    simplify(
      mapInputs(expr, (index) => {
        const value = constants.get(inputs[index]!);
        return value === undefined ? { op: "input", index } : constant(value);
      }),
    ),
  );
  return normalize({ exprs: folded, inputs }, keep);
}
