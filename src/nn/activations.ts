// Activations as functions of one tensor; each is one expression, so that it fuses with what stands around it.
import * as e from "../kernels/expr.ts";
import { elementwise, emit, ShapeError, type Tensor } from "../program/index.ts";

export const relu = (x: Tensor): Tensor => x.relu();
export const sigmoid = (x: Tensor): Tensor => x.sigmoid();
export const tanh = (x: Tensor): Tensor => x.tanh();

/**
 * `x · Φ(x)` with the normal distribution's Φ, not approximated (arXiv 1606.08415). The forward pass also keeps the
 * derivative Φ(x) + x·φ(x), in place of x, so that Φ is not computed again.
 */
export function gelu(x: Tensor): Tensor {
  const v = e.input(0);
  const distribution = e.normalCdf(v);
  const density = e.mul(e.exp(e.mul(e.mul(v, v), -0.5)), 1 / Math.sqrt(2 * Math.PI));
  const slope = e.add(distribution, e.mul(v, density));
  const attrs = { exprs: [e.mul(v, distribution), slope], derivatives: [[slope], [e.constant(0)]] };
  return emit(x.trace, "map", [x], attrs)[0]!;
}

/** GELU by its tanh approximation, as GPT-2 has it. */
export const geluTanh = (x: Tensor): Tensor =>
  elementwise((v) => {
    const inner = e.mul(Math.sqrt(2 / Math.PI), e.add(v, e.mul(0.044715, e.mul(v, e.mul(v, v)))));
    return e.mul(e.mul(v, 0.5), e.add(1, e.tanh(inner)));
  }, x);

/** `x · σ(x)`, also called swish (arXiv 1702.03118). */
export const silu = (x: Tensor): Tensor => elementwise((v) => e.mul(v, e.sigmoid(v)), x);

/** `x` above 0, `slope · x` below. */
export const leakyRelu = (x: Tensor, slope = 0.01): Tensor =>
  elementwise((v) => e.select(e.gt(v, 0), v, e.mul(v, slope)), x);

/** `x` above 0, `alpha · (eˣ − 1)` below (arXiv 1511.07289). */
export const elu = (x: Tensor, alpha = 1): Tensor =>
  elementwise((v) => e.select(e.gt(v, 0), v, e.mul(alpha, e.sub(e.exp(e.min(v, 0)), 1))), x);

/** `log(1 + eˣ)`, without overflow. */
export const softplus = (x: Tensor): Tensor =>
  elementwise((v) => e.add(e.max(v, 0), e.log1p(e.exp(e.neg(e.abs(v))))), x);

/** `min(max(x + 3, 0), 6) / 6` (arXiv 1905.02244). */
export const hardSigmoid = (x: Tensor): Tensor => elementwise((v) => e.mul(e.min(e.max(e.add(v, 3), 0), 6), 1 / 6), x);

/** `x · hardSigmoid(x)`. */
export const hardSwish = (x: Tensor): Tensor =>
  elementwise((v) => e.mul(v, e.mul(e.min(e.max(e.add(v, 3), 0), 6), 1 / 6)), x);

/** `log softmax` over the last axis, without overflow. */
export function logSoftmax(x: Tensor): Tensor {
  return x.sub(logSumExp(x, true));
}

/** `log Σ eˣ` over the last axis, without overflow. */
export function logSumExp(x: Tensor, keepDims = false): Tensor {
  const top = x.max({ axes: -1, keepDims: true });
  const sum = x.sub(top).exp().sum({ axes: -1, keepDims: true }).log().add(top);
  return keepDims ? sum : sum.reshape(x.shape.slice(0, -1));
}

const activations = { relu, sigmoid, tanh, gelu, geluTanh, silu, leakyRelu, elu, softplus, hardSigmoid, hardSwish };

export type ActivationName = keyof typeof activations;
export const activationNames = Object.keys(activations) as readonly ActivationName[];

/** Applies an activation by its name. @throws ShapeError where there is none of that name */
export function activate(name: ActivationName, x: Tensor): Tensor {
  if (!Object.hasOwn(activations, name)) {
    throw new ShapeError(`there is no activation ${JSON.stringify(name)}; there are ${activationNames.join(", ")}`);
  }
  return activations[name](x);
}
