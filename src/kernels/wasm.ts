// A small writer of WebAssembly functions from addresses to nothing: just the instructions that kernels need. For memories
// above 4 GiB addresses are i64 in the code; the parameters are then f64, turned into i64 where a function starts, so that
// callers pass plain numbers to both.
import type { AddressType } from "../memory/index.ts";
import { Bytes } from "./bytes.ts";

/** Types of locals, by their code in the binary format. */
export const valueType = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;
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

// Opcodes of integer instructions by type.
const integerOp = {
  i32: { const: 0x41, eqz: 0x45, add: 0x6a },
  i64: { const: 0x42, eqz: 0x50, add: 0x7c },
} as const;
const SATURATING_PREFIX = 0xfc;
const I64_FROM_F64 = 0x06;
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

/** The body of one function under construction. Its parameters are the locals 0..parameters-1, each an address. */
export class FunctionBuilder {
  readonly parameters: number;
  readonly addressType: AddressType;
  readonly #code = new Bytes();
  /** The types of all locals, parameters included. */
  readonly #locals: ValueType[];
  /** What the binary adds to the number of a local: f64 parameters come before the i64 locals that hold them. */
  readonly #shift: number;

  constructor(parameters: number, addressType: AddressType) {
    this.parameters = parameters;
    this.addressType = addressType;
    this.#locals = new Array<ValueType>(parameters).fill(valueType[addressType]);
    this.#shift = addressType === "i64" ? parameters : 0;
    for (let i = 0; i < this.#shift; i++) {
      this.#emit(0x20);
      this.#code.unsigned(i);
      this.#emit(SATURATING_PREFIX, I64_FROM_F64);
      this.set(i);
    }
  }

  local(type: ValueType): number {
    return this.#locals.push(type) - 1;
  }

  /** A local that holds an address. */
  address(): number {
    return this.local(valueType[this.addressType]);
  }

  get(local: number): void {
    this.#emit(0x20);
    this.#code.unsigned(this.#shift + local);
  }

  set(local: number): void {
    this.#emit(0x21);
    this.#code.unsigned(this.#shift + local);
  }

  tee(local: number): void {
    this.#emit(0x22);
    this.#code.unsigned(this.#shift + local);
  }

  i32(value: number): void {
    this.#emit(integerOp.i32.const);
    this.#code.signed(value | 0);
  }

  i32Add(): void {
    this.#emit(integerOp.i32.add);
  }

  /** Puts into an address local 16 times the u32 that another one points to. */
  loadHandle(pointer: number, into: number): void {
    this.get(pointer);
    if (this.addressType === "i32") this.#emit(0x28, 2, 0, 0x41, 4, 0x74);
    else this.#emit(0x35, 2, 0, 0x42, 4, 0x86);
    this.set(into);
  }

  /** `local += amount`, for an integer local; nothing where the amount is 0. */
  increment(local: number, amount: number): void {
    if (amount === 0) return;
    this.#pushSum(local, amount);
    this.set(local);
  }

  /** A block that `body` leaves early where it calls `leaveIfZero`, directly within it. */
  block(body: () => void): void {
    this.#emit(0x02, VOID_BLOCK);
    body();
    this.#emit(0x0b);
  }

  /** Leaves the innermost block if an integer local is 0. */
  leaveIfZero(local: number): void {
    this.get(local);
    this.#emit(this.#integerOp(local).eqz, 0x0d, 0);
  }

  /** Runs `body` until the counter, an integer local lowered by one after each turn, is 0; at least once. */
  countDown(counter: number, body: () => void): void {
    this.#emit(0x03, VOID_BLOCK);
    body();
    this.#pushSum(counter, -1);
    this.tee(counter);
    if (this.#integerOp(counter) === integerOp.i64) this.#emit(0x50, 0x45);
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

  /** Of a local with eight elements of 16 bits, the first or last four, each in the upper half of its lane above zeros. */
  widenUpper(local: number, last: boolean): void {
    this.constant([0, 0, 0, 0]);
    this.get(local);
    this.#emit(SIMD_PREFIX, 0x0d);
    // As the instructions of processors that interleave two vectors: of the zeros too, the same elements.
    for (let i = last ? 8 : 0; i < (last ? 16 : 8); i += 2) this.#emit(i, i + 1, 16 + i, 17 + i);
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

  /** Loads the first `lanes` (1 to 4) elements of 32 bits that lie `apart` bytes from each other; the other lanes are zeros. */
  loadApart(pointer: number, offset: number, lanes: number, apart: number): void {
    // The pointers of later lanes lie below the vector that their instructions complete.
    for (let lane = 1; lane < lanes; lane++) this.get(pointer);
    this.load(pointer, offset, 1, 4);
    for (let lane = 1; lane < lanes; lane++) this.#laneAccess(loadLaneOp[4], offset + lane * apart, lane, 4);
  }

  /** Stores the first `lanes` lanes of a v128 local `apart` bytes from each other. */
  storeApart(pointer: number, offset: number, lanes: number, apart: number, value: number): void {
    if (apart === 4) {
      this.store(pointer, offset, lanes, value, 4);
      return;
    }
    for (let lane = 0; lane < lanes; lane++) {
      this.get(pointer);
      this.get(value);
      this.#laneAccess(storeLaneOp[4], offset + lane * apart, lane, 4);
    }
  }

  /** Loads eight elements of 16 bits as they are. */
  loadEight(pointer: number, offset: number): void {
    this.get(pointer);
    this.#memory(0x00, offset, 2);
  }

  /** Stores eight elements of 16 bits: the low halves, which hold a u16, of the lanes of two v128 locals. */
  storeEight(pointer: number, offset: number, first: number, second: number): void {
    this.get(pointer);
    this.get(first);
    this.get(second);
    this.simd(simd.narrowToU16);
    this.#memory(0x0b, offset, 2);
  }

  /** The function's entry in the code section. */
  finish(): Uint8Array {
    const runs: { type: ValueType; count: number }[] = [];
    for (const type of this.#locals.slice(this.parameters - this.#shift)) {
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

  #integerOp(local: number): (typeof integerOp)[AddressType] {
    return integerOp[this.#locals[local] === valueType.i64 ? "i64" : "i32"];
  }

  #pushSum(local: number, amount: number): void {
    const op = this.#integerOp(local);
    this.get(local);
    this.#emit(op.const);
    this.#code.signed(op === integerOp.i32 ? amount | 0 : amount);
    this.#emit(op.add);
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
