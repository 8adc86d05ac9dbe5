// Shapes of operands: sizes, how they are written in messages, and the error of an instruction that cannot be bound.
import { bytesOf, type DType, type Instruction } from "./plan.ts";

export interface TensorType {
  readonly shape: readonly number[];
  readonly dtype: DType;
}

/** Number of elements. */
export const sizeOf = (shape: readonly number[]): number => shape.reduce((product, extent) => product * extent, 1);

export const byteLength = (tensor: TensorType): number => sizeOf(tensor.shape) * bytesOf[tensor.dtype];

export const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((extent, axis) => extent === b[axis]);

/** "f32[512,16]". */
export const formatType = (tensor: TensorType): string => `${tensor.dtype}[${tensor.shape.join(",")}]`;

/** What an instruction computes on: the part that is known before any address is. */
export type OpSignature = Pick<Instruction, "kind" | "attrs"> & {
  readonly inputs: readonly TensorType[];
  readonly outputs: readonly TensorType[];
};

/** "matmul(f32[2,3], f32[3,4]) → f32[2,4] {transposeA: false}". */
export function formatOp(op: OpSignature): string {
  const attrs = Object.entries(op.attrs).map(([name, value]) => `${name}: ${JSON.stringify(value)}`);
  const text = `${op.kind}(${op.inputs.map(formatType).join(", ")}) → ${op.outputs.map(formatType).join(", ") || "()"}`;
  return attrs.length === 0 ? text : `${text} {${attrs.join(", ")}}`;
}

/** An instruction whose shapes, dtypes or attributes do not fit its kind. */
export class InstructionError extends Error {
  readonly op: OpSignature;

  constructor(op: OpSignature, reason: string) {
    super(`${reason}; in ${formatOp(op)}`);
    this.name = "InstructionError";
    this.op = op;
  }
}

/** @throws InstructionError unless `condition`. */
export function check(op: OpSignature, condition: boolean, reason: string): asserts condition {
  if (!condition) throw new InstructionError(op, reason);
}

/** Checks the number of inputs and outputs and that all of `f32` are f32. */
export function checkArity(op: OpSignature, inputs: number | readonly [number, number], outputs: number): void {
  const [least, most] = typeof inputs === "number" ? [inputs, inputs] : inputs;
  const count = op.inputs.length;
  if (count < least || count > most) {
    const expected = least === most ? `${least}` : `${least} to ${most}`;
    throw new InstructionError(op, `${op.kind} takes ${expected} inputs, got ${count}`);
  }
  const given = op.outputs.length;
  if (given !== outputs) throw new InstructionError(op, `${op.kind} gives ${outputs} outputs, the plan has ${given}`);
}

export function checkType(
  op: OpSignature,
  what: string,
  tensor: TensorType,
  dtype: DType,
  shape: readonly number[],
): void {
  if (tensor.dtype === dtype && sameShape(tensor.shape, shape)) return;
  throw new InstructionError(op, `${what} must be ${formatType({ dtype, shape })}, got ${formatType(tensor)}`);
}

/** An axis in 0..rank−1; negative ones count from the end. */
export function normalizeAxis(op: OpSignature, axis: unknown, rank: number): number {
  check(
    op,
    typeof axis === "number" && Number.isInteger(axis) && axis >= -rank && axis < rank,
    `axis must be an integer from ${-rank} to ${rank - 1}, got ${JSON.stringify(axis)}`,
  );
  return axis < 0 ? axis + rank : axis;
}
