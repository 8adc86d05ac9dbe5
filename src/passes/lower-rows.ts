// Lowering of what works along the last axis: softmax, its cross-entropy and layer normalisation, forward and backward,
// become rows ops, whose arithmetic fuses with the elementwise ops around them.
import * as e from "../kernels/expr.ts";
import type { FloatType, Op, OpOf, ValueId } from "../program/ir.ts";
import { typed } from "../program/ops/broadcast.ts";
import type { Replacement } from "./replace.ts";

type Expr = e.Expr;

/** Whether the op was lowered. */
export function lowerRows(op: Op, by: Replacement): boolean {
  switch (op.kind) {
    case "softmax":
      return softmax(op, by);
    case "softmax_grad":
      return softmaxGradient(op, by);
    case "softmax_cross_entropy":
      return crossEntropy(op, by);
    case "softmax_cross_entropy_grad":
      return crossEntropyGradient(op, by);
    case "layer_norm":
      return layerNorm(op, by);
    case "layer_norm_grad":
      return layerNormGradient(op, by);
    default:
      return false;
  }
}

/** The attribute for tensors of the types of values. */
const typesOf = (by: Replacement, ...ids: readonly ValueId[]): { readonly dtypes?: readonly FloatType[] } =>
  typed(ids.map((id) => by.typeOf(id).dtype as FloatType));

/** A value with one number a row, where broadcasting along the row looks for it. */
function perRow(by: Replacement, id: ValueId): ValueId {
  return by.emit("reshape", [id], { shape: [...by.typeOf(id).shape, 1] })[0]!;
}

/** e^(x − top), where `top` is the row's maximum, so that nothing overflows. */
const softmaxStages = (x: Expr, top: Expr): OpOf<"rows">["attrs"]["stages"] => [
  { op: "max", expr: x },
  { op: "sum", expr: e.exp(e.sub(x, top)) },
];

function softmax(op: OpOf<"softmax">, by: Replacement): boolean {
  const [x, top, sum] = [e.input(0), e.input(1), e.input(2)];
  const { shape } = by.typeOf(op.inputs[0]!);
  const exprs = [e.mul(e.exp(e.sub(x, top)), e.div(1, sum))];
  const attrs = { stages: softmaxStages(x, top), exprs, rowExprs: [], shape, ...typesOf(by, op.outputs[0]!) };
  by.emit("rows", op.inputs, attrs, op.outputs);
  return true;
}

/** dx = y · (dy − Σ dy·y). */
function softmaxGradient(op: OpOf<"softmax_grad">, by: Replacement): boolean {
  const [dy, y, dot] = [e.input(0), e.input(1), e.input(2)];
  const { shape } = by.typeOf(op.inputs[1]!);
  const stages = [{ op: "sum", expr: e.mul(dy, y) }] as const;
  const attrs = { stages, exprs: [e.mul(y, e.sub(dy, dot))], rowExprs: [], shape, ...typesOf(by, op.outputs[0]!) };
  by.emit("rows", op.inputs, attrs, op.outputs);
  return true;
}

/**
 * loss = ln Σ e^x − x[label]; NaN where the label is no class, so that the error shows in the loss. The logarithms come
 * after all rows, four at a time.
 */
function crossEntropy(op: OpOf<"softmax_cross_entropy">, by: Replacement): boolean {
  const [logits, labels] = op.inputs as [ValueId, ValueId];
  const [loss, probabilities] = op.outputs as [ValueId, ValueId];
  const { shape } = by.typeOf(logits);
  const [x, index, top, sum, target] = [e.input(0), e.input(1), e.input(2), e.input(3), e.input(4)];
  const stages = [
    ...softmaxStages(x, top),
    { op: "sum", expr: e.select(e.eq(e.index(), index), e.sub(x, top), 0) } as const,
  ];
  const exprs = [e.mul(e.exp(e.sub(x, top)), e.div(1, sum))];
  const attrs = { stages, exprs, rowExprs: [sum, target], shape, ...typesOf(by, probabilities) };
  const [, sums, targets] = by.emit("rows", [logits, perRow(by, labels)], attrs, [probabilities]);
  const [total, own, label] = [e.input(0), e.input(1), e.input(2)];
  const isClass = e.mul(e.ge(label, 0), e.lt(label, shape.at(-1)!));
  const losses = [e.select(isClass, e.sub(e.log(total), own), Number.NaN)];
  by.emit("map", [sums!, targets!, labels], { exprs: losses, ...typesOf(by, loss) }, [loss]);
  return true;
}

/** dlogits = dloss · (probabilities − onehot). */
function crossEntropyGradient(op: OpOf<"softmax_cross_entropy_grad">, by: Replacement): boolean {
  const [dloss, probabilities, labels] = op.inputs as [ValueId, ValueId, ValueId];
  const expr = e.mul(e.input(0), e.sub(e.input(1), e.eq(e.index(), e.input(2))));
  const inputs = [perRow(by, dloss), probabilities, perRow(by, labels)];
  const { shape } = by.typeOf(probabilities);
  by.emit("map", inputs, { exprs: [expr], shape, ...typesOf(by, op.outputs[0]!) }, op.outputs);
  return true;
}

function layerNorm(op: OpOf<"layer_norm">, by: Replacement): boolean {
  const [x, gamma, beta, sum, squares] = [e.input(0), e.input(1), e.input(2), e.input(3), e.input(4)];
  const { shape } = by.typeOf(op.inputs[0]!);
  const share = 1 / shape.at(-1)!;
  const mean = e.mul(sum, share);
  const centred = e.sub(x, mean);
  const rstd = e.div(1, e.sqrt(e.add(e.mul(squares, share), op.attrs.epsilon)));
  const attrs = {
    stages: [
      { op: "sum", expr: x },
      { op: "sum", expr: e.mul(centred, centred) },
    ],
    exprs: [e.add(e.mul(e.mul(centred, rstd), gamma), beta)],
    rowExprs: [mean, rstd],
    shape,
    ...typesOf(by, op.outputs[0]!),
  } as const;
  by.emit("rows", op.inputs, attrs, op.outputs);
  return true;
}

/**
 * With g = dy·gamma and x̂ = (x − mean)·rstd: dx = rstd · (g − mean(g) − x̂ · mean(g·x̂)), dgamma = Σ dy·x̂, dbeta = Σ dy,
 * the sums over all rows.
 */
function layerNormGradient(op: OpOf<"layer_norm_grad">, by: Replacement): boolean {
  const [dyId, xId, gammaId, meanId, rstdId] = op.inputs as [ValueId, ValueId, ValueId, ValueId, ValueId];
  const [dxId, dgammaId, dbetaId] = op.outputs as [ValueId, ValueId, ValueId];
  const { shape } = by.typeOf(xId);
  const share = 1 / shape.at(-1)!;
  const statistics = [perRow(by, meanId), perRow(by, rstdId)];
  const [dy, x, mean, rstd, gamma, sum, dot] = [0, 1, 2, 3, 4, 5, 6].map(e.input) as [
    Expr,
    Expr,
    Expr,
    Expr,
    Expr,
    Expr,
    Expr,
  ];
  const normal = e.mul(e.sub(x, mean), rstd);
  const g = e.mul(dy, gamma);
  const inner = e.sub(e.sub(g, e.mul(sum, share)), e.mul(normal, e.mul(dot, share)));
  const rows = {
    stages: [
      { op: "sum", expr: g },
      { op: "sum", expr: e.mul(g, normal) },
    ],
    exprs: [e.mul(rstd, inner)],
    rowExprs: [],
    shape,
    ...typesOf(by, dxId),
  } as const;
  const axes = shape.slice(0, -1).map((_, axis) => axis);
  const columns = { op: "sum", axes, keepDims: false, exprs: [e.mul(dy, normal), dy] } as const;
  by.emit("reduce", [dyId, xId, ...statistics], columns, [dgammaId, dbetaId]);
  by.emit("rows", [dyId, xId, ...statistics, gammaId], rows, [dxId]);
  return true;
}
