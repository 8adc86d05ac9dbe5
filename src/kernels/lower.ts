// Expressions to SIMD instructions: each op's meaning in f32 lanes, with the cheaper forms that constants allow.
import type { BinaryOp, Expr, UnaryOp } from "./expr.ts";
import { fold } from "./fold.ts";
import type { Graph, NodeId } from "./graph.ts";
import { type FloatType, roundTo } from "./half.ts";
import { loadHalf, roundToHalf, roundUpperHalf, toF16 } from "./half-lanes.ts";
import { mixing, secondKeyOffset, streamMultiplier } from "./random.ts";
import type { ElementType } from "./spec.ts";
import * as transcendental from "./transcendental.ts";
import { type SimdOp, simd } from "./wasm.ts";

const SIGN_BIT = 0x80000000;
const MAX_UNROLLED_POWER = 16;

/** The numbers -1, 0 (with its sign), 1 or NaN. */
const sign = (g: Graph, x: NodeId): NodeId => {
  const one = g.op(simd.or, g.op(simd.and, x, g.bits(SIGN_BIT)), g.f32(1));
  return g.op(simd.bitselect, one, x, g.op(simd.gt, g.op(simd.abs, x), g.f32(0)));
};

const unary: Readonly<Record<UnaryOp, (g: Graph, x: NodeId) => NodeId>> = {
  neg: (g, x) => g.op(simd.neg, x),
  abs: (g, x) => g.op(simd.abs, x),
  sqrt: (g, x) => g.op(simd.sqrt, x),
  floor: (g, x) => g.op(simd.floor, x),
  round: (g, x) => g.op(simd.nearest, x),
  sign,
  exp: transcendental.exp,
  log: transcendental.log,
  log1p: transcendental.log1p,
  tanh: transcendental.tanh,
  sigmoid: transcendental.sigmoid,
  erf: transcendental.erf,
  normalCdf: transcendental.normalCdf,
  bf16: (g, x) => roundToHalf(g, "bf16", x),
  f16: (g, x) => roundToHalf(g, "f16", x),
};

const comparison: Partial<Readonly<Record<Expr["op"], SimdOp>>> = {
  gt: simd.gt,
  ge: simd.ge,
  lt: simd.lt,
  le: simd.le,
  eq: simd.eq,
};

/** min or max; beside a constant the single-instruction form suffices to keep NaN. */
const extreme = (g: Graph, exact: SimdOp, pseudo: SimdOp, x: NodeId, y: NodeId): NodeId => {
  if (g.isConstant(y) && !g.is(y, Number.NaN)) return g.op(pseudo, x, y);
  if (g.isConstant(x) && !g.is(x, Number.NaN)) return g.op(pseudo, y, x);
  return g.op(exact, x, y);
};

/** Of each lane that of x where the mask is all ones, that of y where it is all zeros. */
const pick = (g: Graph, mask: NodeId, x: NodeId, y: NodeId): NodeId => {
  if (g.is(y, 0)) return g.op(simd.and, x, mask);
  if (g.is(x, 0)) return g.op(simd.andnot, y, mask);
  return g.op(simd.bitselect, x, y, mask);
};

const integerPower = (g: Graph, x: NodeId, exponent: number): NodeId => {
  if (exponent === 1) return x;
  const half = integerPower(g, x, Math.floor(exponent / 2));
  const square = g.op(simd.mul, half, half);
  return exponent % 2 === 0 ? square : g.op(simd.mul, square, x);
};

/** Small powers by multiplication, ±0.5 by a square root (so that the power of -Infinity is NaN). */
const constantPower = (g: Graph, x: NodeId, exponent: number): NodeId => {
  if (exponent === 0) return g.f32(1);
  if (exponent < 0 && exponent >= -MAX_UNROLLED_POWER && Number.isInteger(2 * exponent)) {
    return g.op(simd.div, g.f32(1), constantPower(g, x, -exponent));
  }
  if (exponent === 0.5) return g.op(simd.sqrt, x);
  if (Number.isInteger(exponent) && exponent > 0 && exponent <= MAX_UNROLLED_POWER) return integerPower(g, x, exponent);
  return transcendental.pow(g, x, g.f32(exponent));
};

/** What to multiply by instead of dividing, where that gives the same bits: the divisor is a power of two. */
const exactReciprocal = (divisor: Expr): number | undefined => {
  if (divisor.op !== "const") return undefined;
  const power = Math.log2(Math.abs(divisor.value));
  return Number.isInteger(power) && Math.abs(power) < 127 ? 1 / divisor.value : undefined;
};

/** Four multiples of 2^-24 in [0, 1): the twin of `uniformAt`. */
const uniform = (g: Graph, seed: NodeId, counter: NodeId, stream: number): NodeId => {
  const shifted = (x: NodeId, i: number): NodeId =>
    g.op(simd.xor, x, g.shift(simd.shrU, x, mixing.shifts[i as 0 | 1 | 2 | 3]));
  const mixed = (x: NodeId, afterFirst: (x: NodeId) => NodeId): NodeId => {
    const last = mixing.multipliers.reduce((value, multiplier, i) => {
      const product = g.op(simd.i32Mul, shifted(value, i), g.bits(multiplier));
      return i === 0 ? afterFirst(product) : product;
    }, x);
    return shifted(last, 3);
  };
  const streamBits = g.bits(Math.imul(stream + 1, streamMultiplier));
  const first = mixed(g.op(simd.i32Add, seed, streamBits), (x) => x);
  const second = mixed(g.op(simd.i32Add, first, g.bits(secondKeyOffset)), (x) => x);
  const bits = mixed(g.op(simd.xor, counter, first), (x) => g.op(simd.i32Add, x, second));
  return g.op(simd.mul, g.op(simd.convertS, g.shift(simd.shrU, bits, 8)), g.f32(2 ** -24));
};

const isInteger = (type: ElementType): boolean => type === "i32" || type === "u32";

/** Turns the expressions of one kernel into nodes of one graph. */
export class Lowering {
  readonly #graph: Graph;
  readonly #dtypes: readonly ElementType[];
  readonly #counterOf: (name: number | "flat") => number;
  readonly #stages = new Map<number, NodeId>();
  #index: NodeId | undefined;
  readonly #done = new Map<Expr, NodeId>();

  /**
   * @param dtypes of each operand of the expressions
   * @param counterOf the number of the counter of an axis, or of the flat index
   */
  constructor(graph: Graph, dtypes: readonly ElementType[], counterOf: (name: number | "flat") => number = () => -1) {
    this.#graph = graph;
    this.#dtypes = dtypes;
    this.#counterOf = counterOf;
  }

  /** Lets an operand stand for a node. */
  define(operand: number, node: NodeId): void {
    this.#stages.set(operand, node);
  }

  /** Lets the index along the last axis stand for a node. */
  defineIndex(node: NodeId): void {
    this.#index = node;
  }

  /** An operand's elements as f32. */
  operand(index: number): NodeId {
    const g = this.#graph;
    const type = this.#dtypes[index]!;
    if (type === "bf16" || type === "f16") return loadHalf(g, type, index);
    const raw = g.load(index);
    if (type === "f32") return raw;
    return g.op(type === "u32" ? simd.convertU : simd.convertS, raw);
  }

  /** The node that computes `expr` as f32. */
  lower(expr: Expr): NodeId {
    return this.#value(fold(expr));
  }

  /**
   * The node that computes `expr` rounded to the type: f16 elements stand in the low half of each lane, bf16 ones in the upper
   * half, with anything below.
   */
  lowerTo(type: FloatType, expr: Expr): NodeId {
    if (type === "f32") return this.lower(expr);
    const folded = fold(expr);
    // Where it is a number of the type already, nothing is to be rounded.
    if (type === "f16" && folded.op === "input" && this.#dtypes[folded.index] === type) {
      return this.#graph.load(folded.index);
    }
    if (type === "bf16" && this.#isBf16(folded)) return this.#value(folded);
    const value = this.#value(folded.op === type ? folded.x : folded);
    return type === "f16" ? toF16(this.#graph, value) : roundUpperHalf(this.#graph, value);
  }

  /** Whether the expression only picks among bf16 numbers, as activations and their gradients do. */
  #isBf16(expr: Expr): boolean {
    switch (expr.op) {
      case "input":
        return this.#dtypes[expr.index] === "bf16";
      case "const":
        return roundTo("bf16", expr.value) === expr.value;
      case "neg":
      case "abs":
        return this.#isBf16(expr.x);
      case "min":
      case "max":
      case "select":
        return this.#isBf16(expr.x) && this.#isBf16(expr.y);
      default:
        return false;
    }
  }

  #value(expr: Expr): NodeId {
    const known = this.#done.get(expr);
    if (known !== undefined) return known;
    const id = this.#instruction(expr);
    this.#done.set(expr, id);
    return id;
  }

  #instruction(expr: Expr): NodeId {
    const g = this.#graph;
    switch (expr.op) {
      case "input":
        return this.#stages.get(expr.index) ?? this.operand(expr.index);
      case "const":
        return g.f32(expr.value);
      case "uniform":
        return uniform(g, this.#seed(expr.seed), g.counter(this.#counterOf("flat")), expr.stream);
      case "index":
        if (expr.axis === -1 && this.#index !== undefined) return this.#index;
        return g.op(simd.convertS, g.counter(this.#counterOf(expr.axis)));
      case "select":
        return pick(g, this.#mask(expr.test), this.#value(expr.x), this.#value(expr.y));
      case "rowMean":
        return g.rowMean(this.#value(expr.x));
    }
    if (!("y" in expr)) return unary[expr.op](g, this.#value(expr.x));
    if (comparison[expr.op] !== undefined) return g.op(simd.and, this.#mask(expr), g.f32(1));
    return this.#binary(expr);
  }

  #binary(expr: { op: BinaryOp; x: Expr; y: Expr }): NodeId {
    const g = this.#graph;
    const x = this.#value(expr.x);
    if (expr.op === "pow" && expr.y.op === "const") return constantPower(g, x, expr.y.value);
    const reciprocal = expr.op === "div" ? exactReciprocal(expr.y) : undefined;
    if (reciprocal !== undefined) return g.op(simd.mul, x, g.f32(reciprocal));
    const y = this.#value(expr.y);
    switch (expr.op) {
      case "add":
        return g.op(simd.add, x, y);
      case "sub":
        return g.op(simd.sub, x, y);
      case "mul":
        return g.op(simd.mul, x, y);
      case "div":
        return g.op(simd.div, x, y);
      case "min":
        return extreme(g, simd.min, simd.pmin, x, y);
      case "max":
        return extreme(g, simd.max, simd.pmax, x, y);
      case "pow":
        return transcendental.pow(g, x, y);
      default:
        throw new Error(`unknown op "${expr.op}" in a kernel's expression`);
    }
  }

  /** All ones in the lanes where `test` is not 0. */
  #mask(test: Expr): NodeId {
    const g = this.#graph;
    const op = comparison[test.op];
    if (op === undefined || !("y" in test)) return g.op(simd.ne, this.#value(test), g.f32(0));
    return g.op(op, this.#value(test.x), this.#value(test.y));
  }

  #seed(seed: Expr): NodeId {
    if (seed.op === "const") return this.#graph.bits(seed.value);
    if (seed.op === "input" && isInteger(this.#dtypes[seed.index]!)) return this.#graph.load(seed.index);
    throw new Error(`the seed of uniform must be a u32 operand or a constant, got ${JSON.stringify(seed)}`);
  }
}
