// Layers: functions from tensors to tensors that declare their parameters in the trace.
import {
  batchNorm as batchNormOp,
  dropout,
  type Init,
  layerNorm as layerNormOp,
  type Tensor,
  type TraceContext,
} from "../program/index.ts";

export type ActivationName = "relu" | "sigmoid" | "tanh";

export interface LinearOptions {
  readonly activation?: ActivationName;
  /** Default true. */
  readonly bias?: boolean;
  /** Default Glorot uniform; He uniform before a ReLU. */
  readonly init?: Init;
  /** Optimizer group of the weight; default "default". */
  readonly group?: string;
}

/** Fully connected layer: x [B, I] → activation(x · W + b) [B, units]. Parameters NAME/weight [I, units], NAME/bias [units]. */
export function linear(ctx: TraceContext, name: string, x: Tensor, units: number, options: LinearOptions = {}): Tensor {
  const { activation, bias = true, group = "default" } = options;
  const init = options.init ?? { kind: activation === "relu" ? "he-uniform" : "glorot-uniform" };
  return ctx.scope(name, () => {
    const weight = ctx.parameter("weight", [x.shape[1]!, units], init, { group });
    let y = x.matmul(weight);
    if (bias) y = y.add(ctx.parameter("bias", [units], { kind: "zeros" }, { group }));
    return activation === undefined ? y : y[activation]();
  });
}

/** Batch normalisation of x [B, N]; rows of `weight` [B] 0 are padding and do not count. */
export function batchNorm(ctx: TraceContext, name: string, x: Tensor, weight: Tensor): Tensor {
  const shape = [x.shape[1]!];
  return ctx.scope(name, () =>
    batchNormOp(x, {
      gamma: ctx.parameter("gamma", shape, { kind: "ones" }),
      beta: ctx.parameter("beta", shape, { kind: "zeros" }),
      runningMean: ctx.parameter("running-mean", shape, { kind: "zeros" }, { trainable: false }),
      runningVariance: ctx.parameter("running-variance", shape, { kind: "ones" }, { trainable: false }),
      weight,
    }),
  );
}

/** Layer normalisation over the last axis of x [B, N]. */
export function layerNorm(ctx: TraceContext, name: string, x: Tensor): Tensor {
  const shape = [x.shape.at(-1)!];
  return ctx.scope(name, () =>
    layerNormOp(x, ctx.parameter("gamma", shape, { kind: "ones" }), ctx.parameter("beta", shape, { kind: "zeros" })),
  );
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
          norm === "batch" ? batchNorm(ctx, `${i}/norm`, product, weight) : layerNorm(ctx, `${i}/norm`, product);
        y = normed[activation]();
      }
      y = dropout(y, { rate });
    }
    return y;
  });
}
