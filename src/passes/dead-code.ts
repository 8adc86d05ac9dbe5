// Removes ops, and outputs of maps, that neither an output of the program nor an effect depends on.
import { type FloatType, type Op, type OpOf, type Program, sameShape, type ValueId } from "../program/ir.ts";
import { typed } from "../program/ops/broadcast.ts";
import { writtenValues } from "../program/ops/catalogue.ts";
import { reducedExprs } from "../program/ops/map.ts";
import { normalize, spanOf } from "./operands.ts";
import { rowArithmetic, withRowArithmetic } from "./row-arithmetic.ts";

/** Inputs, parameters and tables stay, read or not: they are the program's interface. */
export function eliminateDeadCode(program: Program): Program {
  const needed = new Set<ValueId>(Object.values(program.outputs));
  const kept: Op[] = [];
  let changed = false;
  for (const op of program.ops.toReversed()) {
    const effect = op.kind === "scatter_update" || writtenValues(op).length > 0;
    if (!effect && !op.outputs.some((id) => needed.has(id))) {
      changed = true;
      continue;
    }
    const left = dropOutputs(program, op, needed);
    if (left !== op) changed = true;
    for (const id of left.inputs) needed.add(id);
    kept.push(left);
  }
  return changed ? { ...program, ops: kept.reverse() } : program;
}

function dropOutputs(program: Program, op: Op, needed: ReadonlySet<ValueId>): Op {
  if (op.kind !== "map" && op.kind !== "reduce" && op.kind !== "rows") return op;
  const live = op.outputs.flatMap((id, k) => (needed.has(id) ? [k] : []));
  if (live.length === op.outputs.length) return op;
  if (op.kind === "rows") return dropRowOutputs(op, live);
  const all = op.kind === "map" ? op.attrs.exprs : reducedExprs(op.attrs);
  const { exprs, inputs } = normalize({ exprs: live.map((k) => all[k]!), inputs: op.inputs });
  const outputs = live.map((k) => op.outputs[k]!);
  if (op.kind === "reduce") {
    const spans = sameShape(spanOf(program, inputs), spanOf(program, op.inputs));
    return spans ? { ...op, inputs, outputs, attrs: { ...op.attrs, exprs } } : op;
  }
  const { shape } = program.values[outputs[0]!]!;
  const dtypes = outputs.map((id) => program.values[id]!.dtype as FloatType);
  return { ...op, inputs, outputs, attrs: { exprs, shape, ...typed(dtypes) } };
}

function dropRowOutputs(op: OpOf<"rows">, live: readonly number[]): OpOf<"rows"> {
  const { exprs, rowExprs, dtypes } = op.attrs;
  const tensors = live.filter((k) => k < exprs.length);
  const attrs = {
    ...op.attrs,
    exprs: tensors.map((k) => exprs[k]!),
    rowExprs: live.filter((k) => k >= exprs.length).map((k) => rowExprs[k - exprs.length]!),
    ...(dtypes === undefined ? {} : { dtypes: tensors.map((k) => dtypes[k]!) }),
  };
  const left: OpOf<"rows"> = { ...op, outputs: live.map((k) => op.outputs[k]!), attrs };
  return withRowArithmetic(left, rowArithmetic(left));
}
