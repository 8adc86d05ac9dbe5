// Computes values of the forward pass again where the backward pass reads them, so that they need no memory in between
// (arXiv 1604.06174). Which ones is for the caller to say.
import type { Op, Program, Value, ValueId } from "../program/ir.ts";
import { isView } from "../program/liveness.ts";

/** The forward pass of a training step: what its loss depends on. */
export interface Forward {
  readonly program: Program;
  /** Index of the op that defines each value of the forward pass. */
  readonly definitions: ReadonlyMap<ValueId, number>;
  /** Index of the first op after the forward pass. */
  readonly end: number;
  /** The value in whose memory a value lies. */
  readonly memory: (id: ValueId) => ValueId;
  /** What the rest of the step reads of the forward pass, by memory, in the order of definition: it may be computed again. */
  readonly saved: readonly ValueId[];
}

/** Finds the forward pass as the ops that the output `loss` depends on. */
export function forwardOf(program: Program, loss: ValueId): Forward {
  const needed = new Set<ValueId>([loss]);
  const definitions = new Map<ValueId, number>();
  let end = 0;
  for (let at = program.ops.length - 1; at >= 0; at--) {
    const op = program.ops[at]!;
    if (!op.outputs.some((id) => needed.has(id))) continue;
    if (end === 0) end = at + 1;
    for (const id of op.inputs) needed.add(id);
    for (const id of op.outputs) definitions.set(id, at);
  }
  const memory = placeOf(program);
  const outputs = new Set(Object.values(program.outputs).map(memory));
  const read = new Set<ValueId>();
  for (const op of program.ops.slice(end)) for (const id of op.inputs) read.add(memory(id));
  const saved = [...read].filter(
    (id) => definitions.has(id) && !outputs.has(id) && repeatable(program.ops[definitions.get(id)!]!),
  );
  return { program, definitions, end, memory, saved: saved.sort((a, b) => definitions.get(a)! - definitions.get(b)!) };
}

/** The value that a value is a view of, itself where it is none. */
function placeOf(program: Program): (id: ValueId) => ValueId {
  const sources = new Map<ValueId, ValueId>();
  for (const op of program.ops) {
    if (!isView(program, op)) continue;
    const source = op.inputs[0]!;
    sources.set(op.outputs[0]!, sources.get(source) ?? source);
  }
  return (id) => sources.get(id) ?? id;
}

/** Whether an op gives the same result when it runs again in the step: rows of tables may have moved by then. */
const repeatable = (op: Op): boolean => op.kind !== "lookup" && op.kind !== "gather" && op.kind !== "gather_pool";

export interface Rematerialized {
  readonly program: Program;
  /** The ops that run a second time, as they stood in the forward pass. */
  readonly repeated: readonly Op[];
}

/**
 * The program with copies of forward ops after the forward pass: each value that is neither in `kept` nor outside the
 * forward pass is computed again just before its first reader there, once.
 * @param kept by memory
 */
export function rematerialize(forward: Forward, kept: ReadonlySet<ValueId>): Rematerialized {
  const { program, definitions, end, memory } = forward;
  const values: Value[] = [...program.values];
  const ops: Op[] = program.ops.slice(0, end);
  const repeated: Op[] = [];
  const outputs = new Set(Object.values(program.outputs).map(memory));
  const copies = new Map<ValueId, ValueId>();
  const again = (id: ValueId): ValueId => {
    const known = copies.get(id);
    if (known !== undefined) return known;
    const at = definitions.get(id);
    if (at === undefined || at >= end) return id;
    const op = program.ops[at]!;
    if (isView(program, op) ? again(op.inputs[0]!) === op.inputs[0] : kept.has(id) || outputs.has(id)) return id;
    if (!repeatable(op)) return id;
    const inputs = op.inputs.map(again);
    const results = op.outputs.map((output) => {
      const copy = values.length;
      values.push({ ...values[output]!, id: copy, name: "" });
      copies.set(output, copy);
      return copy;
    });
    repeated.push(op);
    ops.push({ ...op, inputs, outputs: results, scope: `recompute/${op.scope}` } as Op);
    return copies.get(id)!;
  };
  for (const op of program.ops.slice(end)) {
    const inputs = op.inputs.map(again);
    ops.push(inputs.every((id, i) => id === op.inputs[i]) ? op : ({ ...op, inputs } as Op));
  }
  return { program: { ...program, values, ops }, repeated };
}
