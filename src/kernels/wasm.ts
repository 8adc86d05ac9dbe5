// A small writer of WebAssembly binaries: just the instructions that elementwise kernels need, one imported shared memory,
// and functions from i32 parameters to nothing.

import { Bytes } from "./bytes.ts";

/** Types of locals, by their code in the binary format. */
export const valueType = { i32: 0x7f, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;
export type ValueType = (typeof valueType)[keyof typeof valueType];

/** Opcodes of SIMD128 instructions that take vectors (and for shifts an i32) and give a vector. */
export const simd = {
  i32x4Splat: 0x11,
  f32x4Splat: 0x13,
  i32Lt: 0x39,
  i32Gt: 0x3b,
  eq: 0x41,
  ne: 0x42,
  lt: 0x43,
  gt: 0x44,
  le: 0x45,
  ge: 0x46,
  and: 0x4e,
  andnot: 0x4f,
  or: 0x50,
  xor: 0x51,
  bitselect: 0x52,
  demoteZero: 0x5e,
  promoteLow: 0x5f,
  floor: 0x68,
  nearest: 0x6a,
  narrowToU16: 0x86,
  widenU8: 0x89,
  widenU16: 0xa9,
  shl: 0xab,
  shrS: 0xac,
  shrU: 0xad,
  i32Add: 0xae,
  i32Sub: 0xb1,
  i32Mul: 0xb5,
  abs: 0xe0,
  neg: 0xe1,
  sqrt: 0xe3,
  add: 0xe4,
  sub: 0xe5,
  mul: 0xe6,
  div: 0xe7,
  min: 0xe8,
  max: 0xe9,
  pmin: 0xea,
  pmax: 0xeb,
  f64Add: 0xf0,
  convertS: 0xfa,
  convertU: 0xfb,
} as const;
export type SimdOp = (typeof simd)[keyof typeof simd];

const SIMD_PREFIX = 0xfd;
const VOID_BLOCK = 0x40;

/** The width of an element in memory. */
export type ElementBytes = 4 | 2 | 1;
type LaneBytes = ElementBytes | 8;

// Opcodes of loads and stores by the bytes that they move; whole loads extend each of four elements to 32 bits.
const splatOp: Readonly<Record<ElementBytes, number>> = { 1: 0x07, 2: 0x08, 4: 0x09 };
const wholeLoadOp: Readonly<Record<ElementBytes, number>> = { 1: 0x5c, 2: 0x04, 4: 0x00 };
const loadLaneOp: Readonly<Record<ElementBytes, number>> = { 1: 0x54, 2: 0x55, 4: 0x56 };
const storeLaneOp: Readonly<Record<LaneBytes, number>> = { 1: 0x58, 2: 0x59, 4: 0x5a, 8: 0x5b };

/** The body of one function under construction. Parameters are i32 locals 0..parameters-1. */
export class FunctionBuilder {
  readonly parameters: number;
  readonly #code = new Bytes();
  readonly #locals: ValueType[] = [];

  constructor(parameters: number) {
    this.parameters = parameters;
  }

  local(type: ValueType): number {
    return this.parameters + this.#locals.push(type) - 1;
  }

  get(local: number): void {
    this.#emit(0x20);
    this.#code.unsigned(local);
  }

  set(local: number): void {
    this.#emit(0x21);
    this.#code.unsigned(local);
  }

  tee(local: number): void {
    this.#emit(0x22);
    this.#code.unsigned(local);
  }

  i32(value: number): void {
    this.#emit(0x41);
    this.#code.signed(value);
  }

  i32Add(): void {
    this.#emit(0x6a);
  }

  i32Shl(): void {
    this.#emit(0x74);
  }

  i32Load(offset: number): void {
    this.#emit(0x28, 2);
    this.#code.unsigned(offset);
  }

  /** `local += amount`; nothing where the amount is 0. */
  increment(local: number, amount: number): void {
    if (amount === 0) return;
    this.get(local);
    this.i32(amount);
    this.i32Add();
    this.set(local);
  }

  /** A block that `body` leaves early where it calls `leaveIfZero`, directly within it. */
  block(body: () => void): void {
    this.#emit(0x02, VOID_BLOCK);
    body();
    this.#emit(0x0b);
  }

  /** Takes an i32 and leaves the innermost block if it is 0. */
  leaveIfZero(): void {
    this.#emit(0x45, 0x0d, 0);
  }

  /** Runs `body` until the counter, lowered by one after each turn, is 0; at least once. */
  countDown(counter: number, body: () => void): void {
    this.#emit(0x03, VOID_BLOCK);
    body();
    this.get(counter);
    this.i32(-1);
    this.i32Add();
    this.tee(counter);
    this.#emit(0x0d, 0, 0x0b);
  }

  simd(op: SimdOp): void {
    this.#emit(SIMD_PREFIX);
    this.#code.unsigned(op);
  }

  constant(words: readonly [number, number, number, number]): void {
    this.#emit(SIMD_PREFIX, 0x0c);
    for (const word of words) this.#code.word(word);
  }

  /** `lanes[i]` is the lane (of the first operand 0..3, of the second 4..7) that becomes lane i. */
  shuffle(lanes: readonly [number, number, number, number]): void {
    this.#emit(SIMD_PREFIX, 0x0d);
    for (const lane of lanes) this.#emit(4 * lane, 4 * lane + 1, 4 * lane + 2, 4 * lane + 3);
  }

  /** The sum of the two f64 lanes of a local, as f32 in every lane. */
  sumOfF64Lanes(local: number): void {
    for (const lane of [0, 1]) {
      this.get(local);
      this.#emit(SIMD_PREFIX, 0x21, lane);
    }
    this.#emit(0xa0, 0xb6);
    this.simd(simd.f32x4Splat);
  }

  /** Loads one element of `bytes` (4, 2 or 1), extended with zeros to 32 bits, into every lane. */
  loadSplat(pointer: number, offset: number, bytes: ElementBytes): void {
    this.get(pointer);
    this.#memory(splatOp[bytes], offset, bytes);
    if (bytes === 4) return;
    const mask = 2 ** (8 * bytes) - 1;
    this.constant([mask, mask, mask, mask]);
    this.simd(simd.and);
  }

  /**
   * Loads the first `lanes` (1 to 4) elements of `bytes` (4, 2 or 1), extended with zeros to 32 bits. Of fewer than four,
   * the lanes behind them are zeros or repeat them.
   */
  load(pointer: number, offset: number, lanes: number, bytes: ElementBytes): void {
    if (lanes === 1 && bytes < 4) {
      this.loadSplat(pointer, offset, bytes);
      return;
    }
    // The pointer of the third of three elements lies below the two that its instruction completes.
    if (lanes === 3) this.get(pointer);
    this.get(pointer);
    if (lanes === 4) this.#memory(wholeLoadOp[bytes], offset, bytes);
    else if (bytes === 4) this.#memory(lanes === 1 ? 0x5c : 0x5d, offset, bytes);
    else this.#memory(splatOp[bytes === 2 ? 4 : 2], offset, bytes);
    if (lanes === 3) this.#laneAccess(loadLaneOp[bytes], offset + 2 * bytes, 2, bytes);
    if (bytes === 1) this.simd(simd.widenU8);
    if (bytes === 1 || (bytes === 2 && lanes < 4)) this.simd(simd.widenU16);
  }

  /** Stores the first `lanes` (1 to 4) lanes of a v128 local, of each the low `bytes`; two bytes must hold a u16. */
  store(pointer: number, offset: number, lanes: number, value: number, bytes: 4 | 2): void {
    const push = (): void => {
      this.get(pointer);
      this.get(value);
      if (bytes === 4) return;
      this.get(value);
      this.simd(simd.narrowToU16);
    };
    push();
    if (lanes === 4 && bytes === 4) {
      this.#memory(0x0b, offset, bytes);
      return;
    }
    const first = lanes === 3 ? 2 : lanes;
    this.#laneAccess(storeLaneOp[(first * bytes) as LaneBytes], offset, 0, bytes);
    if (lanes !== 3) return;
    push();
    this.#laneAccess(storeLaneOp[bytes], offset + 2 * bytes, 2, bytes);
  }

  /** The function's entry in the code section. */
  finish(): Uint8Array {
    const runs: { type: ValueType; count: number }[] = [];
    for (const type of this.#locals) {
      const last = runs.at(-1);
      if (last?.type === type) last.count++;
      else runs.push({ type, count: 1 });
    }
    const body = new Bytes();
    body.unsigned(runs.length);
    for (const { type, count } of runs) {
      body.unsigned(count);
      body.byte(type);
    }
    body.append(this.#code.written);
    body.byte(0x0b);
    return body.written;
  }

  #emit(...bytes: number[]): void {
    for (const byte of bytes) this.#code.byte(byte);
  }

  #memory(op: number, offset: number, align: ElementBytes): void {
    this.#emit(SIMD_PREFIX, op, Math.log2(align));
    this.#code.unsigned(offset);
  }

  #laneAccess(op: number, offset: number, lane: number, align: ElementBytes): void {
    this.#memory(op, offset, align);
    this.#emit(lane);
  }
}

/** Writes section `id` with one entry for each item. */
function section<T>(
  out: Bytes,
  id: number,
  items: readonly T[],
  write: (entry: Bytes, item: T, i: number) => void,
): void {
  const body = new Bytes();
  body.unsigned(items.length);
  for (const [i, item] of items.entries()) write(body, item, i);
  out.byte(id);
  out.sized(body.written);
}

const HEADER = Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
const SHARED_WITH_MAXIMUM = 0x03;
const MAX_PAGES = 65536;

/** A module that imports `env.memory` (shared, at most 65536 pages) and exports each function under its name. */
export function assemble(
  functions: readonly { readonly name: string; readonly body: FunctionBuilder }[],
): Uint8Array<ArrayBuffer> {
  const arities = [...new Set(functions.map(({ body }) => body.parameters))];
  const out = new Bytes();
  out.append(HEADER);
  section(out, 1, arities, (entry, arity) => {
    entry.byte(0x60);
    entry.sized(new Uint8Array(arity).fill(valueType.i32));
    entry.byte(0);
  });
  section(out, 2, ["memory"], (entry, name) => {
    entry.text("env");
    entry.text(name);
    entry.byte(0x02);
    entry.byte(SHARED_WITH_MAXIMUM);
    entry.unsigned(1);
    entry.unsigned(MAX_PAGES);
  });
  section(out, 3, functions, (entry, { body }) => entry.unsigned(arities.indexOf(body.parameters)));
  section(out, 7, functions, (entry, { name }, i) => {
    entry.text(name);
    entry.byte(0x00);
    entry.unsigned(i);
  });
  section(out, 10, functions, (entry, { body }) => entry.sized(body.finish()));
  return out.written;
}
