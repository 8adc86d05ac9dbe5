// The planner: gives every value of a program its place in memory, so that a step allocates nothing.
import { bytesOf, type Instruction, type Operand, type Plan } from "../engine/plan.ts";
import type { OpSignature } from "../engine/tensor.ts";
import type { Op, Program, ValueId } from "./ir.ts";
import { analyse, type Buffer, byteLength, type Location } from "./liveness.ts";
import { align, type Interval, lowerBound, place } from "./placement.ts";

export interface PlanOptions {
  /** Bytes of scratch memory that an op needs while it runs; default none. */
  readonly scratch?: (op: OpSignature) => number;
  /**
   * A plan whose shared block this one is to use too: parameters of the same names keep their places, others follow.
   * So an inference plan reads what a training plan writes.
   */
  readonly shared?: Pick<Plan, "parameters" | "sharedBytes">;
}

/**
 * Instructions and offsets for a program. Batch inputs and scalars live in the arena over the whole step; parameters live
 * in the shared block; reshapes and contiguous slices are views.
 */
export function plan(program: Program, { scratch, shared }: PlanOptions = {}): Plan {
  const { ops, locations, buffers } = analyse(program);
  const scratchSizes = ops.map((op) => scratch?.(signatureOf(program, op)) ?? 0);
  const intervals: Interval[] = [
    ...buffers,
    ...scratchSizes.flatMap((bytes, time) => (bytes > 0 ? [{ bytes, start: time, end: time }] : [])),
  ];
  const placement = place(intervals);
  const arena = new Map(buffers.map((buffer, i) => [buffer, placement.offsets[i]!]));
  const { parameters, sharedBytes } = placeParameters(program, shared);
  const parameterOffsets = new Map(
    Object.entries(program.parameters).map(([name, { value }]) => [
      locations.get(value)!.buffer,
      parameters[name]!.offset,
    ]),
  );

  const exchange = placeExchange(locations);
  const offsets = { arena, shared: parameterOffsets, exchange: exchange.offsets };

  const operand = (id: ValueId): Operand => {
    const { buffer, offset } = locations.get(id) as Location;
    const base = offsets[buffer.space].get(buffer)!;
    const { shape, dtype } = program.values[id]!;
    return { space: buffer.space, offset: base + offset, shape, dtype };
  };
  let nextScratch = buffers.length;
  const instructions = ops.map((op, time): Instruction => {
    const bytes = scratchSizes[time]!;
    return {
      kind: op.kind,
      inputs: op.inputs.map(operand),
      outputs: op.outputs.map(operand),
      attrs: attrsOf(op),
      ...(op.scope === "" ? {} : { scope: op.scope }),
      ...(bytes > 0 ? { scratch: scratchOperand(placement.offsets[nextScratch++]!, bytes) } : {}),
    };
  });
  const named = (ids: Readonly<Record<string, ValueId>>): Record<string, Operand> =>
    Object.fromEntries(Object.entries(ids).map(([name, id]) => [name, operand(id)]));
  return {
    instructions,
    arenaBytes: placement.bytes,
    arenaLowerBound: lowerBound(intervals),
    sharedBytes,
    ...(exchange.bytes > 0 ? { exchangeBytes: exchange.bytes } : {}),
    inputs: named(program.inputs),
    outputs: named(program.outputs),
    parameters,
  };
}

const signatureOf = (program: Program, op: Op): OpSignature => ({
  kind: op.kind,
  inputs: op.inputs.map((id) => program.values[id]!),
  outputs: op.outputs.map((id) => program.values[id]!),
  attrs: attrsOf(op),
});

/** What the engine needs of an op's attributes: shapes are the operands', derivatives have done their work. */
function attrsOf(op: Op): Instruction["attrs"] {
  return op.kind === "map" ? { exprs: op.attrs.exprs } : op.attrs;
}

const scratchOperand = (offset: number, bytes: number): Operand => ({
  space: "arena",
  offset,
  shape: [Math.ceil(bytes / bytesOf.f32)],
  dtype: "f32",
});

/** What ranks exchange is there from one step's start to its end: one after another. */
function placeExchange(locations: ReadonlyMap<ValueId, Location>): { offsets: Map<Buffer, number>; bytes: number } {
  const offsets = new Map<Buffer, number>();
  let bytes = 0;
  for (const { buffer } of locations.values()) {
    if (buffer.space !== "exchange" || offsets.has(buffer)) continue;
    offsets.set(buffer, bytes);
    bytes += align(buffer.bytes);
  }
  return { offsets, bytes };
}

/** One after another, each at a cache line of its own. */
function placeParameters(
  program: Program,
  shared: PlanOptions["shared"],
): { parameters: Record<string, Operand>; sharedBytes: number } {
  const parameters: Record<string, Operand> = { ...shared?.parameters };
  let sharedBytes = shared?.sharedBytes ?? 0;
  for (const [name, { value }] of Object.entries(program.parameters)) {
    const type = program.values[value]!;
    const known = parameters[name];
    if (known === undefined) {
      parameters[name] = { space: "shared", offset: sharedBytes, shape: type.shape, dtype: type.dtype };
      sharedBytes += align(byteLength(type));
    } else if (known.shape.join() !== type.shape.join()) {
      throw new Error(
        `parameter ${name} has shape [${type.shape.join(",")}], the shared block holds it as [${known.shape.join(",")}]`,
      );
    }
  }
  return { parameters, sharedBytes };
}
