// What all work of a provider must fulfil: right within rounding of the plain float64 loops, the same bits in every run,
// inputs as they were, nothing written beside the results and the scratch. The checks of each kind of work build on it.
import { readFloats, writeFloats } from "../../kernels/half.ts";
import type { Heap } from "../../memory/index.ts";
import { bytesOf, type FloatType } from "../plan.ts";
import type { Provider, Scratch } from "../provider.ts";
import type { PlainOperand } from "../testing-plain.ts";
import { type Guarded, generator, guarded } from "./guarded.ts";

/** Numbers of operands by name. */
export type Numbers = Record<string, Float64Array>;

export interface WorkCheck {
  /** For messages. */
  readonly what: string;
  readonly operands: Readonly<Record<string, PlainOperand>>;
  /** Operands that are read and overwritten. */
  readonly sums?: readonly string[];
  /** Fills an operand; default: random numbers in [−1, 1). */
  readonly fill?: Readonly<Record<string, (random: () => number) => number>>;
  scratchBytes(provider: Provider): number;
  bind(provider: Provider, at: Readonly<Record<string, number>>, scratch: Scratch): () => void;
  /** The plain loops: overwrites results. */
  expect(numbers: Numbers): void;
  /** Overwrites results by the sums of magnitudes that they were rounded from; default: `expect` on absolute values. */
  magnitudes?(numbers: Numbers): void;
  readonly seed?: number;
}

/** Relative to the sum of magnitudes: f32 arithmetic in any order. */
const F32_ERROR = 2e-6;
/** Half a unit in the last place of a number, relative to it, and of the least numbers. */
const HALF_UNIT: Readonly<Record<FloatType | "u8", readonly [number, number]>> = {
  f32: [0, 0],
  bf16: [2 ** -8, 0],
  f16: [2 ** -11, 2 ** -25],
  u8: [0, 0],
};
/** Fills what is overwritten, scratch included: NaN in every float type. */
const GARBAGE = 0xff;

/**
 * Runs work twice on random numbers in memory of its own and returns the bytes of the results.
 * @throws with the operand, the place and both numbers where the provider breaks the contract.
 */
export function checkWork(heap: Heap, provider: Provider, check: WorkCheck): Uint8Array[] {
  const { what, operands, sums = [], fill = {} } = check;
  const names = Object.keys(operands);
  const random = generator(check.seed ?? 1);
  const scratchBytes = check.scratchBytes(provider);
  const scratch = guarded(heap, scratchBytes);
  const blocks = names.map((name) => guarded(heap, operands[name]!.size * bytesOf[operands[name]!.type]));
  const bytes = (i: number): Uint8Array => {
    const { type, size } = operands[names[i]!]!;
    return heap.u8(blocks[i]!.pointer, size * bytesOf[type]);
  };
  try {
    names.forEach((name, i) => {
      const { type, size, result } = operands[name]!;
      if (result && !sums.includes(name)) bytes(i).fill(GARBAGE);
      else {
        const make = fill[name] ?? ((next) => 2 * next() - 1);
        writeOperand(
          heap,
          type,
          blocks[i]!.pointer,
          Float64Array.from({ length: size }, () => make(random)),
        );
      }
    });
    const before = names.map((_, i) => bytes(i).slice());
    const addresses = Object.fromEntries(names.map((name, i) => [name, blocks[i]!.pointer]));
    const call = check.bind(provider, addresses, { scratch: scratch.pointer, scratchBytes });
    const runs = [0, 1].map(() => {
      for (const i of names.keys()) bytes(i).set(before[i]!);
      heap.u8(scratch.pointer, scratchBytes).fill(GARBAGE);
      call();
      return names.map((_, i) => bytes(i).slice());
    });
    const [first, second] = runs as [Uint8Array[], Uint8Array[]];
    names.forEach((name, i) => {
      if (differ(first[i]!, second[i]!)) throw new Error(`${what}: two runs differ in ${name}`);
      if (!operands[name]!.result && differ(first[i]!, before[i]!)) throw new Error(`${what}: ${name} was written`);
    });
    if (![...blocks, scratch].every((block) => block.intact())) {
      throw new Error(`${what}: memory beside an operand or the scratch was written`);
    }
    compare(heap, check, blocks, before);
    return first.filter((_, i) => operands[names[i]!]!.result);
  } finally {
    for (const block of [...blocks, scratch]) block.free();
  }
}

function compare(heap: Heap, check: WorkCheck, blocks: readonly Guarded[], before: readonly Uint8Array[]): void {
  const { what, operands } = check;
  const entries = Object.entries(operands);
  const read = (): Numbers =>
    Object.fromEntries(entries.map(([name, o], i) => [name, readOperand(heap, o, blocks[i]!.pointer)]));
  const actual = read();
  for (const [i, bytes] of before.entries()) heap.u8(blocks[i]!.pointer, bytes.length).set(bytes);
  const expected = read();
  const sizes = check.magnitudes === undefined ? absolute(expected) : structuredClone(expected);
  check.expect(expected);
  (check.magnitudes ?? check.expect)(sizes);
  for (const [name, { type, result }] of entries) {
    if (!result) continue;
    const [relative, least] = HALF_UNIT[type];
    actual[name]!.forEach((got, i) => {
      const wanted = expected[name]![i]!;
      const error = type === "u8" ? 0 : F32_ERROR * sizes[name]![i]! + relative * Math.abs(wanted) + least;
      if (Object.is(got, wanted) || Math.abs(got - wanted) <= error) return;
      throw new Error(`${what}: ${name}[${i}] is ${got}, expected ${wanted} ± ${error}`);
    });
  }
}

export const absolute = (numbers: Numbers): Numbers =>
  Object.fromEntries(Object.entries(numbers).map(([name, values]) => [name, values.map(Math.abs)]));

function readOperand(heap: Heap, { type, size }: PlainOperand, at: number): Float64Array {
  return Float64Array.from(type === "u8" ? heap.u8(at, size) : readFloats(type, heap.memory.buffer, at, size));
}

function writeOperand(heap: Heap, type: PlainOperand["type"], at: number, values: Float64Array): void {
  if (type === "u8") heap.u8(at, values.length).set(values);
  else writeFloats(type, heap.memory.buffer, at, values);
}

const differ = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) !== 0;

/** A check in one line: "conv forward {…}". */
export const text = (kind: string, shape: object): string => `${kind} ${JSON.stringify(shape)}`;
