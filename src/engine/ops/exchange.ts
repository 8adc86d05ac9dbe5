// bucket and bucket_wait: gradients side by side, and the ranks' sum of them.
import { instantiate } from "../../memory/index.ts";
import type { Communication } from "../communication.ts";
import { bytesOf } from "../plan.ts";
import { check, checkType, sizeOf } from "../tensor.ts";
import { type BindOp, type BoundOp, call } from "./op.ts";

/** Gradients begin at multiples of so many bytes. */
const LINE_BYTES = 64;

/** The collectives that the plan is bound with. */
export function communicationOf({ instruction, context }: BoundOp): Communication {
  const { communication } = context;
  check(instruction, communication !== undefined, "the plan exchanges with other ranks, but is bound without any");
  return communication;
}

const bindBucket: BindOp = (op) => {
  const { instruction, inputs, outputs } = op;
  const copy = instantiate<{ copyRows(...args: number[]): void }>("copy", op.context.heap).copyRows;
  const calls = [];
  let to = outputs[0]!;
  for (const [i, input] of instruction.inputs.entries()) {
    checkType(instruction, `input ${i}`, input, "f32", input.shape);
    const bytes = bytesOf.f32 * sizeOf(input.shape);
    // Most gradients are written where they are to be.
    if (inputs[i] !== to && bytes > 0) calls.push(call(copy, to, bytes, inputs[i]!, bytes, 1, bytes));
    to += Math.ceil(bytes / LINE_BYTES) * LINE_BYTES;
  }
  check(
    instruction,
    to === outputs[0]! + bytesOf.f32 * sizeOf(instruction.outputs[0]!.shape),
    "the bucket is too short",
  );
  return [...calls, communicationOf(op).start(instruction.attrs.name as string)];
};

const bindWait: BindOp = (op) => {
  const { instruction, inputs, outputs } = op;
  check(instruction, inputs[0] === outputs[0], "a bucket stays where it is");
  return [communicationOf(op).wait(instruction.attrs.name as string)];
};

export const exchangeOps: Readonly<Record<string, BindOp>> = { bucket: bindBucket, bucket_wait: bindWait };
