// For tests and measurements of the planner and the passes: training steps in the shape of well-known networks, with
// their numbers of ops and sizes of activations, from ops that every program has. Convolutions stand as products over the
// channels, products of heads as products with a part of the keys.
import { constant, div, type Expr, input, mul, sqrt, sub } from "../kernels/expr.ts";
import type { UpdateRule } from "../kernels/update-rule.ts";
import { batchNorm } from "./batch-norm.ts";
import { type Differentiated, differentiate } from "./differentiate.ts";
import { dropout, layerNorm } from "./functions.ts";
import type { Program } from "./ir.ts";
import type { Tensor } from "./tensor.ts";
import { type TraceContext, trace } from "./trace.ts";

/** Adam with two slots, as in arXiv 1412.6980 without the bias correction. */
export const adam: UpdateRule = (() => {
  const [weight, gradient, mean, square, rate]: Expr[] = [0, 1, 2, 3, 4].map((i) => input(i)) as Expr[];
  const nextMean: Expr = { op: "add", x: mul(mean!, 0.9), y: mul(gradient!, 0.1) };
  const nextSquare: Expr = { op: "add", x: mul(square!, 0.999), y: mul(mul(gradient!, gradient!), 0.001) };
  const step = div(mul(rate!, nextMean), { op: "add", x: sqrt(nextSquare), y: constant(1e-8) });
  return {
    slots: [
      { name: "mean", initial: 0 },
      { name: "square", initial: 0 },
    ],
    scalars: ["lr"],
    weight: sub(weight!, step),
    state: [nextMean, nextSquare],
  };
})();

function dense(ctx: TraceContext, name: string, x: Tensor, units: number, bias = true): Tensor {
  return ctx.scope(name, () => {
    const y = x.matmul(ctx.parameter("weight", [x.shape.at(-1)!, units], { kind: "glorot-uniform" }));
    return bias ? y.add(ctx.parameter("bias", [units], { kind: "zeros" })) : y;
  });
}

function norm(ctx: TraceContext, name: string, x: Tensor): Tensor {
  const width = [x.shape.at(-1)!];
  return ctx.scope(name, () =>
    layerNorm(x, ctx.parameter("gamma", width, { kind: "ones" }), ctx.parameter("beta", width, { kind: "zeros" })),
  );
}

function convolution(ctx: TraceContext, name: string, x: Tensor, weight: Tensor, channels: number): Tensor {
  return ctx.scope(name, () => {
    const y = dense(ctx, "conv", x, channels, false);
    const rows = y.shape[0]!;
    return batchNorm(y, {
      gamma: ctx.parameter("gamma", [channels], { kind: "ones" }),
      beta: ctx.parameter("beta", [channels], { kind: "zeros" }),
      runningMean: ctx.parameter("running-mean", [channels], { kind: "zeros" }, { trainable: false }),
      runningVariance: ctx.parameter("running-variance", [channels], { kind: "ones" }, { trainable: false }),
      weight: weight.slice(0, 0, rows),
    });
  });
}

export interface ResNetSize {
  readonly batch: number;
  /** Side of the image; default 224. */
  readonly side?: number;
  /** Blocks of each stage; default those of ResNet-50 (arXiv 1512.03385). */
  readonly blocks?: readonly number[];
  /** Channels of the stem; default 64. */
  readonly width?: number;
}

/** A residual network of bottleneck blocks; the output `loss` is a scalar. */
export function resNet({ batch, side = 224, blocks = [3, 4, 6, 3], width = 64 }: ResNetSize): Program {
  const start = side / 2;
  return trace(
    ({ x, weight }, ctx) => {
      let h = convolution(ctx, "stem", x, weight, width)
        .relu()
        .slice(0, 0, x.shape[0]! / 4);
      for (const [stage, count] of blocks.entries()) {
        const channels = width * 2 ** stage;
        for (let i = 0; i < count; i++) {
          h = ctx.scope(`stage/${stage}/block/${i}`, () => {
            const whole = h;
            const narrow = convolution(ctx, "a", whole, weight, channels).relu();
            const rows = stage > 0 && i === 0 ? narrow.shape[0]! / 4 : narrow.shape[0]!;
            const middle = convolution(ctx, "b", narrow.slice(0, 0, rows), weight, channels).relu();
            const wide = convolution(ctx, "c", middle, weight, 4 * channels);
            const skip = i === 0 ? convolution(ctx, "skip", whole.slice(0, 0, rows), weight, 4 * channels) : whole;
            return wide.add(skip).relu();
          });
        }
      }
      const pooled = h.reshape([batch, -1, h.shape[1]!]).mean({ axes: 1 });
      const logits = dense(ctx, "head", pooled, 1000);
      return { loss: logits.softmax().square().sum() };
    },
    {
      inputs: {
        x: { shape: [batch * start * start, 3], dtype: "f32" },
        weight: { shape: [batch * start * start], dtype: "f32" },
      },
    },
  );
}

export interface TransformerSize {
  readonly batch: number;
  /** Default 128. */
  readonly sequence?: number;
  /** Default 12, as BERT-base (arXiv 1810.04805). */
  readonly layers?: number;
  /** Default 768. */
  readonly width?: number;
  /** Default 12. */
  readonly heads?: number;
  /** Default 0.1. */
  readonly rate?: number;
}

/** A transformer encoder; the output `loss` is a scalar. */
export function transformer(size: TransformerSize): Program {
  const { batch, sequence = 128, layers = 12, width = 768, heads = 12, rate = 0.1 } = size;
  const depth = width / heads;
  const rows = batch * sequence;
  const split = (x: Tensor): Tensor =>
    x
      .reshape([batch, sequence, heads, depth])
      .transpose([0, 2, 1, 3])
      .reshape([rows * heads, depth]);
  const attention = (ctx: TraceContext, x: Tensor): Tensor => {
    const [q, k, v] = ["query", "key", "value"].map((name) => split(dense(ctx, name, x, width))) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const scores = q.matmul(k.slice(0, 0, sequence), { transposeB: true }).mul(1 / Math.sqrt(depth));
    const mixed = dropout(scores.softmax(), { rate }).matmul(v.slice(0, 0, sequence));
    const joined = mixed.reshape([batch, heads, sequence, depth]).transpose([0, 2, 1, 3]).reshape([rows, width]);
    return dropout(dense(ctx, "output", joined, width), { rate });
  };
  return trace(
    ({ x }, ctx) => {
      let h = dropout(norm(ctx, "embedding", x), { rate });
      for (let layer = 0; layer < layers; layer++) {
        h = ctx.scope(`layer/${layer}`, () => {
          const attended = norm(ctx, "norm-1", h.add(ctx.scope("attention", () => attention(ctx, h))));
          const inner = gelu(dense(ctx, "inner", attended, 4 * width));
          return norm(ctx, "norm-2", attended.add(dropout(dense(ctx, "outer", inner, width), { rate })));
        });
      }
      return { loss: dense(ctx, "head", h, width).square().mean() };
    },
    { inputs: { x: { shape: [rows, width], dtype: "f32" } } },
  );
}

/** x · σ(1.702 x), near the Gaussian error linear unit (arXiv 1606.08415). */
const gelu = (x: Tensor): Tensor => x.mul(x.mul(1.702).sigmoid());

/** The gradients of the loss by every parameter. */
export const trained = (forward: Program): Differentiated => differentiate(forward, { loss: "loss" });
