// Elementwise arithmetic over broadcast inputs, and its reductions. The arithmetic is an expression; its gradient is
// derived from it, so each elementwise op of the library is one expression and nothing else.
import { evaluate } from "../../kernels/evaluate.ts";
import { add, constant, div, type Expr, eq, input, mul } from "../../kernels/expr.ts";
import { roundTo } from "../../kernels/half.ts";
import { derivative, reuseOutput } from "../derivative.ts";
import { ShapeError } from "../errors.ts";
import { inputsOf, isConstant, mapInputs, simplify, some } from "../expr-tools.ts";
import { type FloatType, type OpAttrs, type Shape, sameShape, sizeOf, type TensorType, type ValueId } from "../ir.ts";
import { broadcastAxes, broadcastIndex, broadcastShapes, cast, keptShape, reshaped, typed } from "./broadcast.ts";
import {
  expectAxis,
  f32,
  type GradientBuilder,
  type GradientRequest,
  type NdArray,
  numbers,
  type OpDefinition,
} from "./definition.ts";

export const map: OpDefinition<"map"> = {
  infer(inputs, { exprs, shape, dtypes, derivatives }) {
    const joint = broadcastShapes(inputs.map((type) => type.shape));
    const result = shape ?? joint;
    expectArithmetic(inputs, exprs, result);
    if (!sameShape(broadcastShapes([result, joint]), result)) {
      throw new ShapeError(`inputs of shape [${joint.join(",")}] do not broadcast to [${result.join(",")}]`);
    }
    if (derivatives?.some((row) => row.length !== inputs.length)) {
      throw new ShapeError("derivatives need one expression for each input");
    }
    if (dtypes !== undefined && dtypes.length !== exprs.length) {
      throw new ShapeError(`${exprs.length} outputs have ${dtypes.length} dtypes`);
    }
    return exprs.map((_, k) => ({ shape: result, dtype: dtypes?.[k] ?? "f32" }));
  },

  gradient(request) {
    const { op, builder, needs } = request;
    const shape = builder.typeOf(op.outputs[0]!).shape;
    const terms = op.inputs.map((_, i) => (needs[i] ? chainRule(request, i) : constant(0)));
    return spread(builder, op.inputs, terms, gradientOperands(request), shape);
  },

  reference({ attrs, inputs, outputs }) {
    const { shape } = outputs[0]!;
    const read = reader(inputs, shape);
    for (const [k, expr] of attrs.exprs.entries()) {
      const out = numbers(outputs[k]);
      const stored = stores(attrs.dtypes?.[k]);
      for (let i = 0; i < out.length; i++) out[i] = stored(evaluate(expr, read(i), { counter: i, shape }));
    }
  },
};

/** What a reduction adds up, or takes the maximum of: one expression for each output. */
export const reducedExprs = ({ exprs }: Pick<OpAttrs["reduce"], "exprs">): readonly Expr[] => exprs ?? [input(0)];

export const reduce: OpDefinition<"reduce"> = {
  infer(inputs, { axes, keepDims, ...attrs }) {
    const exprs = reducedExprs(attrs);
    const shape = broadcastShapes(inputs.map((type) => type.shape));
    expectArithmetic(inputs, exprs, shape);
    for (const axis of axes) expectAxis(axis, shape.length);
    if (new Set(axes).size !== axes.length) throw new ShapeError(`axes [${axes.join(",")}] repeat`);
    if (exprs.some((expr) => some(expr, (node) => node.op === "uniform"))) {
      throw new ShapeError("a reduction has no random numbers; draw them in a map");
    }
    const result = keepDims ? keptShape(shape, axes) : shape.filter((_, axis) => !axes.includes(axis));
    return exprs.map(() => f32(...result));
  },

  gradient({ op, builder, outputGradients, needs }) {
    const { attrs } = op;
    const shape = broadcastShapes(op.inputs.map((id) => builder.typeOf(id).shape));
    const kept = keptShape(shape, attrs.axes);
    const operands = [...op.inputs];
    const operand = (id: ValueId): Expr => input(operands.push(aligned(builder, id, kept)) - 1);
    const terms: Expr[] = op.inputs.map(() => constant(0));
    for (const [k, expr] of reducedExprs(attrs).entries()) {
      const gradient = outputGradients[k];
      if (gradient === undefined) continue;
      let share = operand(gradient);
      if (attrs.op === "max") {
        // Elements that tie for the maximum share its gradient evenly.
        const y = aligned(builder, op.outputs[k]!, kept);
        const tied = eq(expr, input(op.inputs.length));
        const counting = { op: "sum", axes: attrs.axes, keepDims: true, exprs: [tied] } as const;
        const [ties] = builder.emit("reduce", [...op.inputs, y], counting);
        share = mul(eq(expr, operand(y)), div(share, operand(ties!)));
      }
      for (const i of op.inputs.keys()) {
        if (needs[i]) terms[i] = simplify(add(terms[i]!, mul(share, derivative(expr, i))));
      }
    }
    return spread(builder, op.inputs, terms, operands, shape);
  },

  reference({ attrs, inputs, outputs }) {
    const shape = broadcastShapes(inputs.map((array) => array.shape));
    const target = broadcastIndex(keptShape(shape, attrs.axes), shape);
    const read = reader(inputs, shape);
    for (const [k, expr] of reducedExprs(attrs).entries()) {
      const out = numbers(outputs[k]);
      if (attrs.op === "max") out.fill(Number.NEGATIVE_INFINITY);
      for (let i = 0; i < sizeOf(shape); i++) {
        const x = evaluate(expr, read(i), { counter: i, shape });
        const o = target(i);
        out[o] = attrs.op === "sum" ? out[o]! + x : Math.max(out[o]!, x);
      }
    }
  },
};

/** A reduced value with its axes where broadcasting looks for them; leading axes of length 1 need not be there. */
function aligned(builder: GradientBuilder, id: ValueId, kept: Shape): ValueId {
  const { shape } = builder.typeOf(id);
  const lead = kept.length - shape.length;
  const fits = kept.slice(0, lead).every((d) => d === 1) && sameShape(kept.slice(lead), shape);
  return fits ? id : reshaped(builder, id, kept);
}

/** What a float64 number becomes as an element of a type; f32 elements keep it, as the reference is exact. */
export function stores(dtype: FloatType = "f32"): (x: number) => number {
  return dtype === "f32" ? (x) => x : (x) => roundTo(dtype, x);
}

/** Elements of broadcast operands at a flat index of `shape`. */
export function reader(inputs: readonly NdArray[], shape: Shape): (flat: number) => (index: number) => number {
  const data = inputs.map(numbers);
  const at = inputs.map((array) => broadcastIndex(array.shape, shape));
  return (flat) => (index) => data[index]![at[index]!(flat)]!;
}

/** @param shape of the loop in which the expressions are evaluated */
export function expectArithmetic(inputs: readonly TensorType[], exprs: readonly Expr[], shape: Shape): void {
  if (exprs.length === 0) throw new ShapeError("needs an expression");
  for (const type of inputs) {
    if (type.dtype === "u64") throw new ShapeError("64-bit ids have no arithmetic: look them up in a table first");
  }
  const expectNode = (node: Expr): boolean => {
    if (node.op === "input" && node.index >= inputs.length) {
      throw new ShapeError(`an expression reads input ${node.index} of ${inputs.length}`);
    }
    if (node.op === "index" && shape.at(node.axis) === undefined) {
      throw new ShapeError(`an expression reads the index along an axis that [${shape.join(",")}] does not have`);
    }
    if (node.op === "uniform" && !(node.seed.op === "input" && inputs[node.seed.index]?.shape.length === 0)) {
      throw new ShapeError("the seed of uniform must be a rank-0 input");
    }
    return false;
  };
  for (const expr of exprs) some(expr, expectNode);
}

/** Operands of a map's gradient: its inputs, its outputs, the gradients of its outputs. */
function gradientOperands({ op, outputGradients }: GradientRequest<"map">): (ValueId | undefined)[] {
  return [...op.inputs, ...op.outputs, ...outputGradients];
}

/** Σ over the outputs of gradient × derivative. */
function chainRule({ op, outputGradients }: GradientRequest<"map">, index: number): Expr {
  const { exprs, derivatives } = op.attrs;
  const firstOutput = op.inputs.length;
  const firstGradient = firstOutput + exprs.length;
  let sum: Expr = constant(0);
  for (const [k, expr] of exprs.entries()) {
    if (outputGradients[k] === undefined) continue;
    // What the forward pass has computed, in any of its results, is not computed again.
    const local = exprs.reduce(
      (known, forward, j) => reuseOutput(known, forward, firstOutput + j),
      derivatives?.[k]?.[index] ?? derivative(expr, index),
    );
    sum = { op: "add", x: sum, y: { op: "mul", x: input(firstGradient + k), y: local } };
  }
  return simplify(sum);
}

/**
 * Emits the gradients `terms[i]` of inputs `ids[i]`, expressions over `operands` in the loop of `shape`: one map for all
 * inputs of that shape, a reduction for each that was broadcast. A gradient has its input's type.
 */
function spread(
  builder: GradientBuilder,
  ids: readonly ValueId[],
  terms: readonly Expr[],
  operands: readonly (ValueId | undefined)[],
  shape: Shape,
): (ValueId | undefined)[] {
  const result: (ValueId | undefined)[] = ids.map(() => undefined);
  const full: number[] = [];
  for (const [i, term] of terms.entries()) {
    if (isConstant(term, 0)) continue;
    const type = builder.typeOf(ids[i]!);
    if (sameShape(type.shape, shape)) {
      const whole = term.op === "input" ? operands[term.index]! : undefined;
      if (whole !== undefined && sameType(builder.typeOf(whole), type)) result[i] = whole;
      else full.push(i);
      continue;
    }
    result[i] = cast(builder, reduceTerm(builder, term, operands, shape, type.shape), type.dtype as FloatType);
  }
  if (full.length > 0) {
    const { exprs, inputs } = compact(
      full.map((i) => terms[i]!),
      operands,
    );
    const dtypes = full.map((i) => builder.typeOf(ids[i]!).dtype as FloatType);
    const outputs = builder.emit("map", inputs, { exprs, shape, ...typed(dtypes) });
    for (const [k, i] of full.entries()) result[i] = outputs[k]!;
  }
  return result;
}

const sameType = (a: TensorType, b: TensorType): boolean => a.dtype === b.dtype && sameShape(a.shape, b.shape);

/** A gradient summed over the axes along which its input was repeated. */
function reduceTerm(
  builder: GradientBuilder,
  term: Expr,
  operands: readonly (ValueId | undefined)[],
  shape: Shape,
  target: Shape,
): ValueId {
  const { exprs, inputs } = compact([term], operands);
  const axes = broadcastAxes(target, shape);
  const joint = broadcastShapes(inputs.map((id) => builder.typeOf(id).shape));
  const random = some(term, (node) => node.op === "uniform");
  if (axes.length > 0 && sameShape(joint, shape) && !random) {
    const [sum] = builder.emit("reduce", inputs, { op: "sum", axes, keepDims: false, exprs });
    return reshaped(builder, sum!, target);
  }
  const [value] = builder.emit("map", inputs, { exprs, shape });
  if (axes.length === 0) return reshaped(builder, value!, target);
  const [sum] = builder.emit("reduce", [value!], { op: "sum", axes, keepDims: false });
  return reshaped(builder, sum!, target);
}

/** Drops operands that no expression reads. */
function compact(
  exprs: readonly Expr[],
  operands: readonly (ValueId | undefined)[],
): { exprs: Expr[]; inputs: ValueId[] } {
  const used = [...new Set(exprs.flatMap(inputsOf))].sort((a, b) => a - b);
  return {
    exprs: exprs.map((expr) => mapInputs(expr, (index) => input(used.indexOf(index)))),
    inputs: used.map((index) => operands[index]!),
  };
}
