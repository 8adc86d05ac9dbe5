// A small writer of WebAssembly binaries: just the instructions that elementwise kernels need, one imported shared memory,
// and functions from i32 parameters to nothing.

/** Types of locals, by their code in the binary format. */
export const valueType = { i32: 0x7f, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;
export type ValueType = (typeof valueType)[keyof typeof valueType];

/** Opcodes of SIMD128 instructions that take vectors (and for shifts an i32) and give a vector. */
export const simd = {
  i32x4Splat: 0x11,
  f32x4Splat: 0x13,
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

const unsigned = (out: number[], value: number): void => {
  let rest = value;
  while (rest >= 0x80) {
    out.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  out.push(rest);
};

const signed = (out: number[], value: number): void => {
  let rest = value | 0;
  for (;;) {
    const byte = rest & 0x7f;
    rest >>= 7;
    if ((rest === 0 && !(byte & 0x40)) || (rest === -1 && byte & 0x40)) {
      out.push(byte);
      return;
    }
    out.push(byte | 0x80);
  }
};

const appendAll = (out: number[], bytes: Iterable<number>): void => {
  for (const byte of bytes) out.push(byte);
};

const sized = (out: number[], bytes: readonly number[]): void => {
  unsigned(out, bytes.length);
  appendAll(out, bytes);
};

/** The body of one function under construction. Parameters are i32 locals 0..parameters-1. */
export class FunctionBuilder {
  readonly parameters: number;
  readonly #code: number[] = [];
  readonly #locals: ValueType[] = [];

  constructor(parameters: number) {
    this.parameters = parameters;
  }

  local(type: ValueType): number {
    return this.parameters + this.#locals.push(type) - 1;
  }

  get(local: number): void {
    this.#code.push(0x20);
    unsigned(this.#code, local);
  }

  set(local: number): void {
    this.#code.push(0x21);
    unsigned(this.#code, local);
  }

  tee(local: number): void {
    this.#code.push(0x22);
    unsigned(this.#code, local);
  }

  i32(value: number): void {
    this.#code.push(0x41);
    signed(this.#code, value);
  }

  i32Add(): void {
    this.#code.push(0x6a);
  }

  i32Shl(): void {
    this.#code.push(0x74);
  }

  i32Load(offset: number): void {
    this.#code.push(0x28, 2);
    unsigned(this.#code, offset);
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
    this.#code.push(0x02, VOID_BLOCK);
    body();
    this.#code.push(0x0b);
  }

  /** Takes an i32 and leaves the innermost block if it is 0. */
  leaveIfZero(): void {
    this.#code.push(0x45, 0x0d, 0);
  }

  /** Runs `body` until the counter, lowered by one after each turn, is 0; at least once. */
  countDown(counter: number, body: () => void): void {
    this.#code.push(0x03, VOID_BLOCK);
    body();
    this.get(counter);
    this.i32(-1);
    this.i32Add();
    this.tee(counter);
    this.#code.push(0x0d, 0, 0x0b);
  }

  simd(op: SimdOp): void {
    this.#code.push(SIMD_PREFIX);
    unsigned(this.#code, op);
  }

  constant(words: readonly [number, number, number, number]): void {
    this.#code.push(SIMD_PREFIX, 0x0c);
    appendAll(this.#code, new Uint8Array(Uint32Array.from(words).buffer));
  }

  /** `lanes[i]` is the lane (of the first operand 0..3, of the second 4..7) that becomes lane i. */
  shuffle(lanes: readonly [number, number, number, number]): void {
    this.#code.push(SIMD_PREFIX, 0x0d);
    for (const lane of lanes) this.#code.push(4 * lane, 4 * lane + 1, 4 * lane + 2, 4 * lane + 3);
  }

  /** The sum of the two f64 lanes of a local, as f32 in every lane. */
  sumOfF64Lanes(local: number): void {
    for (const lane of [0, 1]) {
      this.get(local);
      this.#code.push(SIMD_PREFIX, 0x21, lane);
    }
    this.#code.push(0xa0, 0xb6);
    this.simd(simd.f32x4Splat);
  }

  loadSplat(pointer: number, offset: number): void {
    this.get(pointer);
    this.#memory(0x09, offset);
  }

  /** Loads the first `lanes` (1 to 4) elements, zeros behind them. */
  load(pointer: number, offset: number, lanes: number): void {
    this.get(pointer);
    if (lanes === 3) {
      // The pointer for the third lane lies below the two lanes that the instruction completes.
      this.get(pointer);
      this.#memory(0x5d, offset);
      this.#memory(0x56, offset + 8);
      this.#code.push(2);
    } else {
      this.#memory(lanes === 4 ? 0x00 : lanes === 2 ? 0x5d : 0x5c, offset);
    }
  }

  /** Stores the first `lanes` (1 to 4) lanes of a v128 local. */
  store(pointer: number, offset: number, lanes: number, value: number): void {
    this.get(pointer);
    this.get(value);
    if (lanes === 4) {
      this.#memory(0x0b, offset);
      return;
    }
    this.#memory(lanes === 1 ? 0x5a : 0x5b, offset);
    this.#code.push(0);
    if (lanes < 3) return;
    this.get(pointer);
    this.get(value);
    this.#memory(0x5a, offset + 8);
    this.#code.push(2);
  }

  /** The function's entry in the code section. */
  finish(): number[] {
    const runs: { type: ValueType; count: number }[] = [];
    for (const type of this.#locals) {
      const last = runs.at(-1);
      if (last?.type === type) last.count++;
      else runs.push({ type, count: 1 });
    }
    const body: number[] = [];
    unsigned(body, runs.length);
    for (const { type, count } of runs) {
      unsigned(body, count);
      body.push(type);
    }
    appendAll(body, this.#code);
    body.push(0x0b);
    const entry: number[] = [];
    sized(entry, body);
    return entry;
  }

  #memory(op: number, offset: number): void {
    this.#code.push(SIMD_PREFIX, op, 2);
    unsigned(this.#code, offset);
  }
}

const section = (out: number[], id: number, entries: readonly (readonly number[])[]): void => {
  const body: number[] = [];
  unsigned(body, entries.length);
  for (const entry of entries) appendAll(body, entry);
  out.push(id);
  sized(out, body);
};

const text = (value: string): number[] => {
  const out: number[] = [];
  sized(out, [...new TextEncoder().encode(value)]);
  return out;
};

/** A module that imports `env.memory` (shared, at most 65536 pages) and exports each function under its name. */
export function assemble(functions: readonly { name: string; body: FunctionBuilder }[]): Uint8Array<ArrayBuffer> {
  const arities = [...new Set(functions.map(({ body }) => body.parameters))];
  const out: number[] = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  const index = (value: number): number[] => {
    const bytes: number[] = [];
    unsigned(bytes, value);
    return bytes;
  };
  section(
    out,
    1,
    arities.map((arity) => [0x60, ...index(arity), ...Array<number>(arity).fill(valueType.i32), 0]),
  );
  section(out, 2, [[...text("env"), ...text("memory"), 0x02, 0x03, ...index(1), ...index(65536)]]);
  section(
    out,
    3,
    functions.map(({ body }) => index(arities.indexOf(body.parameters))),
  );
  section(
    out,
    7,
    functions.map(({ name }, i) => [...text(name), 0x00, ...index(i)]),
  );
  section(
    out,
    10,
    functions.map(({ body }) => body.finish()),
  );
  return Uint8Array.from(out);
}
