// The order of effects: an in-place update may run anywhere between its gradient's definition, the last reader of the old
// value and the first reader of the new one.
import type { Op, Program, ValueId } from "./ir.ts";
import { writtenValues } from "./ops/catalogue.ts";

/** What an op reads and writes: values by id, tables by name; some perhaps twice. */
export interface Access {
  readonly reads: readonly (number | string)[];
  readonly writes: readonly (number | string)[];
}

/**
 * The value in whose memory a value may lie: that of a reshape or slice is its source's. So a view of a parameter is not
 * read after the parameter was written.
 */
export function memoryOf(ops: readonly Op[]): (id: ValueId) => ValueId {
  const sources = new Map<ValueId, ValueId>();
  for (const op of ops) {
    if (op.kind !== "reshape" && op.kind !== "slice") continue;
    const source = op.inputs[0]!;
    sources.set(op.outputs[0]!, sources.get(source) ?? source);
  }
  return (id) => sources.get(id) ?? id;
}

/**
 * A look-up that inserts rows does not count as a write: which rows exist changes no value that another op reads.
 */
export function accessOf(op: Op, memory: (id: ValueId) => ValueId): Access {
  const reads: (number | string)[] = [];
  for (const id of op.inputs) {
    reads.push(id);
    const place = memory(id);
    if (place !== id) reads.push(place);
  }
  if (op.kind === "gather" || op.kind === "gather_pool") reads.push(`table:${op.attrs.table}`);
  const written = writtenValues(op);
  if (op.kind === "scatter_update") return { reads, writes: [`table:${op.attrs.table}`] };
  return { reads, writes: written.length > 0 ? [...op.outputs, ...written] : op.outputs };
}

const isUpdate = (op: Op): boolean => op.kind === "update" || op.kind === "scatter_update";

/** Moves updates up, so that gradients die early and the weight is still in the cache. */
export function hoistUpdates(program: Program): Program {
  const memory = memoryOf(program.ops);
  return { ...program, ops: settle(program.ops, memory) };
}

/** Moves updates down, out of the way of passes that move other ops. */
export function sinkUpdates(program: Program): Program {
  const memory = memoryOf(program.ops);
  return { ...program, ops: settle(program.ops.toReversed(), memory).reverse() };
}

/**
 * Places one op after another; an update moves to the front as far as it may. Every op that stays has a number; an update
 * comes after the last op or update that it conflicts with, at the end of the updates that follow the same op.
 */
function settle(ops: readonly Op[], memory: (id: ValueId) => ValueId): Op[] {
  const updates: Op[][] = [[]];
  const kept: Op[] = [];
  const readAt = new Map<number | string, number>();
  const writtenAt = new Map<number | string, number>();
  const later = (times: Map<number | string, number>, resource: number | string, at: number): void => {
    times.set(resource, Math.max(at, times.get(resource) ?? 0));
  };
  for (const op of ops) {
    const { reads, writes } = accessOf(op, memory);
    let at = kept.length + 1;
    if (isUpdate(op)) {
      at = 0;
      for (const resource of reads) at = Math.max(at, writtenAt.get(resource) ?? 0);
      for (const resource of writes) at = Math.max(at, writtenAt.get(resource) ?? 0, readAt.get(resource) ?? 0);
      updates[at]!.push(op);
    } else {
      kept.push(op);
      updates.push([]);
    }
    for (const resource of reads) later(readAt, resource, at);
    for (const resource of writes) later(writtenAt, resource, at);
  }
  return [...updates[0]!, ...kept.flatMap((op, i) => [op, ...updates[i + 1]!])];
}
