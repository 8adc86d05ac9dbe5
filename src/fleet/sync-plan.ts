// Programs that apply gradients read what all threads left in their own arenas; in mode `sync` only the first thread moves
// running statistics.
import { byteLength, type Operand, type Plan, type Prepared } from "../engine/index.ts";
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
  /** Address of what ranks exchange. */
  readonly exchange?: number;
  /** By replica: where the update's inputs come from. */
  readonly sources: readonly (readonly Source[])[];
}

/**
 * Lets the inputs of an update be the outputs of what ran before it, in each thread's arena. The result is to be bound with
 * `shared` 0: its operands outside the arena have absolute addresses.
 */
export function relocateInputs({ update, shared, exchange = 0, sources }: RelocateOptions): Prepared {
  const { plan } = update;
  const places: { readonly start: number; readonly end: number; readonly by: number }[] = [];
  for (const [replica, list] of sources.entries()) {
    for (const { plan: source, arena } of list) {
      for (const [name, output] of Object.entries(source.outputs)) {
        const placeholder = plan.inputs[replicaInput(name, replica)];
        if (placeholder === undefined || byteLength(placeholder) === 0) continue;
        const base = { arena, shared, exchange }[output.space];
        const end = placeholder.offset + byteLength(placeholder);
        places.push({ start: placeholder.offset, end, by: base + output.offset - placeholder.offset });
      }
    }
  }
  places.sort((a, b) => a.start - b.start);
  const relocate = (operand: Operand): Operand => {
    if (operand.space === "shared") return { ...operand, offset: shared + operand.offset };
    if (operand.space === "exchange") return operand;
    // An operand may be a part of an input.
    const place = places[places.findLastIndex(({ start }) => start <= operand.offset)];
    if (place === undefined || operand.offset >= place.end) return operand;
    return { ...operand, space: "shared", offset: operand.offset + place.by };
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
    const bytes = byteLength(operand);
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

/** An address that no operand of the shared space reaches beyond; 8 bytes is the widest element. */
const endOf = ({ space, offset, shape }: Operand): number =>
  space === "shared" ? offset + 8 * shape.reduce((a, b) => a * b, 1) : 0;
