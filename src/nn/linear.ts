// Fully connected layers.
import type { Init, Tensor, TraceContext } from "../program/index.ts";
import { dropout } from "../program/index.ts";
import { type ActivationName, activate } from "./activations.ts";
import { batchNorm, layerNorm } from "./norms.ts";
import { biasStart, expectSizes } from "./options.ts";

export interface LinearOptions {
  readonly activation?: ActivationName;
  /** Default true. */
  readonly bias?: boolean;
  /** Default Glorot uniform; He uniform before a ReLU. */
  readonly init?: Init;
  /** Default zeros. */
  readonly biasInit?: Init;
  /** Optimizer group of weight and bias; default "default". */
  readonly group?: string;
}

/**
 * x [.., I] → activation(x · W + b) [.., units]. Parameters NAME/weight [I, units], NAME/bias [units].
 */
export function linear(ctx: TraceContext, name: string, x: Tensor, units: number, options: LinearOptions = {}): Tensor {
  const { activation, bias = true, group = "default", biasInit = { kind: "zeros" } } = options;
  const init = options.init ?? { kind: activation === "relu" ? "he-uniform" : "glorot-uniform" };
  expectSizes(`linear ${name}`, { units });
  return ctx.scope(name, () => {
    const inputs = x.shape.at(-1)!;
    const weight = ctx.parameter("weight", [inputs, units], init, { group });
    // Rows in one matrix: bias and activation then go into the product.
    const rows = x.rank === 2 ? x : x.reshape([-1, inputs]);
    let y = rows.matmul(weight);
    if (bias) y = y.add(ctx.parameter("bias", [units], biasStart(biasInit, inputs), { group }));
    if (activation !== undefined) y = activate(activation, y);
    return x.rank === 2 ? y : y.reshape([...x.shape.slice(0, -1), units]);
  });
}

export type NormName = "none" | "batch" | "layer";

export interface MlpOptions {
  /** Units of the hidden layers, in order. */
  readonly hidden: readonly number[];
  /** Default "relu". */
  readonly activation?: ActivationName;
  /** Between the product and the activation; default "none". */
  readonly norm?: NormName;
  /** Share of hidden units dropped in training; default 0. */
  readonly dropout?: number;
}

/** Hidden layers of a perceptron: x [B, I] → [B, last of `hidden`]. `weight` [B] marks padding rows for batch norm. */
export function mlp(ctx: TraceContext, name: string, x: Tensor, weight: Tensor, options: MlpOptions): Tensor {
  const { hidden, activation = "relu", norm = "none", dropout: rate = 0 } = options;
  return ctx.scope(name, () => {
    let y = x;
    for (const [i, units] of hidden.entries()) {
      if (norm === "none") {
        y = linear(ctx, String(i), y, units, { activation });
      } else {
        const init: Init = { kind: activation === "relu" ? "he-uniform" : "glorot-uniform" };
        const product = linear(ctx, String(i), y, units, { bias: false, init });
        const normed =
          norm === "batch" ? batchNorm(ctx, `${i}/norm`, product, { weight }) : layerNorm(ctx, `${i}/norm`, product);
        y = activate(activation, normed);
      }
      y = dropout(y, { rate });
    }
    return y;
  });
}
