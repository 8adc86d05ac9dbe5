// Normalisation layers, with the parameters and defaults that PyTorch gives them.
import {
  batchNorm as batchNormOp,
  layerNorm as layerNormOp,
  ShapeError,
  type Tensor,
  type TraceContext,
} from "../program/index.ts";

export interface BatchNormOptions {
  /** [B]: rows of weight 0 are padding and do not count; only for x [B, N]. Without it every row counts. */
  readonly weight?: Tensor;
  /** Default 1e-5. */
  readonly epsilon?: number;
  /** Share of the old running value that stays; default 0.9 (what PyTorch calls momentum 0.1). */
  readonly momentum?: number;
}

/**
 * Batch normalisation of x [.., C] over all axes but the last (arXiv 1502.03167).
 * Parameters NAME/gamma, NAME/beta, NAME/running-mean, NAME/running-variance [C], the last two not trained.
 */
export function batchNorm(ctx: TraceContext, name: string, x: Tensor, options: BatchNormOptions = {}): Tensor {
  const shape = [x.shape.at(-1)!];
  return ctx.scope(name, () =>
    batchNormOp(x, {
      gamma: ctx.parameter("gamma", shape, { kind: "ones" }, { group: "norm" }),
      beta: ctx.parameter("beta", shape, { kind: "zeros" }, { group: "norm" }),
      runningMean: ctx.parameter("running-mean", shape, { kind: "zeros" }, { trainable: false }),
      runningVariance: ctx.parameter("running-variance", shape, { kind: "ones" }, { trainable: false }),
      ...options,
    }),
  );
}

/** Layer normalisation over the last axis of x [.., N] (arXiv 1607.06450). Parameters NAME/gamma, NAME/beta [N]. */
export function layerNorm(
  ctx: TraceContext,
  name: string,
  x: Tensor,
  options: { readonly epsilon?: number } = {},
): Tensor {
  const shape = [x.shape.at(-1)!];
  return ctx.scope(name, () => {
    const gamma = ctx.parameter("gamma", shape, { kind: "ones" });
    const beta = ctx.parameter("beta", shape, { kind: "zeros" });
    return layerNormOp(x, gamma, beta, options);
  });
}

export interface GroupNormOptions {
  /** Into how many groups the channels are divided. */
  readonly groups: number;
  /** Default 1e-5. */
  readonly epsilon?: number;
}

/** Normalisation of each group of channels of x [B, .., C] over its channels and all places (arXiv 1803.08494). */
export function groupNorm(
  ctx: TraceContext,
  name: string,
  x: Tensor,
  { groups, epsilon = 1e-5 }: GroupNormOptions,
): Tensor {
  const channels = x.shape.at(-1)!;
  if (!Number.isInteger(groups) || groups < 1 || channels % groups !== 0) {
    throw new ShapeError(`groupNorm ${name}: ${groups} groups do not divide ${channels} channels`);
  }
  return ctx.scope(name, () => {
    const gamma = ctx.parameter("gamma", [channels], { kind: "ones" });
    const beta = ctx.parameter("beta", [channels], { kind: "zeros" });
    const grouped = x.reshape([x.shape[0]!, -1, groups, channels / groups]);
    const over = { axes: [1, 3], keepDims: true };
    const centred = grouped.sub(grouped.mean(over));
    const deviation = centred.square().mean(over).add(epsilon).sqrt();
    return centred.div(deviation).reshape(x.shape).mul(gamma).add(beta);
  });
}
