// Running sums and maxima in registers. Long sums stay accurate because a register takes at most BLOCK additions before it
// is emptied into float64 totals: the rounding error does not grow with the length.
import { type FunctionBuilder, simd, valueType } from "./wasm.ts";

/** The most f32 additions into one register; bounds the relative error of a sum of positive numbers by 64 · 2^-24. */
export const BLOCK = 64;

export type ReduceOp = "sum" | "max";

/** What an accumulator holds before the first value, in every lane. */
const identityBits: Readonly<Record<ReduceOp, number>> = { sum: 0, max: 0xff800000 };
/** Combines two values so that a NaN stays. */
export const combineOp = { sum: simd.add, max: simd.max } as const;

/** Pushes the number that changes nothing, in every lane. */
export function pushIdentity(fn: FunctionBuilder, op: ReduceOp): void {
  const bits = identityBits[op];
  fn.constant([bits, bits, bits, bits]);
}

/** Several registers that together hold one sum or maximum. */
export class Accumulators {
  readonly locals: readonly number[];
  readonly #fn: FunctionBuilder;
  readonly #op: ReduceOp;
  /** The maximum that keeps NaN is slow, so a mask of the NaNs that were met is kept beside one that drops them. */
  readonly #nans: { readonly mask: number; readonly value: number } | undefined;

  constructor(fn: FunctionBuilder, op: ReduceOp, count: number) {
    this.#fn = fn;
    this.#op = op;
    this.locals = Array.from({ length: count }, () => fn.local(valueType.v128));
    if (op === "max") this.#nans = { mask: fn.local(valueType.v128), value: fn.local(valueType.v128) };
  }

  clear(): void {
    for (const local of this.locals) {
      pushIdentity(this.#fn, this.#op);
      this.#fn.set(local);
    }
    if (this.#nans === undefined) return;
    this.#fn.constant([0, 0, 0, 0]);
    this.#fn.set(this.#nans.mask);
  }

  /** Takes the value that `push` pushes into accumulator `i`; only its first `lanes` lanes count. */
  add(i: number, lanes: number, push: () => void): void {
    const fn = this.#fn;
    const local = this.locals[i]!;
    fn.get(local);
    push();
    if (lanes < 4) this.#mask(lanes);
    if (this.#nans === undefined) {
      fn.simd(simd.add);
    } else {
      const { mask, value } = this.#nans;
      fn.tee(value);
      fn.simd(simd.pmax);
      fn.get(value);
      fn.get(value);
      fn.simd(simd.ne);
      fn.get(mask);
      fn.simd(simd.or);
      fn.set(mask);
    }
    fn.set(local);
  }

  /** Pushes all accumulators combined. */
  pushCombined(): void {
    if (this.#nans !== undefined) {
      const nan = 0x7fc00000;
      this.#fn.constant([nan, nan, nan, nan]);
    }
    this.#pushTree(this.locals);
    if (this.#nans === undefined) return;
    this.#fn.get(this.#nans.mask);
    this.#fn.simd(simd.bitselect);
  }

  #pushTree(locals: readonly number[]): void {
    if (locals.length === 1) {
      this.#fn.get(locals[0]!);
      return;
    }
    const half = Math.ceil(locals.length / 2);
    this.#pushTree(locals.slice(0, half));
    this.#pushTree(locals.slice(half));
    this.#fn.simd(this.#op === "sum" ? simd.add : simd.pmax);
  }

  /** Combines the four lanes of a local into each of its lanes. */
  acrossLanes(local: number): void {
    const swaps = [
      [2, 3, 0, 1],
      [1, 0, 3, 2],
    ] as const;
    for (const swap of swaps) {
      this.#fn.get(local);
      this.#fn.get(local);
      this.#fn.get(local);
      this.#fn.shuffle(swap);
      this.#fn.simd(combineOp[this.#op]);
      this.#fn.set(local);
    }
  }

  /** Replaces the lanes from `lanes` on by the identity. */
  #mask(lanes: number): void {
    pushIdentity(this.#fn, this.#op);
    const keep = (lane: number): number => (lane < lanes ? 0xffffffff : 0);
    this.#fn.constant([keep(0), keep(1), keep(2), keep(3)]);
    this.#fn.simd(simd.bitselect);
  }
}

/** The sum or maximum of a row, which starts anew with each row. Of long rows, sums have float64 totals. */
export class RowResult {
  /** The local that holds the result, in every lane, after `finish`. */
  readonly local: number;
  readonly accumulators: Accumulators;
  readonly #fn: FunctionBuilder;
  readonly #total: number | undefined;

  constructor(fn: FunctionBuilder, op: ReduceOp, registers: number, long: boolean) {
    this.#fn = fn;
    this.accumulators = new Accumulators(fn, op, registers);
    this.local = fn.local(valueType.v128);
    this.#total = long && op === "sum" ? fn.local(valueType.v128) : undefined;
  }

  start(): void {
    this.accumulators.clear();
    if (this.#total === undefined) return;
    this.#fn.constant([0, 0, 0, 0]);
    this.#fn.set(this.#total);
  }

  /** Empties the registers, at the latest after BLOCK additions into each. */
  flush(): void {
    if (this.#total === undefined) return;
    this.accumulators.pushCombined();
    this.#fn.set(this.local);
    addToTotal(this.#fn, this.local, this.#total);
    this.accumulators.clear();
  }

  finish(): void {
    if (this.#total === undefined) {
      this.accumulators.pushCombined();
      this.#fn.set(this.local);
      this.accumulators.acrossLanes(this.local);
    } else {
      this.#fn.sumOfF64Lanes(this.#total);
      this.#fn.set(this.local);
    }
  }
}

/** Adds the four lanes of a local to a float64 total of two lanes. */
function addToTotal(fn: FunctionBuilder, local: number, total: number): void {
  fn.get(total);
  fn.get(local);
  fn.simd(simd.promoteLow);
  fn.simd(simd.f64Add);
  fn.get(local);
  fn.get(local);
  fn.shuffle([2, 3, 0, 1]);
  fn.simd(simd.promoteLow);
  fn.simd(simd.f64Add);
  fn.set(total);
}
