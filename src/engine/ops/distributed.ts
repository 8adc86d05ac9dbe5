// all_reduce, all_gather, reduce_scatter, broadcast, all_to_all: the tensor goes to where the collective works, which the
// caller has made ready, and the thread waits until it is done.
import { instantiate } from "../../memory/index.ts";
import type { Call } from "../device.ts";
import { bytesOf } from "../plan.ts";
import { check, checkArity, checkType, type OpSignature, sizeOf } from "../tensor.ts";
import { communicationOf } from "./exchange.ts";
import { type BindOp, type BoundOp, call } from "./op.ts";

const bytesIn = ({ shape }: { readonly shape: readonly number[] }): number => bytesOf.f32 * sizeOf(shape);

interface Copies {
  copyRows(...args: number[]): void;
  zeroRows(...args: number[]): void;
}

const copies = (op: BoundOp): Copies => instantiate<Copies>("copy", op.context.heap);

const copy = (op: BoundOp, to: number, from: number, bytes: number): Call =>
  call(copies(op).copyRows, to, bytes, from, bytes, 1, bytes);

/** The collective of the instruction, from its start to its end. */
function meet(op: BoundOp): Call[] {
  const communication = communicationOf(op);
  const name = op.instruction.attrs.name as string;
  return [communication.start(name), communication.wait(name)];
}

function checkTypes({ instruction }: BoundOp): void {
  checkArity(instruction, [1, 1], 1);
  for (const operand of [instruction.inputs[0]!, instruction.outputs[0]!]) {
    checkType(instruction, "the tensor", operand, "f32", operand.shape);
  }
}

/** The result is made in place of the input's copy. */
const bindInOutput: BindOp = (op) => {
  checkTypes(op);
  const { instruction, inputs, outputs } = op;
  const bytes = bytesIn(instruction.inputs[0]!);
  const { rank } = communicationOf(op);
  const at = instruction.kind === "all_gather" ? rank * bytes : 0;
  const { root } = instruction.attrs;
  const drops = instruction.kind === "all_reduce" && root !== undefined && root !== rank;
  const zero = drops ? [call(copies(op).zeroRows, outputs[0]!, bytes, 1, bytes)] : [];
  return [copy(op, outputs[0]! + at, inputs[0]!, bytes), ...meet(op), ...zero];
};

/** A reduce-scatter uses its operand up, so it works on a copy. */
const bindReduceScatter: BindOp = (op) => {
  checkTypes(op);
  const { instruction, inputs, outputs, scratch } = op;
  check(instruction, op.scratchBytes >= bytesIn(instruction.inputs[0]!), "the plan has no room for the sums");
  const bytes = bytesIn(instruction.outputs[0]!);
  const { rank } = communicationOf(op);
  return [
    copy(op, scratch, inputs[0]!, bytesIn(instruction.inputs[0]!)),
    ...meet(op),
    copy(op, outputs[0]!, scratch + rank * bytes, bytes),
  ];
};

const bindAllToAll: BindOp = (op) => {
  checkTypes(op);
  return meet(op);
};

export const distributedScratch = (op: OpSignature): number => bytesIn(op.inputs[0]!);

export const distributedOps: Readonly<Record<string, BindOp>> = {
  all_reduce: bindInOutput,
  all_gather: bindInOutput,
  broadcast: bindInOutput,
  reduce_scatter: bindReduceScatter,
  all_to_all: bindAllToAll,
};
