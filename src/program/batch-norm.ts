// Batch normalisation (arXiv 1502.03167), by the statistics of a rank's batch or of all ranks' batches.
import * as e from "../kernels/expr.ts";
import { allGather } from "./distributed.ts";
import { elementwise, Tensor, type Trace } from "./tensor.ts";

export interface BatchNormOperands {
  /** [N]. */
  readonly gamma: Tensor;
  readonly beta: Tensor;
  /** Parameters [N] that are not trainable; training overwrites them. */
  readonly runningMean: Tensor;
  readonly runningVariance: Tensor;
  /** [B], only for x [B, N]; rows of weight 0 are padding and do not count. Without it every row counts. */
  readonly weight?: Tensor;
  /** Default 1e-5. */
  readonly epsilon?: number;
  /** Share of the old running value that stays; default 0.9. */
  readonly momentum?: number;
}

/**
 * Normalises x [.., N] over all axes but the last by the batch's statistics, in inference by the running ones
 * (arXiv 1502.03167).
 */
export function batchNorm(x: Tensor, operands: BatchNormOperands): Tensor {
  const { gamma, beta, runningMean, runningVariance, weight, epsilon = 1e-5, momentum = 0.9 } = operands;
  const { training } = x.trace;
  if (training && x.trace.syncBatchNorm) return syncBatchNorm(x, operands);
  const inputs = [x, gamma, beta, runningMean, runningVariance, ...(weight === undefined ? [] : [weight])];
  return x.emit("batch_norm", inputs, { epsilon, momentum, training });
}

/**
 * In training, over the rows of all ranks: each rank's mean and sum of squared differences are gathered and combined (Chan,
 * Golub and LeVeque 1979), which loses no digits where the mean is large.
 */
function syncBatchNorm(x: Tensor, operands: BatchNormOperands): Tensor {
  const { gamma, beta, runningMean, runningVariance, weight, epsilon = 1e-5, momentum = 0.9 } = operands;
  const { builder } = x.trace;
  const channels = x.shape.at(-1)!;
  const rows = x.reshape([-1, channels]);
  // Rows of weight 0 are padding.
  const counted =
    weight === undefined
      ? ones(x.trace, rows.shape[0]!)
      : elementwise((w) => e.sub(1, e.eq(w, 0)), weight).reshape([-1, 1]);
  const sumOver = { axes: 0, keepDims: true } as const;
  const count = counted.sum(sumOver);
  const mean = rows.mul(counted).sum(sumOver).div(count.maximum(1));
  const squares = rows.sub(mean).square().mul(counted).sum(sumOver);
  const all = allGather(mean.emit("concat", [mean, squares, count], { axis: 1 }));
  const [means, squaresOf, counts] = [
    all.slice(1, 0, channels),
    all.slice(1, channels, 2 * channels),
    all.slice(1, 2 * channels, 2 * channels + 1),
  ];
  const total = counts.sum(sumOver);
  const least = total.maximum(1);
  const centre = means.mul(counts).sum(sumOver).div(least);
  const apart = means.sub(centre).square().mul(counts).sum(sumOver);
  const variance = squaresOf.sum(sumOver).add(apart).div(least);
  const normal = rows.sub(centre).div(variance.add(epsilon).sqrt()).mul(gamma).add(beta);
  if (momentum < 1) {
    const moved = (old: e.Expr, now: e.Expr): e.Expr =>
      e.select(e.gt(e.input(4), 0), e.add(e.mul(old, momentum), e.mul(now, 1 - momentum)), old);
    const unbiased = e.mul(e.input(3), e.div(e.input(4), e.max(e.sub(e.input(4), 1), 1)));
    const inputs = [
      runningMean,
      runningVariance,
      centre.reshape([channels]),
      variance.reshape([channels]),
      total.reshape([]),
    ];
    builder.emit(
      "update",
      inputs.map(({ id }) => id),
      { exprs: [moved(e.input(0), e.input(2)), moved(e.input(1), unbiased)], targets: [0, 1], statistics: true },
    );
  }
  return normal.reshape(x.shape);
}

function ones(trace: Trace, rows: number): Tensor {
  return new Tensor(trace, trace.builder.emit("map", [], { exprs: [e.constant(1)], shape: [rows, 1] })[0]!);
}
