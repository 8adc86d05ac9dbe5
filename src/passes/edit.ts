// What passes share: who reads a value, whether an op may move, and renumbering of what is left.
import type { Op, Program, ValueId } from "../program/ir.ts";
import { writtenValues } from "../program/ops/catalogue.ts";
import { memoryOf } from "../program/schedule.ts";

/** Indices of the ops that read each value, ascending, and whether it is an output of the program. */
export interface Uses {
  readonly readers: ReadonlyMap<ValueId, readonly number[]>;
  readonly outputs: ReadonlySet<ValueId>;
}

export function usesOf(ops: readonly Op[], outputs: Program["outputs"]): Uses {
  const readers = new Map<ValueId, number[]>();
  for (const [at, op] of ops.entries()) addReader(readers, op, at);
  return { readers, outputs: new Set(Object.values(outputs)) };
}

function addReader(readers: Map<ValueId, number[]>, op: Op, at: number): void {
  for (const id of op.inputs) {
    const known = readers.get(id);
    if (known === undefined) readers.set(id, [at]);
    else if (!known.includes(at)) known.push(at);
  }
}

/** A list of ops under rewriting that always knows who reads a value. */
export class Draft {
  readonly program: Program;
  readonly definitions: ReadonlyMap<ValueId, number>;
  readonly outputs: ReadonlySet<ValueId>;
  readonly #ops: Op[];
  readonly #readers = new Map<ValueId, number[]>();
  readonly #runsLater: Reordering;

  constructor(program: Program) {
    this.program = program;
    this.#ops = [...program.ops];
    this.definitions = definitionsOf(program.ops);
    this.outputs = new Set(Object.values(program.outputs));
    this.#runsLater = reordering(program.ops);
    for (const [at, op] of this.#ops.entries()) addReader(this.#readers, op, at);
  }

  get ops(): readonly Op[] {
    return this.#ops;
  }

  readersOf(id: ValueId): readonly number[] {
    return this.#readers.get(id) ?? [];
  }

  /** Puts an op with the same outputs and written values in place of another. */
  replace(at: number, op: Op): void {
    for (const id of new Set(this.#ops[at]!.inputs)) {
      const readers = this.#readers.get(id)!;
      readers.splice(readers.indexOf(at), 1);
    }
    this.#ops[at] = op;
    addReader(this.#readers, op, at);
  }

  /** Whether the op at `from` would read the same numbers if it ran at `to`. */
  canRunLater(from: number, to: number): boolean {
    return this.#runsLater(this.#ops[from]!, from, to);
  }
}

/** Whether an op that stands at `from` would read the same numbers if it ran at `to`. */
export type Reordering = (op: Op, from: number, to: number) => boolean;

/** Knows which memory the ops write where; the ops asked about may be others, over the same values. */
export function reordering(ops: readonly Op[]): Reordering {
  const memory = memoryOf(ops);
  const writes = new Map<ValueId, number[]>();
  for (const [at, op] of ops.entries()) {
    for (const id of writtenValues(op)) {
      const known = writes.get(id);
      if (known === undefined) writes.set(id, [at]);
      else known.push(at);
    }
  }
  return (op, from, to) => op.inputs.every((id) => !writes.get(memory(id))?.some((at) => at > from && at < to));
}

/** Renumbers the values so that those without a definition are gone; passes leave them behind. */
export function compact(program: Program): Program {
  const ids = new Int32Array(program.values.length);
  const used = new Uint8Array(program.values.length);
  for (const id of Object.values(program.inputs)) used[id] = 1;
  for (const { value } of Object.values(program.parameters)) used[value] = 1;
  for (const op of program.ops) for (const id of op.outputs) used[id] = 1;
  const values = program.values.filter(({ id }) => used[id] === 1);
  if (values.length === program.values.length) return program;
  for (const [next, { id }] of values.entries()) ids[id] = next;
  const of = (id: ValueId): ValueId => ids[id]!;
  const named = (record: Readonly<Record<string, ValueId>>): Record<string, ValueId> =>
    Object.fromEntries(Object.entries(record).map(([name, id]) => [name, of(id)]));
  return {
    ...program,
    values: values.map((value, id) => (value.id === id ? value : { ...value, id })),
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
  const definitions = new Map<ValueId, number>();
  for (let at = 0; at < ops.length; at++) for (const id of ops[at]!.outputs) definitions.set(id, at);
  return definitions;
}
