// Losses, each a value a row: take a (weighted) mean of them. B rows, C classes, D width.
import * as e from "../kernels/expr.ts";
import { elementwise, ShapeError, softmaxCrossEntropy, type Tensor, where } from "../program/index.ts";
import { logSumExp } from "./activations.ts";

export interface CrossEntropyOptions {
  /** Share of the target that all classes get in equal parts (arXiv 1512.00567); default 0. */
  readonly labelSmoothing?: number;
  /** Rows with this label have loss 0. */
  readonly ignoreIndex?: number;
}

/** −log softmax(logits)[label] for logits [.., C] and labels i32 [..] → [..]. */
export function crossEntropy(logits: Tensor, labels: Tensor, options: CrossEntropyOptions = {}): Tensor {
  const { labelSmoothing = 0, ignoreIndex } = options;
  if (!(labelSmoothing >= 0 && labelSmoothing < 1)) {
    throw new ShapeError(`crossEntropy: labelSmoothing ${labelSmoothing} is not in [0, 1)`);
  }
  const rows = logits.reshape([-1, logits.shape.at(-1)!]);
  const flat = labels.reshape([-1]);
  let { loss } = softmaxCrossEntropy(rows, flat);
  if (labelSmoothing > 0) {
    const uniform = logSumExp(rows).sub(rows.mean({ axes: -1 }));
    loss = loss.mul(1 - labelSmoothing).add(uniform.mul(labelSmoothing));
  }
  if (ignoreIndex !== undefined) loss = where(flat.equal(ignoreIndex), 0, loss);
  return loss.reshape(labels.shape);
}

/** −[y·log p + (1 − y)·log(1 − p)] of probabilities p; logarithms are limited to −100, as PyTorch does. */
export function binaryCrossEntropy(probabilities: Tensor, labels: Tensor): Tensor {
  const limited = (p: e.Expr): e.Expr => e.max(e.log(p), -100);
  return elementwise(
    (p, y) => e.neg(e.add(e.mul(y, limited(p)), e.mul(e.sub(1, y), limited(e.sub(1, p))))),
    probabilities,
    labels,
  );
}

/** (x − y)², elementwise. */
export const squaredError = (x: Tensor, y: Tensor): Tensor => x.sub(y).square();

/** |x − y|, elementwise. */
export const absoluteError = (x: Tensor, y: Tensor): Tensor => x.sub(y).abs();

/** ½(x − y)²/β below β, |x − y| − β/2 above (Huber, as PyTorch's smooth L1). */
export function smoothAbsoluteError(x: Tensor, y: Tensor, beta = 1): Tensor {
  if (!(beta > 0)) throw new ShapeError(`smoothAbsoluteError: beta ${beta} is not above 0`);
  return elementwise(
    (a, b) => {
      const d = e.abs(e.sub(a, b));
      return e.select(e.lt(d, beta), e.mul(e.mul(d, d), 0.5 / beta), e.sub(d, beta / 2));
    },
    x,
    y,
  );
}

/** Keeps the square root of a distance of 0 from an infinite gradient; PyTorch adds the same to each difference. */
const DISTANCE_EPSILON = 1e-6;

const distance = (x: Tensor, y: Tensor): Tensor => x.sub(y).add(DISTANCE_EPSILON).square().sum({ axes: -1 }).sqrt();

/** max(‖a − p‖ − ‖a − n‖ + margin, 0) of anchors, positives and negatives [B, D] → [B] (arXiv 1503.03832). */
export const tripletLoss = (anchor: Tensor, positive: Tensor, negative: Tensor, margin = 1): Tensor =>
  distance(anchor, positive).sub(distance(anchor, negative)).add(margin).relu();

/** max(−y·(x1 − x2) + margin, 0): y = 1 wants x1 above x2, −1 below. */
export const marginRankingLoss = (x1: Tensor, x2: Tensor, y: Tensor, margin = 0): Tensor =>
  elementwise((a, b, sign) => e.max(e.add(e.neg(e.mul(sign, e.sub(a, b))), margin), 0), x1, x2, y);

export interface AngularMarginOptions {
  /** Added to the angle of the target, in radians: ArcFace .5 (arXiv 1801.07698); default 0. */
  readonly angle?: number;
  /** Subtracted from the cosine of the target: CosFace .35 or .4 (arXiv 1801.09414); default 0. */
  readonly cosine?: number;
  /** Default 64. */
  readonly scale?: number;
}

/**
 * Logits `scale · cos` of cosines [B, C] whose target, i32 [B], is made harder: cos(θ + angle) − cosine. Take their
 * crossEntropy.
 */
export function angularMargin(cosines: Tensor, labels: Tensor, options: AngularMarginOptions = {}): Tensor {
  const { angle = 0, cosine = 0, scale = 64 } = options;
  return elementwise(
    (cos, label) => {
      // sin θ ≥ 0 for θ in [0, π]; the floor keeps its gradient finite at cos θ = ±1.
      const sin = e.sqrt(e.max(e.sub(1, e.mul(cos, cos)), 1e-12));
      const harder = e.sub(e.sub(e.mul(cos, Math.cos(angle)), e.mul(sin, Math.sin(angle))), cosine);
      return e.mul(e.select(e.eq(e.index(-1), label), harder, cos), scale);
    },
    cosines,
    labels.reshape([-1, 1]),
  );
}

/** x / ‖x‖ over the last axis. */
export const normalize = (x: Tensor, epsilon = 1e-12): Tensor =>
  x.div(x.square().sum({ axes: -1, keepDims: true }).add(epsilon).sqrt());
