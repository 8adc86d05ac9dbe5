// Which values share memory, and when each piece of memory is live: views, in-place maps, first and last use.
import { bytesOf, type Space } from "../engine/plan.ts";
import { ProgramError } from "./errors.ts";
import { type Op, type Program, sameShape, sizeOf, type TensorType, type ValueId } from "./ir.ts";
import { alignElements } from "./ops/bucket.ts";
import { writtenValues } from "./ops/catalogue.ts";

/** A piece of memory and the time in which it may not be touched by others. Times are indices of instructions. */
export interface Buffer {
  readonly space: Space;
  readonly bytes: number;
  start: number;
  end: number;
  /** Whether a result may be written over it once its last reader is done. */
  readonly reusable: boolean;
}

/** Where a value lies: a whole buffer, or a part of it. */
export interface Location {
  readonly buffer: Buffer;
  readonly offset: number;
}

export interface Liveness {
  /** The ops that are instructions, in order; views have none. */
  readonly ops: readonly Op[];
  /** By value; absent for values that nothing defines. */
  readonly locations: ReadonlyMap<ValueId, Location>;
  /** Every arena buffer once. */
  readonly buffers: readonly Buffer[];
}

export const byteLength = (type: TensorType): number => sizeOf(type.shape) * bytesOf[type.dtype];

/** Byte offset of a value that is a part of the op's input 0 as it stands in memory, or undefined. */
export function viewOffset(program: Program, op: Op): number | undefined {
  if (op.kind === "reshape") return 0;
  if (op.kind !== "slice") return undefined;
  const { shape, dtype } = program.values[op.inputs[0]!]!;
  if (sizeOf(shape.slice(0, op.attrs.axis)) !== 1) return undefined;
  return op.attrs.start * sizeOf(shape.slice(op.attrs.axis + 1)) * bytesOf[dtype];
}

/** Whether the op moves nothing: its result lies in its input. */
export const isView = (program: Program, op: Op): boolean => viewOffset(program, op) !== undefined;

/** Inputs, parameters and outputs are live for the whole step, or to its end; everything else while it is needed. */
export function analyse(program: Program): Liveness {
  const ops = program.ops.filter((op) => viewOffset(program, op) === undefined);
  const locations = locate(program, ops);
  const buffers = new Set<Buffer>();
  for (const [time, op] of ops.entries()) {
    for (const id of op.inputs) extend(locations.get(id)!.buffer, time);
  }
  for (const id of Object.values(program.outputs)) extend(locations.get(id)!.buffer, ops.length);
  expectFreshViews(program, ops, locations);
  const views = Map.groupBy(locations.keys(), (id) => locations.get(id)!.buffer);
  for (const [time, op] of ops.entries()) if (op.kind === "bucket") fillInPlace(program, op, time, locations, views);
  for (const [time, op] of ops.entries()) reuseInputs(program, op, time, locations, views);
  for (const { buffer } of locations.values()) if (buffer.space === "arena") buffers.add(buffer);
  return { ops, locations, buffers: [...buffers] };
}

/** A view shows its parameter as it is, so it may not be read after the parameter was written. */
function expectFreshViews(program: Program, ops: readonly Op[], locations: ReadonlyMap<ValueId, Location>): void {
  const parameters = new Set(Object.values(program.parameters).map(({ value }) => value));
  const written = new Set<Buffer>();
  for (const op of ops) {
    for (const id of op.inputs) {
      if (!parameters.has(id) && written.has(locations.get(id)!.buffer)) {
        throw new ProgramError(`${op.kind} reads value ${id}, a view of a parameter, after the parameter was written`);
      }
    }
    for (const id of writtenValues(op)) written.add(locations.get(id)!.buffer);
  }
}

const extend = (buffer: Buffer, time: number): void => {
  buffer.end = Math.max(buffer.end, time);
};

function locate(program: Program, ops: readonly Op[]): Map<ValueId, Location> {
  const locations = new Map<ValueId, Location>();
  const own = (id: ValueId, buffer: Omit<Buffer, "bytes">): void => {
    locations.set(id, { buffer: { ...buffer, bytes: byteLength(program.values[id]!) }, offset: 0 });
  };
  for (const id of Object.values(program.inputs)) {
    own(id, { space: "arena", start: -1, end: ops.length, reusable: false });
  }
  for (const { value } of Object.values(program.parameters)) {
    own(value, { space: "shared", start: -1, end: ops.length, reusable: false });
  }
  let time = 0;
  for (const op of program.ops) {
    const view = viewOffset(program, op);
    if (view !== undefined) {
      const source = locations.get(op.inputs[0]!)!;
      locations.set(op.outputs[0]!, { buffer: source.buffer, offset: source.offset + view });
      continue;
    }
    if (op.kind === "bucket_wait") locations.set(op.outputs[0]!, locations.get(op.inputs[0]!)!);
    else if (op.kind === "bucket") {
      own(op.outputs[0]!, { space: "exchange", start: -1, end: program.ops.length, reusable: false });
    } else for (const id of op.outputs) own(id, { space: "arena", start: time, end: time, reusable: true });
    time++;
  }
  return locations;
}

/** Lets gradients that only their bucket reads lie in it from the start. */
function fillInPlace(
  program: Program,
  op: Op,
  time: number,
  locations: Map<ValueId, Location>,
  views: Map<Buffer, ValueId[]>,
): void {
  const { buffer: bucket } = locations.get(op.outputs[0]!)!;
  let at = 0;
  for (const id of op.inputs) {
    const type = program.values[id]!;
    const { buffer, offset } = locations.get(id)!;
    const whole = offset === 0 && buffer.bytes === byteLength(type);
    if (whole && buffer.space === "arena" && buffer.reusable && buffer.end === time) {
      for (const view of views.get(buffer)!) {
        locations.set(view, { buffer: bucket, offset: at + locations.get(view)!.offset });
        views.get(bucket)!.push(view);
      }
      views.delete(buffer);
    }
    at += bytesOf.f32 * alignElements(sizeOf(type.shape));
  }
}

/**
 * Inputs that one of an op's outputs may lie over, because its kernel reads an element for the last time before it writes that
 * place: a map reads all operands of a vector before it stores the first result, rows are summed up before they are written.
 */
export function overwritable(op: Op, output: number): readonly ValueId[] {
  // Numbers that belong to a whole row of the result are read again with the next one.
  if (op.kind === "rows") return output < op.attrs.exprs.length ? op.inputs : [];
  return op.kind === "map" ? op.inputs : [];
}

/** Lets each output lie exactly over an input that is read here for the last time, where the op's kernel allows it. */
function reuseInputs(
  program: Program,
  op: Op,
  time: number,
  locations: Map<ValueId, Location>,
  views: Map<Buffer, ValueId[]>,
): void {
  const taken = new Set<Buffer>();
  for (const [k, output] of op.outputs.entries()) {
    const candidates = overwritable(op, k);
    const type = program.values[output]!;
    const input = candidates.find((id) => {
      const { buffer } = locations.get(id)!;
      return buffer.reusable && buffer.end === time && !taken.has(buffer) && fits(program, op, buffer, type, locations);
    });
    const old = locations.get(output)!.buffer;
    if (input === undefined || old.space !== "arena") continue;
    const { buffer } = locations.get(input)!;
    taken.add(buffer);
    extend(buffer, old.end);
    for (const id of views.get(old)!) {
      locations.set(id, { buffer, offset: locations.get(id)!.offset });
      views.get(buffer)!.push(id);
    }
    views.delete(old);
  }
}

/** Whether every operand of the op that lies in the buffer has the output's type and fills the buffer. */
function fits(
  program: Program,
  op: Op,
  buffer: Buffer,
  type: TensorType,
  locations: ReadonlyMap<ValueId, Location>,
): boolean {
  return op.inputs.every((id) => {
    if (locations.get(id)!.buffer !== buffer) return true;
    const operand = program.values[id]!;
    return operand.dtype === type.dtype && sameShape(operand.shape, type.shape) && buffer.bytes === byteLength(type);
  });
}
