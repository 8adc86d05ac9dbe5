// The collectives that a plan's own instructions ask for, with the addresses at which they work.
import type { CallOptions } from "../../collective/index.ts";
import type { Instruction, Operand, Plan } from "../../engine/index.ts";

export interface Places {
  readonly arena: number;
  readonly shared: number;
  readonly exchange: number;
}

const sizeOf = ({ shape }: Operand): number => shape.reduce((a, b) => a * b, 1);

/** By the name of the instruction, in the order of the plan. */
export function programCalls({ instructions }: Plan, places: Places): Map<string, CallOptions> {
  const addressOf = ({ space, offset }: Operand): number => places[space] + offset;
  const calls = new Map<string, CallOptions>();
  for (const instruction of instructions) {
    const call = callOf(instruction, addressOf);
    if (call === undefined) continue;
    const name = instruction.attrs.name as string;
    if (calls.has(name)) throw new Error(`strategy: recompute would repeat the exchange "${name}"; leave it out`);
    calls.set(name, call);
  }
  return calls;
}

function callOf(
  { kind, inputs, outputs, scratch, attrs }: Instruction,
  addressOf: (operand: Operand) => number,
): CallOptions | undefined {
  const name = attrs.name as string;
  const [x, y] = [inputs[0]!, outputs[0]!];
  switch (kind) {
    case "all_reduce":
      return { collective: "all-reduce", name, address: addressOf(y), count: sizeOf(y), op: attrs.op as "sum" | "max" };
    case "all_gather":
      return { collective: "all-gather", name, address: addressOf(y), count: sizeOf(y) };
    case "reduce_scatter":
      return { collective: "reduce-scatter", name, address: addressOf(scratch!), count: sizeOf(x) };
    case "broadcast":
      return { collective: "broadcast", name, address: addressOf(y), count: sizeOf(y), root: attrs.root as number };
    case "all_to_all":
      return { collective: "all-to-all", name, address: addressOf(x), output: addressOf(y), count: sizeOf(x) };
    default:
      return undefined;
  }
}
