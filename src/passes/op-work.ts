// What an op costs, roughly: its arithmetic and its traffic of memory in one number, for choices between computing again
// and keeping. It ranks ops; it is no prediction of times.
import { bytesOf } from "../engine/plan.ts";
import { flopsOf } from "../program/flops.ts";
import { type Op, type Program, sizeOf, type ValueId } from "../program/ir.ts";

/** Floating-point operations that a core does in the time in which a byte comes from memory or goes there. */
const FLOPS_PER_BYTE = 8;

/** Floating-point operations, and what the bytes read and written are worth in them. */
export function workOf(program: Program, op: Op): number {
  const { values } = program;
  const elements = (id: ValueId): number => sizeOf(values[id]!.shape);
  const bytes = [...op.inputs, ...op.outputs].reduce((sum, id) => sum + elements(id) * bytesOf[values[id]!.dtype], 0);
  return FLOPS_PER_BYTE * bytes + flopsOf(program, op);
}
