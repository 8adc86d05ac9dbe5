// The activations that products and convolutions can end with: their reference and their gradient.
import { type Expr, gt, input, mul, select, sub } from "../../kernels/expr.ts";
import type { Activation } from "../ir.ts";

export const activationReference: Readonly<Record<Activation, (x: number) => number>> = {
  relu: (x) => Math.max(x, 0),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  tanh: Math.tanh,
};

/** The gradient before the activation from the gradient (input 0) and the output (input 1) after it. */
export const activationGradient: Readonly<Record<Activation, Expr>> = {
  relu: select(gt(input(1), 0), input(0), 0),
  sigmoid: mul(input(0), mul(input(1), sub(1, input(1)))),
  tanh: mul(input(0), sub(1, mul(input(1), input(1)))),
};
