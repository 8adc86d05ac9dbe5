// Programs that apply gradients read what all threads left in their own arenas; in mode `sync` only the first thread moves
// running statistics.
import { bytesOf, type Operand, type Plan, type Prepared } from "../engine/index.ts";
import { replicaInput } from "../program/index.ts";

/** A plan that leaves something in its outputs, and the arena that a thread runs it in. */
export interface Source {
  readonly plan: Plan;
  readonly arena: number;
}

export interface RelocateOptions {
  /** The program that applies gradients. */
  readonly update: Prepared;
  /** Address of the parameters. */
  readonly shared: number;
  /** By replica: where the update's inputs come from. */
  readonly sources: readonly (readonly Source[])[];
}

/**
 * Lets the inputs of an update be the outputs of what ran before it, in each thread's arena. The result is to be bound with
 * `shared` 0: its operands outside the arena have absolute addresses.
 */
export function relocateInputs({ update, shared, sources }: RelocateOptions): Prepared {
  const { plan } = update;
  const places = new Map<string, Operand>();
  for (const [replica, list] of sources.entries()) {
    for (const { plan: source, arena } of list) {
      for (const [name, output] of Object.entries(source.outputs)) {
        const placeholder = plan.inputs[replicaInput(name, replica)];
        const base = output.space === "arena" ? arena : shared;
        if (placeholder !== undefined)
          places.set(keyOf(placeholder), { ...output, space: "shared", offset: base + output.offset });
      }
    }
  }
  const relocate = (operand: Operand): Operand => {
    const place = places.get(keyOf(operand));
    if (place !== undefined) return { ...operand, space: place.space, offset: place.offset };
    return operand.space === "shared" ? { ...operand, offset: shared + operand.offset } : operand;
  };
  const instructions = plan.instructions.map((instruction) => ({
    ...instruction,
    inputs: instruction.inputs.map(relocate),
    outputs: instruction.outputs.map(relocate),
  }));
  const end = Math.max(0, ...instructions.flatMap(({ inputs, outputs }) => [...inputs, ...outputs].map(endOf)));
  return { ...update, plan: { ...plan, instructions, sharedBytes: end } };
}

/**
 * The step for the threads after the first: what batch norm moves lies in their own arenas, where nobody reads it. Moved by
 * all, the statistics would depend on who comes last.
 */
export function withOwnStatistics(step: Prepared): Prepared {
  let { arenaBytes } = step.plan;
  const own = (operand: Operand): Operand => {
    const offset = arenaBytes;
    const bytes = operand.shape.reduce((a, b) => a * b, bytesOf[operand.dtype]);
    arenaBytes += Math.ceil(bytes / 64) * 64;
    return { ...operand, space: "arena", offset };
  };
  const instructions = step.plan.instructions.map((instruction) => {
    const { kind, inputs, attrs } = instruction;
    if (kind !== "update" || attrs.statistics !== true) return instruction;
    const targets = attrs.targets as readonly number[];
    return { ...instruction, inputs: inputs.map((operand, i) => (targets.includes(i) ? own(operand) : operand)) };
  });
  return { ...step, plan: { ...step.plan, instructions, arenaBytes } };
}

const keyOf = ({ space, offset }: Operand): string => `${space}:${offset}`;

/** An address that no operand of the shared space reaches beyond; 8 bytes is the widest element. */
const endOf = ({ space, offset, shape }: Operand): number =>
  space === "shared" ? offset + 8 * shape.reduce((a, b) => a * b, 1) : 0;
