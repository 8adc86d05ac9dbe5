// What passes share: who reads a value, whether an op may move, and renumbering of what is left.
import type { Op, Program, ValueId } from "../program/ir.ts";
import { writtenValues } from "../program/ops/catalogue.ts";

/** Indices of the ops that read each value, and whether it is an output of the program. */
export interface Uses {
  readonly readers: ReadonlyMap<ValueId, readonly number[]>;
  readonly outputs: ReadonlySet<ValueId>;
}

export function usesOf(ops: readonly Op[], outputs: Program["outputs"]): Uses {
  const readers = new Map<ValueId, number[]>();
  for (const [at, op] of ops.entries()) {
    for (const id of new Set(op.inputs)) {
      const known = readers.get(id);
      if (known === undefined) readers.set(id, [at]);
      else known.push(at);
    }
  }
  return { readers, outputs: new Set(Object.values(outputs)) };
}

/** Whether the op at `from` would read the same numbers if it ran at `to`; `memory` is that of the ops. */
export function canRunLater(ops: readonly Op[], from: number, to: number, memory: (id: ValueId) => ValueId): boolean {
  const read = new Set(ops[from]!.inputs.map(memory));
  for (let at = from + 1; at < to; at++) {
    if (writtenValues(ops[at]!).some((id) => read.has(id))) return false;
  }
  return true;
}

/** Renumbers the values so that those without a definition are gone. */
export function compact(program: Program): Program {
  const used = new Set<ValueId>([
    ...Object.values(program.inputs),
    ...Object.values(program.parameters).map(({ value }) => value),
    ...program.ops.flatMap((op) => op.outputs),
  ]);
  const ids = new Map<ValueId, ValueId>();
  const values = program.values.filter(({ id }) => used.has(id));
  for (const [next, { id }] of values.entries()) ids.set(id, next);
  const of = (id: ValueId): ValueId => ids.get(id)!;
  const named = (record: Readonly<Record<string, ValueId>>): Record<string, ValueId> =>
    Object.fromEntries(Object.entries(record).map(([name, id]) => [name, of(id)]));
  return {
    ...program,
    values: values.map((value, id) => ({ ...value, id })),
    ops: program.ops.map((op) => ({ ...op, inputs: op.inputs.map(of), outputs: op.outputs.map(of) })),
    inputs: named(program.inputs),
    parameters: Object.fromEntries(
      Object.entries(program.parameters).map(([name, parameter]) => [
        name,
        { ...parameter, value: of(parameter.value) },
      ]),
    ),
    outputs: named(program.outputs),
  };
}

/** The index of the op that defines each value; absent for inputs and parameters. */
export function definitionsOf(ops: readonly Op[]): Map<ValueId, number> {
  return new Map(ops.flatMap((op, at) => op.outputs.map((id): [ValueId, number] => [id, at])));
}
