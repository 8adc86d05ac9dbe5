// Computes equal things once: an op with the kind, attributes and operands of an earlier one takes its results.
import type { Op, Program, ValueId } from "../program/ir.ts";
import { writtenValues } from "../program/ops/catalogue.ts";
import { accessOf, memoryOf } from "../program/schedule.ts";
import { compact } from "./edit.ts";

/** Values and tables that are written in place count as new after each write. */
export function eliminateCommonSubexpressions(program: Program): Program {
  const versions = new Map<number | string, number>();
  const known = new Map<string, readonly ValueId[]>();
  const same = new Map<ValueId, ValueId>();
  const current = (id: ValueId): ValueId => same.get(id) ?? id;
  const memory = memoryOf(program.ops);
  const ops: Op[] = [];
  for (const old of program.ops) {
    const op = { ...old, inputs: old.inputs.map(current) };
    const { reads, writes } = accessOf(op, memory);
    if (op.outputs.length === 0 || writtenValues(op).length > 0) {
      for (const resource of writes) versions.set(resource, (versions.get(resource) ?? 0) + 1);
      ops.push(op);
      continue;
    }
    const state = [...reads].map((resource) => versions.get(resource) ?? 0);
    const key = JSON.stringify([op.kind, op.inputs, op.attrs, state]);
    const earlier = known.get(key);
    if (earlier === undefined) {
      known.set(key, op.outputs);
      ops.push(op);
    } else {
      for (const [i, id] of op.outputs.entries()) same.set(id, earlier[i]!);
    }
  }
  const outputs = Object.fromEntries(Object.entries(program.outputs).map(([name, id]) => [name, current(id)]));
  return compact({ ...program, ops, outputs });
}
