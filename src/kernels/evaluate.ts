// The reference twin of the compiler: plain float64 evaluation of an expression, one lane at a time. Kernels are tested
// against it; nothing on a hot path calls it.
import type { BinaryOp, Expr, UnaryOp } from "./expr.ts";
import { roundTo } from "./half.ts";
import { uniformAt } from "./random.ts";
import type { UpdateRule } from "./update-rule.ts";

/** Where an expression is evaluated. */
export interface Lane {
  /** The flat index of the element in the loop's shape: the counter of `uniform`. */
  readonly counter: number;
  /** The loop's shape, for `index`. */
  readonly shape?: readonly number[];
  /** The lanes of the whole row, for `rowMean`; absent outside of sparse rows. */
  readonly row?: readonly ((index: number) => number)[];
}

const roundHalfEven = (x: number): number => {
  const nearest = Math.round(x);
  return nearest - x === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
};

/** By a series of positive terms: 2/√π · e^(-x²) · Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1)). */
function erf(x: number): number {
  // Beyond, the difference to 1 is below the rounding error.
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** Below -2, where 1 + erf loses its digits, by the continued fraction φ(u) / (u + 1/(u + 2/(u + 3/…))), u = -x. */
function normalCdf(x: number): number {
  if (!(x < -2)) return (1 + erf(x * Math.SQRT1_2)) / 2;
  let fraction = -x;
  for (let k = 80; k > 0; k--) fraction = k / fraction - x;
  return Math.exp((-x * x) / 2) / (fraction * Math.sqrt(2 * Math.PI));
}

/** The float64 meaning of each unary op. `round` breaks ties to even. */
export const unaryReference: Readonly<Record<UnaryOp, (x: number) => number>> = {
  neg: (x) => -x,
  abs: Math.abs,
  sqrt: Math.sqrt,
  exp: Math.exp,
  log: Math.log,
  log1p: Math.log1p,
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  erf,
  normalCdf,
  floor: Math.floor,
  round: roundHalfEven,
  sign: Math.sign,
  bf16: (x) => roundTo("bf16", x),
  f16: (x) => roundTo("f16", x),
};

/** The float64 meaning of each binary op; min and max give NaN where either side is NaN. */
export const binaryReference: Readonly<Record<BinaryOp, (x: number, y: number) => number>> = {
  add: (x, y) => x + y,
  sub: (x, y) => x - y,
  mul: (x, y) => x * y,
  div: (x, y) => x / y,
  min: Math.min,
  max: Math.max,
  pow: (x, y) => x ** y,
  gt: (x, y) => (x > y ? 1 : 0),
  ge: (x, y) => (x >= y ? 1 : 0),
  lt: (x, y) => (x < y ? 1 : 0),
  le: (x, y) => (x <= y ? 1 : 0),
  eq: (x, y) => (x === y ? 1 : 0),
};

/**
 * The value of `expr` in float64.
 *
 * @param operands the lane's element of an operand; an integer where the operand is a seed
 * @throws Error for `rowMean` without `lane.row`, and for `index` of an axis that `lane.shape` does not have
 */
export function evaluate(expr: Expr, operands: (index: number) => number, lane: Lane): number {
  switch (expr.op) {
    case "input":
      return operands(expr.index);
    case "const":
      return expr.value;
    case "uniform":
      return uniformAt(evaluate(expr.seed, operands, lane) >>> 0, expr.stream, lane.counter);
    case "index": {
      const { counter, shape } = lane;
      const size = shape?.at(expr.axis);
      if (size === undefined) throw new Error(`index has no axis ${expr.axis} here: the shape is [${shape ?? ""}]`);
      const within = shape!.slice(shape!.length + expr.axis + 1).reduce((product, extent) => product * extent, 1);
      return Math.floor(counter / within) % size;
    }
    case "select":
      return evaluate(expr.test, operands, lane) !== 0
        ? evaluate(expr.x, operands, lane)
        : evaluate(expr.y, operands, lane);
    case "rowMean": {
      const { row } = lane;
      if (!row) throw new Error("rowMean has no row here: it is allowed only in update rules of sparse rows");
      return row.reduce((sum, element) => sum + evaluate(expr.x, element, lane), 0) / row.length;
    }
  }
  const x = evaluate(expr.x, operands, lane);
  return "y" in expr ? binaryReference[expr.op](x, evaluate(expr.y, operands, lane)) : unaryReference[expr.op](x);
}

/** What a rows kernel computes, without its types. */
export interface RowArithmetic {
  readonly stages: readonly { readonly op: "sum" | "max"; readonly expr: Expr }[];
  readonly exprs: readonly Expr[];
  readonly rowExprs: readonly Expr[];
  readonly shape: readonly number[];
}

/**
 * Rows arithmetic in float64: the tensors of `exprs`, then the numbers a row of `rowExprs`.
 *
 * @param inputs the number of inputs; the stages' results are the operands behind them
 * @param read the inputs' elements at a flat index of the shape
 */
export function evaluateRows(
  { stages, exprs, rowExprs, shape }: RowArithmetic,
  inputs: number,
  read: (flat: number) => (index: number) => number,
): Float64Array[] {
  const length = shape.at(-1)!;
  const size = shape.reduce((product, extent) => product * extent, 1);
  const tensors = exprs.map(() => new Float64Array(size));
  const rows = rowExprs.map(() => new Float64Array(length === 0 ? 0 : size / length));
  for (let start = 0; start < size; start += length) {
    const results: number[] = [];
    const at = (expr: Expr, flat: number): number => {
      const own = read(flat);
      return evaluate(expr, (index) => (index < inputs ? own(index) : results[index - inputs]!), {
        counter: flat,
        shape,
      });
    };
    for (const { op, expr } of stages) {
      let result = op === "sum" ? 0 : Number.NEGATIVE_INFINITY;
      for (let flat = start; flat < start + length; flat++) {
        result = op === "sum" ? result + at(expr, flat) : Math.max(result, at(expr, flat));
      }
      results.push(result);
    }
    for (const [k, expr] of exprs.entries()) {
      for (let flat = start; flat < start + length; flat++) tensors[k]![flat] = at(expr, flat);
    }
    for (const [k, expr] of rowExprs.entries()) rows[k]![start / length] = at(expr, start);
  }
  return [...tensors, ...rows];
}

/** One sparse row, or one dense parameter taken as a row: weights and gradient [dim], slots [dim], or [1] if per row. */
export interface RuleState {
  readonly weight: readonly number[];
  readonly slots: readonly (readonly number[])[];
}

/** Applies an update rule to one row in float64 and returns the new row. `scalars` are in the rule's order. */
export function evaluateRule(
  rule: UpdateRule,
  { weight, slots }: RuleState,
  gradient: readonly number[],
  scalars: readonly number[],
): { weight: number[]; slots: number[][] } {
  const row = weight.map((_, element) => (index: number): number => {
    if (index === 0) return weight[element]!;
    if (index === 1) return gradient[element]!;
    const slot = index - 2;
    if (slot >= slots.length) return scalars[slot - slots.length]!;
    return rule.slots[slot]!.perRow ? slots[slot]![0]! : slots[slot]![element]!;
  });
  const at = (expr: Expr, element: number): number => evaluate(expr, row[element]!, { counter: element, row });
  return {
    weight: weight.map((_, element) => at(rule.weight, element)),
    slots: slots.map((values, slot) => values.map((_, element) => at(rule.state[slot]!, element))),
  };
}
