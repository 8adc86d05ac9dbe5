// Lowering of batch normalisation: statistics by one reduction with two results, everything else as maps, so that casts,
// activations and residual additions around it fuse with it.
import * as e from "../kernels/expr.ts";
import { type FloatType, type Op, type OpOf, sizeOf, type ValueId } from "../program/ir.ts";
import { typed } from "../program/ops/broadcast.ts";
import type { Replacement } from "./replace.ts";

type Expr = e.Expr;

/** Whether the op was lowered. */
export function lowerBatchNorm(op: Op, by: Replacement): boolean {
  if (op.kind === "batch_norm") {
    if (op.attrs.training) training(op, by);
    else inference(op, by);
    return true;
  }
  if (op.kind !== "batch_norm_grad") return false;
  gradient(op, by);
  return true;
}

const emitOne = (by: Replacement, inputs: readonly ValueId[], expr: Expr): ValueId =>
  by.emit("map", inputs, { exprs: [expr] })[0]!;

/** What counts: the number of rows, or the weights of rows, of which those that are not 0 count once. */
interface Counted {
  /** The inputs that the expressions below read, from operand `first` on. */
  readonly inputs: readonly ValueId[];
  /** `value` in the rows that count, else 0. */
  masked(value: Expr, first: number): Expr;
  /** A value [] for maps over columns, to be read as operand `at`; none where the count is known. */
  readonly countInputs: readonly ValueId[];
  count(at: number): Expr;
}

function countedRows(by: Replacement, rows: number, weight: ValueId | undefined): Counted {
  if (weight === undefined) {
    return { inputs: [], masked: (value) => value, countInputs: [], count: () => e.constant(rows) };
  }
  const column = by.emit("reshape", [weight], { shape: [rows, 1] })[0]!;
  const counts = e.select(e.eq(e.input(0), 0), 0, 1);
  const [count] = by.emit("reduce", [weight], { op: "sum", axes: [0], keepDims: false, exprs: [counts] });
  return {
    inputs: [column],
    masked: (value, first) => e.select(e.eq(e.input(first), 0), 0, value),
    countInputs: [count!],
    count: e.input,
  };
}

/** y = (x − mean) · scale + beta. */
const centred = e.add(e.mul(e.sub(e.input(0), e.input(1)), e.input(2)), e.input(3));
/** y = x · scale + shift: the mean is subtracted from a product, whose rounding a y of half precision does not show. */
const shifted = e.add(e.mul(e.input(0), e.input(1)), e.input(2));

function normalize(by: Replacement, expr: Expr, inputs: readonly ValueId[], y: ValueId): void {
  const { shape, dtype } = by.typeOf(y);
  by.emit("map", inputs, { exprs: [expr], shape, ...typed([dtype as FloatType]) }, [y]);
}

function inference(op: OpOf<"batch_norm">, by: Replacement): void {
  const [x, gamma, beta, mean, variance] = op.inputs as [ValueId, ValueId, ValueId, ValueId, ValueId];
  const scale = e.div(e.input(0), e.sqrt(e.add(e.input(1), op.attrs.epsilon)));
  normalize(by, centred, [x, mean, emitOne(by, [gamma, variance], scale), beta], op.outputs[0]!);
}

/**
 * The sums of x − s and (x − s)² over all rows, s being the first row, give mean and variance in one pass over x. A row of
 * the batch is close enough to the mean that the difference of the two sums loses no digits.
 */
function training(op: OpOf<"batch_norm">, by: Replacement): void {
  const [x, gamma, beta, runningMean, runningVariance, weight] = op.inputs as [
    ValueId,
    ValueId,
    ValueId,
    ValueId,
    ValueId,
    ValueId | undefined,
  ];
  const [y, mean, rstd] = op.outputs as [ValueId, ValueId, ValueId];
  const { epsilon, momentum } = op.attrs;
  const { shape } = by.typeOf(x);
  const n = shape.at(-1)!;
  const rows = sizeOf(shape) / n;
  const counted = countedRows(by, rows, weight);
  const matrix = by.emit("reshape", [x], { shape: [rows, n] })[0]!;
  const [first] =
    rows === 0
      ? by.emit("map", [], { exprs: [e.constant(0)], shape: [1, n] })
      : by.emit("slice", [matrix], { axis: 0, start: 0, end: 1 });
  const difference = counted.masked(e.sub(e.input(0), e.input(1)), 2);
  const [sum, squares] = by.emit("reduce", [matrix, first!, ...counted.inputs], {
    op: "sum",
    axes: [0],
    keepDims: false,
    exprs: [difference, e.mul(difference, difference)],
  }) as [ValueId, ValueId];
  const shift = by.emit("reshape", [first!], { shape: [n] })[0]!;

  const count = counted.count(4);
  const share = e.div(1, e.max(count, 1));
  const offset = e.mul(e.input(0), share);
  // Rounding may not make it negative.
  const variance = e.max(e.sub(e.mul(e.input(1), share), e.mul(offset, offset)), 0);
  const scale = e.div(1, e.sqrt(e.add(variance, epsilon)));
  // Of padding alone the mean is 0.
  const centre = e.select(e.gt(count, 0), e.add(e.input(2), offset), 0);
  const inputs = [sum, squares, shift, gamma, ...counted.countInputs];
  const scaled = e.mul(scale, e.input(3));
  const statistics = [centre, scale, scaled, variance, e.sub(e.input(inputs.length), e.mul(centre, scaled))];
  const isHalf = by.typeOf(y).dtype !== "f32";
  const exprs = isHalf ? statistics : statistics.slice(0, -1);
  const outputs = [mean, rstd, ...exprs.slice(2).map(() => undefined)];
  const all = [...inputs, ...(isHalf ? [beta] : [])];
  const [, , scales, variances, shifts] = by.emit("map", all, { exprs }, outputs) as ValueId[];
  if (isHalf) normalize(by, shifted, [x, scales!, shifts!], y);
  else normalize(by, centred, [x, mean, scales!, beta], y);
  if (momentum < 1) {
    const counts = counted.count(4);
    const unbiased = e.mul(e.input(3), e.div(counts, e.max(e.sub(counts, 1), 1)));
    const moved = (old: Expr, now: Expr): Expr =>
      e.select(e.gt(counts, 0), e.add(e.mul(old, momentum), e.mul(now, 1 - momentum)), old);
    by.emit("update", [runningMean, runningVariance, mean, variances!, ...counted.countInputs], {
      exprs: [moved(e.input(0), e.input(2)), moved(e.input(1), unbiased)],
      targets: [0, 1],
      statistics: true,
    });
  }
}

/**
 * dgamma = Σ dy·x̂ and dbeta = Σ dy; dx = gamma · rstd · (dy − (dbeta + x̂·dgamma) / count), where padding rows lack the
 * last term: the statistics do not depend on them.
 */
function gradient(op: OpOf<"batch_norm_grad">, by: Replacement): void {
  const [dy, x, gamma, mean, rstd, weight] = op.inputs as [
    ValueId,
    ValueId,
    ValueId,
    ValueId,
    ValueId,
    ValueId | undefined,
  ];
  const [dx, dgamma, dbeta] = op.outputs as [ValueId, ValueId, ValueId];
  const { shape, dtype } = by.typeOf(dx);
  const axes = shape.slice(0, -1).map((_, axis) => axis);
  const counted = countedRows(by, sizeOf(shape) / shape.at(-1)!, weight);
  const exprs = [e.mul(e.input(0), e.sub(e.input(1), e.input(2))), e.input(0)];
  const [dot] = by.emit("reduce", [dy, x, mean], { op: "sum", axes, keepDims: false, exprs }, [undefined, dbeta]);

  // dx is linear in dy and x: the coefficients of dy, of x and of 1. The last two are small beside the first.
  const share = e.div(1, e.max(counted.count(5), 1));
  const slope = e.mul(e.input(0), e.input(1));
  const scale = e.mul(e.input(2), e.input(1));
  const ofX = e.neg(e.mul(scale, e.mul(e.mul(slope, e.input(1)), share)));
  const factors = [slope, scale, ofX, e.neg(e.add(e.mul(scale, e.mul(e.input(3), share)), e.mul(e.input(4), ofX)))];
  const inputs = [dot!, rstd, gamma, dbeta, mean, ...counted.countInputs];
  const outputs = [dgamma, undefined, undefined, undefined];
  const [, byDy, byX, byOne] = by.emit("map", inputs, { exprs: factors }, outputs) as [
    ValueId,
    ValueId,
    ValueId,
    ValueId,
  ];
  const throughStatistics = e.add(e.mul(e.input(1), e.input(3)), e.input(4));
  const expr = e.add(e.mul(e.input(0), e.input(2)), counted.masked(throughStatistics, 5));
  by.emit(
    "map",
    [dy, x, byDy, byX, byOne, ...counted.inputs],
    { exprs: [expr], shape, ...typed([dtype as FloatType]) },
    [dx],
  );
}
