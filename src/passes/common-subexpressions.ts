// Computes equal things once: an op with the kind, attributes and operands of an earlier one takes its results.
import type { Op, Program, ValueId } from "../program/ir.ts";
import { writtenValues } from "../program/ops/catalogue.ts";
import { accessOf, memoryOf } from "../program/schedule.ts";

/** Values and tables that are written in place count as new after each write. */
export function eliminateCommonSubexpressions(program: Program): Program {
  const versions = new Map<number | string, number>();
  const known = new Map<string, Op[]>();
  const same = new Map<ValueId, ValueId>();
  const current = (id: ValueId): ValueId => same.get(id) ?? id;
  const memory = memoryOf(program.ops);
  const ops: Op[] = [];
  for (const old of program.ops) {
    const op = old.inputs.some((id) => same.has(id)) ? ({ ...old, inputs: old.inputs.map(current) } as Op) : old;
    const { reads, writes } = accessOf(op, memory);
    if (op.outputs.length === 0 || writtenValues(op).length > 0) {
      for (const resource of writes) versions.set(resource, (versions.get(resource) ?? 0) + 1);
      ops.push(op);
      continue;
    }
    let key = `${op.kind} ${op.inputs.join()}`;
    for (const resource of reads) {
      const version = versions.get(resource);
      if (version !== undefined) key += ` ${resource}@${version}`;
    }
    const alike = known.get(key);
    const earlier = alike?.find(({ attrs }) => sameData(attrs, op.attrs));
    if (earlier !== undefined) {
      for (const [i, id] of op.outputs.entries()) same.set(id, earlier.outputs[i]!);
      continue;
    }
    if (alike === undefined) known.set(key, [op]);
    else alike.push(op);
    ops.push(op);
  }
  if (same.size === 0) return program;
  const outputs = Object.fromEntries(Object.entries(program.outputs).map(([name, id]) => [name, current(id)]));
  return { ...program, ops, outputs };
}

/** Whether two pieces of plain data are equal. */
function sameData(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => sameData((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]))
  );
}
