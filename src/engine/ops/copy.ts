// concat, slice, pad and transpose: moving rows between strides.
import { instantiate } from "../../memory/index.ts";
import type { Call } from "../device.ts";
import { bytesOf } from "../plan.ts";
import { check, checkArity, checkType, normalizeAxis, type OpSignature, sizeOf } from "../tensor.ts";
import { type BindOp, type BoundOp, call } from "./op.ts";

interface CopyKernels {
  copyRows(dst: number, dstStride: number, src: number, srcStride: number, rows: number, bytes: number): void;
  zeroRows(dst: number, dstStride: number, rows: number, bytes: number): void;
  permuteBlocks(...args: number[]): void;
  transpose(...args: number[]): void;
}

const kernels = (op: BoundOp): CopyKernels => instantiate<CopyKernels>("copy", op.context.heap);

/** A shape as [outer, axis, inner], with the bytes of one step along the axis. */
function around(op: OpSignature, axis: number): { outer: number; step: number; extent: number } {
  const { shape, dtype } = op.outputs[0]!;
  return {
    outer: sizeOf(shape.slice(0, axis)),
    extent: shape[axis]!,
    step: sizeOf(shape.slice(axis + 1)) * bytesOf[dtype],
  };
}

const withExtent = (shape: readonly number[], axis: number, extent: number): number[] => shape.with(axis, extent);

/** Copies `bytes` of each of `rows` rows; rows that lie densely on both sides are one row. */
function rowsCall(
  op: BoundOp,
  dst: number,
  dstStride: number,
  src: number,
  srcStride: number,
  rows: number,
  bytes: number,
): Call[] {
  if (rows === 0 || bytes === 0) return [];
  const dense = dstStride === bytes && srcStride === bytes;
  const [count, length] = dense ? [1, rows * bytes] : [rows, bytes];
  return [call(kernels(op).copyRows as (...args: number[]) => void, dst, dstStride, src, srcStride, count, length)];
}

const bindConcat: BindOp = (op) => {
  const { instruction } = op;
  checkArity(instruction, [1, Number.POSITIVE_INFINITY], 1);
  const output = instruction.outputs[0]!;
  const axis = normalizeAxis(instruction, instruction.attrs.axis, output.shape.length);
  const { outer, step, extent } = around(instruction, axis);
  const calls: Call[] = [];
  let at = 0;
  for (const [i, input] of instruction.inputs.entries()) {
    const length = input.shape[axis] ?? 0;
    checkType(instruction, `input ${i}`, input, output.dtype, withExtent(output.shape, axis, length));
    calls.push(
      ...rowsCall(op, op.outputs[0]! + at * step, extent * step, op.inputs[i]!, length * step, outer, length * step),
    );
    at += length;
  }
  check(instruction, at === extent, `the inputs have ${at} in all along axis ${axis}, the output ${extent}`);
  return calls;
};

const bindSlice: BindOp = (op) => {
  const { instruction } = op;
  checkArity(instruction, 1, 1);
  const [input, output] = [instruction.inputs[0]!, instruction.outputs[0]!];
  const axis = normalizeAxis(instruction, instruction.attrs.axis, input.shape.length);
  const [start, end] = [instruction.attrs.start as number, instruction.attrs.end as number];
  const whole = input.shape[axis]!;
  check(
    instruction,
    start >= 0 && start <= end && end <= whole,
    `start ${start} and end ${end} do not lie within 0 to ${whole}`,
  );
  checkType(instruction, "the output", output, input.dtype, withExtent(input.shape, axis, end - start));
  const { outer, step, extent } = around(instruction, axis);
  return rowsCall(op, op.outputs[0]!, extent * step, op.inputs[0]! + start * step, whole * step, outer, extent * step);
};

const bindPad: BindOp = (op) => {
  const { instruction } = op;
  checkArity(instruction, 1, 1);
  const [input, output] = [instruction.inputs[0]!, instruction.outputs[0]!];
  const axis = normalizeAxis(instruction, instruction.attrs.axis, input.shape.length);
  const [before, after] = [instruction.attrs.before as number, instruction.attrs.after as number];
  const length = input.shape[axis]!;
  check(instruction, before >= 0 && after >= 0, `before ${before} and after ${after} must not be negative`);
  checkType(instruction, "the output", output, input.dtype, withExtent(input.shape, axis, before + length + after));
  const { outer, step, extent } = around(instruction, axis);
  const to = op.outputs[0]!;
  const zero = (at: number, count: number): Call[] =>
    outer === 0 || count * step === 0
      ? []
      : [call(kernels(op).zeroRows as (...args: number[]) => void, to + at * step, extent * step, outer, count * step)];
  return [
    ...zero(0, before),
    ...rowsCall(op, to + before * step, extent * step, op.inputs[0]!, length * step, outer, length * step),
    ...zero(before + length, after),
  ];
};

/** One dimension of a permutation: its extent and the byte strides on both sides. */
interface Dimension {
  extent: number;
  from: number;
  to: number;
}

/** The output's dimensions in order, without those of extent 1, neighbours merged where both sides are dense. */
function permutedDimensions(op: OpSignature, perm: readonly number[]): Dimension[] {
  const { shape, dtype } = op.inputs[0]!;
  const strides: number[] = new Array(shape.length);
  let stride = bytesOf[dtype];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis]!;
  }
  const dimensions: Dimension[] = [];
  let to = bytesOf[dtype];
  for (const axis of perm.toReversed()) {
    const [extent, from] = [shape[axis]!, strides[axis]!];
    const inner = dimensions[0];
    if (extent !== 1) {
      if (inner !== undefined && from === inner.from * inner.extent) inner.extent *= extent;
      else dimensions.unshift({ extent, from, to });
    }
    to *= extent;
  }
  return dimensions;
}

const bindTranspose: BindOp = (op) => {
  const { instruction } = op;
  checkArity(instruction, 1, 1);
  const [input, output] = [instruction.inputs[0]!, instruction.outputs[0]!];
  const perm = instruction.attrs.perm as readonly number[];
  check(
    instruction,
    perm.toSorted((a, b) => a - b).every((axis, i) => axis === i) && perm.length === input.shape.length,
    `perm must hold each axis of the input once, got [${perm}]`,
  );
  const permuted = perm.map((axis) => input.shape[axis]!);
  checkType(instruction, "the output", output, input.dtype, permuted);
  if (sizeOf(output.shape) === 0) return [];
  return permuteCalls(op, permutedDimensions(instruction, perm), op.outputs[0]!, op.inputs[0]!, bytesOf[input.dtype]);
};

/** Calls for one permutation: tiles where the last two dimensions swap, else blocks; what is deeper becomes more calls. */
function permuteCalls(
  op: BoundOp,
  dimensions: readonly Dimension[],
  dst: number,
  src: number,
  elementBytes: number,
): Call[] {
  const { permuteBlocks, transpose } = kernels(op);
  const last = dimensions.at(-1);
  const swapped = dimensions.at(-2);
  const tiles = elementBytes === 4 && last !== undefined && swapped?.from === 4;
  if (dimensions.length > (tiles ? 3 : 4)) {
    const [outer, ...rest] = dimensions;
    const calls: Call[] = [];
    for (let i = 0; i < outer!.extent; i++) {
      calls.push(...permuteCalls(op, rest, dst + i * outer!.to, src + i * outer!.from, elementBytes));
    }
    return calls;
  }
  if (tiles) {
    const batch = dimensions.length === 3 ? dimensions[0]! : { extent: 1, from: 0, to: 0 };
    const [rows, cols] = [last, swapped];
    return [
      call(transpose, dst, src, batch.extent, rows.extent, cols.extent, rows.from, batch.from, cols.to, batch.to),
    ];
  }
  const dense = last !== undefined && last.from === elementBytes;
  const blockBytes = dense ? last.extent * elementBytes : elementBytes;
  const outer = dense ? dimensions.slice(0, -1) : dimensions;
  if (outer.length === 4) {
    const [first, ...rest] = outer;
    return Array.from({ length: first!.extent }, (_, i) =>
      permuteCalls(op, rest, dst + i * first!.to, src + i * first!.from, elementBytes),
    ).flat();
  }
  const padded = [...new Array(3 - outer.length).fill({ extent: 1, from: 0, to: 0 }), ...outer] as Dimension[];
  return [call(permuteBlocks, dst, src, ...padded.map((d) => d.extent), ...padded.map((d) => d.from), blockBytes)];
}

export const copyOps = { concat: bindConcat, slice: bindSlice, pad: bindPad, transpose: bindTranspose };
