// For tests: the plainest provider there is, float64 loops over copies of what lies in the heap.
import { readFloats, writeFloats } from "../kernels/half.ts";
import type { Heap } from "../memory/index.ts";
import type { FloatType } from "./plan.ts";
import type { ConvShape, MatmulShape, NormShape, PoolShape, Provider } from "./provider.ts";
import {
  convolve,
  matmulExtents,
  multiply,
  type NormOperand,
  normalize,
  normalizeGradient,
  pool,
} from "./testing-loops.ts";

/** An operand in the heap: `size` elements, written where it is a result. */
export interface PlainOperand {
  readonly type: FloatType | "u8";
  readonly size: number;
  readonly result: boolean;
}

/** The operands of work by name. */
export type Operands<Name extends string> = Readonly<Record<Name, PlainOperand>>;

export function matmulOperands(s: MatmulShape): Operands<"a" | "b" | "c"> & { readonly bias?: PlainOperand } {
  const { types = { a: "f32", b: "f32", c: "f32" } } = s;
  const extents = matmulExtents(s);
  return {
    a: { type: types.a, size: extents.a, result: false },
    b: { type: types.b, size: extents.b, result: false },
    c: { type: types.c, size: extents.c, result: true },
    ...(s.bias !== undefined && { bias: { type: "f32", size: s.n, result: false } }),
  };
}

export function convOperands(s: ConvShape): Operands<"x" | "w" | "y"> & { readonly bias?: PlainOperand } {
  const { direction, types, batch, channels, outChannels, groups } = s;
  return {
    x: { type: types.x, size: batch * s.height * s.width * channels, result: direction === "input" },
    w: {
      type: types.w,
      size: (s.kernelHeight * s.kernelWidth * channels * outChannels) / groups,
      result: direction === "weights",
    },
    y: { type: types.y, size: batch * s.outHeight * s.outWidth * outChannels, result: direction === "forward" },
    ...(s.bias && { bias: { type: "f32", size: outChannels, result: direction === "weights" } }),
  };
}

/** With places where `mode` is `max`. */
export function poolOperands(s: PoolShape): Operands<"x" | "y"> & { readonly places?: PlainOperand } {
  const { type, batch, channels } = s;
  const forward = s.direction === "forward";
  const results = batch * s.outHeight * s.outWidth * channels;
  return {
    x: { type, size: batch * s.height * s.width * channels, result: !forward },
    y: { type, size: results, result: forward },
    ...(s.mode === "max" && { places: { type: "u8", size: results, result: forward } }),
  };
}

/** All of both directions: what a direction does not name has no elements. */
export function normOperands(s: NormShape): Operands<NormOperand> {
  const { rows, columns, axis, type } = s;
  const forward = s.direction === "forward";
  const numbers = (size: number, result: boolean): PlainOperand => ({ type: "f32", size, result });
  const statistics = numbers(axis === "layer" ? rows : columns, forward);
  const gradients = numbers(forward ? 0 : columns, true);
  return {
    x: { type, size: rows * columns, result: false },
    y: { type, size: rows * columns, result: forward },
    ...{ gamma: numbers(columns, false), beta: numbers(forward ? columns : 0, false) },
    ...{ mean: statistics, rstd: statistics, dgamma: gradients, dbeta: gradients },
    dx: { type, size: forward ? 0 : rows * columns, result: true },
  };
}

export const plainProvider = (heap: Heap): Provider => {
  const { buffer } = heap.memory;
  const read = ({ type, size }: PlainOperand, at: number): Float64Array =>
    Float64Array.from(type === "u8" ? heap.u8(at, size) : readFloats(type, buffer, at, size));
  const write = ({ type, size }: PlainOperand, at: number, values: Float64Array): void => {
    if (type === "u8") heap.u8(at, size).set(values);
    else writeFloats(type, buffer, at, values);
  };
  /** Work on copies of the operands that have an address; results go back. */
  const over =
    <Name extends string>(
      operands: Partial<Operands<Name>>,
      addresses: Readonly<Partial<Record<Name, number>>>,
      work: (numbers: Record<Name, Float64Array>) => void,
    ): (() => void) =>
    () => {
      const entries = (Object.entries(operands) as [Name, PlainOperand][]).filter(([name]) => name in addresses);
      const numbers = Object.fromEntries(entries.map(([name, operand]) => [name, read(operand, addresses[name]!)]));
      work(numbers as Record<Name, Float64Array>);
      for (const [name, operand] of entries) if (operand.result) write(operand, addresses[name]!, numbers[name]!);
    };
  const scratchBytes = (): number => 0;
  return {
    name: "wasm",
    nativeBf16: false,
    scratchBytes,
    matmul: (spec) => {
      const { a, b, c, bias } = spec;
      const addresses = { a, b, c, ...(bias !== undefined && { bias }) };
      return over(matmulOperands(spec), addresses, (numbers) => multiply(spec, numbers));
    },
    conv: { scratchBytes, bind: (s, at) => over(convOperands(s), at, (numbers) => convolve(s, numbers)) },
    pool: { scratchBytes, bind: (s, at) => over(poolOperands(s), at, (numbers) => pool(s, numbers)) },
    norm: {
      scratchBytes,
      bind: (s, at) =>
        over(normOperands(s), at, (s.direction === "forward" ? normalize : normalizeGradient).bind(null, s)),
    },
  };
};
