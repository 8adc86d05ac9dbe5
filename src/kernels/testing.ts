// For the tests of this folder: runs a kernel on arrays, with guards around every tensor, and bounds what f32 arithmetic
// may answer by interval arithmetic in float64.
import type { AddressType } from "../memory/index.ts";
import { bindKernels, compileKernels } from "./compile.ts";
import { binaryReference, evaluate, unaryReference } from "./evaluate.ts";
import type { Expr } from "./expr.ts";
import { readFloats } from "./half.ts";
import { reduceScratch } from "./reduce.ts";
import { rowsScratch } from "./rows.ts";
import { elementBytes, type Kernel, type RowUpdateKernel } from "./spec.ts";

const PAGE = 65536;
const GUARD_BYTES = 64;
const GUARD = 0xde;

/** A memory and from where on tests use it. */
export interface TestMemory {
  readonly memory: WebAssembly.Memory;
  readonly addressType: AddressType;
  readonly start: number;
}

/** A small memory, and one whose addresses need more than 32 bits. */
export const testMemories: readonly TestMemory[] = [
  {
    memory: new WebAssembly.Memory({ initial: 64, maximum: 65536, shared: true }),
    addressType: "i32",
    start: PAGE,
  },
  {
    memory: new WebAssembly.Memory({ initial: 65600n, maximum: 262144n, shared: true, address: "i64" }),
    addressType: "i64",
    start: 2 ** 32,
  },
];

export interface RunOptions {
  /** `over[i]` is the input whose memory output i shares. */
  readonly over?: readonly (number | undefined)[];
  /** The tensor (inputs, then outputs) that ends where the memory ends, so that a read or write beyond it traps. */
  readonly last?: number;
}

type Elements = Float32Array | Int32Array | Uint32Array | Uint16Array | Uint8Array;

/**
 * Runs a map, reduce or rows kernel and returns its outputs as f32 numbers.
 * @throws Error if it writes outside of them, or if its builds for the two types of addresses differ in a bit.
 */
export function runKernel(
  kernel: Exclude<Kernel, RowUpdateKernel>,
  inputs: readonly Elements[],
  outputLengths: readonly number[],
  options: RunOptions = {},
): Float32Array[] {
  const [first, ...others] = testMemories.map((space) => runIn(space, kernel, inputs, outputLengths, options));
  const bitsOf = (values: Float32Array): Buffer => Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  for (const [i, values] of first!.entries()) {
    for (const other of others) {
      if (!bitsOf(values).equals(bitsOf(other[i]!)))
        throw new Error(`output ${i} differs where addresses have 64 bits`);
    }
  }
  return first!;
}

function runIn(
  { memory, addressType, start }: TestMemory,
  kernel: Exclude<Kernel, RowUpdateKernel>,
  inputs: readonly Elements[],
  outputLengths: readonly number[],
  { over = [], last }: RunOptions,
): Float32Array[] {
  const end = memory.buffer.byteLength;
  const bytes = new Uint8Array(memory.buffer);
  let next = start;
  const used: [number, number][] = [];
  const place = (length: number, tensor: number): number => {
    const pointer = tensor === last ? end - length : next + GUARD_BYTES;
    if (tensor !== last) next = Math.ceil((pointer + length) / 4) * 4;
    bytes.fill(GUARD, pointer - GUARD_BYTES, Math.min(end, pointer + length + GUARD_BYTES));
    used.push([pointer, length]);
    return pointer;
  };
  const dtypes = outputLengths.map((_, i) => (kernel.type === "reduce" ? undefined : kernel.dtypes?.[i]) ?? "f32");
  const inputPointers = inputs.map((data, i) => place(data.byteLength, i));
  const outputPointers = outputLengths.map((length, i) => {
    const shared = over[i];
    return shared === undefined ? place(length * elementBytes[dtypes[i]!], inputs.length + i) : inputPointers[shared]!;
  });
  for (const [i, data] of inputs.entries()) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), inputPointers[i]!);
  }
  const [run] = bindKernels(compileKernels([kernel], addressType), memory);
  const scratch = { map: () => 0, reduce: reduceScratch, rows: rowsScratch }[kernel.type](kernel as never);
  run!(...inputPointers, ...outputPointers, ...(scratch > 0 ? [place(scratch, -1)] : []));
  for (const [start, length] of used) {
    for (let i = 1; i <= GUARD_BYTES; i++) {
      if (bytes[start - i] !== GUARD) throw new Error(`a kernel wrote ${i} bytes in front of a tensor`);
      const behind = start + length + i - 1;
      if (behind < end && bytes[behind] !== GUARD) throw new Error(`a kernel wrote ${i} bytes behind a tensor`);
    }
  }
  return outputPointers.map((pointer, i) => readFloats(dtypes[i]!, memory.buffer, pointer, outputLengths[i]!));
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/** The element of a tensor of `from` that stands at flat index `at` of `to`, by numpy's rules. */
export function broadcastIndex(from: readonly number[], to: readonly number[], at: number): number {
  let index = 0;
  let step = 1;
  let rest = at;
  for (let axis = to.length - 1; axis >= 0; axis--) {
    const coordinate = rest % to[axis]!;
    rest = Math.floor(rest / to[axis]!);
    const size = from[axis - to.length + from.length];
    if (size === undefined) break;
    if (size !== 1) index += coordinate * step;
    step *= size;
  }
  return index;
}

/** Numbers in [low, high], the same for the same seed. */
export function numbers(length: number, seed: number, low: number, high: number): Float32Array {
  let state = seed | 0;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return low + ((high - low) * (state >>> 0)) / 2 ** 32;
  });
}

/** All that f32 arithmetic may answer; `undefined` where anything goes (a comparison of nearly equal numbers, overflow). */
export type Interval = readonly [number, number] | undefined;

const MOST = 2 ** 127;
const ROUNDING = 2 ** -22;
const TINY = 2 ** -126;

const around = (...values: readonly number[]): Interval => {
  const low = Math.min(...values);
  const high = Math.max(...values);
  if (!(low > -MOST && high < MOST)) return undefined;
  return [low - ROUNDING * Math.abs(low) - TINY, high + ROUNDING * Math.abs(high) + TINY];
};

const steps: ReadonlySet<string> = new Set(["floor", "round", "sign", "bf16", "f16", "gt", "ge", "lt", "le", "eq"]);

/** The answers that rounding of every step allows, for one lane. */
export function bounds(
  expr: Expr,
  operands: (index: number) => number,
  counter: number,
  shape: readonly number[],
): Interval {
  const of = (part: Expr): Interval => bounds(part, operands, counter, shape);
  switch (expr.op) {
    case "input":
    case "const":
    case "uniform":
    case "index": {
      const value = evaluate(expr, operands, { counter, shape });
      return expr.op === "const" ? around(value) : [value, value];
    }
    case "select": {
      const test = of(expr.test);
      if (!test || (test[0] <= 0 && test[1] >= 0 && test[0] !== test[1])) return undefined;
      return test[0] !== 0 ? of(expr.x) : of(expr.y);
    }
    case "rowMean":
      return undefined;
  }
  const x = of(expr.x);
  if (!("y" in expr)) {
    if (!x) return undefined;
    const f = unaryReference[expr.op];
    if (expr.op === "abs" && x[0] < 0 && x[1] > 0) return around(0, f(x[0]), f(x[1]));
    const ends = [f(x[0]), f(x[1])] as const;
    if (!steps.has(expr.op)) return around(...ends);
    return ends[0] === ends[1] ? ends : undefined;
  }
  const y = of(expr.y);
  if (!x || !y) return undefined;
  const f = binaryReference[expr.op];
  if (expr.op === "div" && y[0] <= 0 && y[1] >= 0) return undefined;
  const corners = [f(x[0], y[0]), f(x[0], y[1]), f(x[1], y[0]), f(x[1], y[1])];
  if (expr.op === "pow") return powerBounds(x, y, corners);
  if (!steps.has(expr.op)) return around(...corners);
  const touches = x[0] <= y[1] && y[0] <= x[1] && !(x[0] === x[1] && y[0] === y[1]);
  return touches ? undefined : [corners[0]!, corners[0]!];
}

function powerBounds(x: readonly [number, number], y: readonly [number, number], corners: number[]): Interval {
  const turns = x[0] < 0 && x[1] > 0;
  const exact = around(...corners, ...(turns ? [0] : []));
  if (!exact || !(y[0] === y[1] || x[0] > 0)) return undefined;
  const growth = 1 + Math.max(...x.map((base) => Math.abs(y[1] * Math.log(Math.abs(base) || 1))));
  const slack = growth * ROUNDING * Math.max(Math.abs(exact[0]), Math.abs(exact[1]));
  return [exact[0] - slack, exact[1] + slack];
}
