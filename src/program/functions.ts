// Functions of several tensors: joining, choosing, normalising, dropping, and the losses.
import * as e from "../kernels/expr.ts";
import { ShapeError } from "./errors.ts";
import { elementwise, emit, Tensor, type TensorLike } from "./tensor.ts";

/** Joins along an axis; the tensors agree in all others. */
export function concat(tensors: readonly Tensor[], axis = -1): Tensor {
  const [first] = tensors;
  if (first === undefined) throw new ShapeError("concat needs at least one tensor");
  return first.emit("concat", tensors, { axis: first.axis(axis) });
}

/** `x` where `test` is not 0, else `y`. */
export function where(test: Tensor, x: TensorLike, y: TensorLike): Tensor {
  return elementwise(e.select, test, x, y);
}

export interface DropoutOptions {
  /** The share of elements that become 0, in [0, 1). */
  readonly rate: number;
}

/**
 * Zeroes each element with probability `rate` and scales the others by 1 / (1 − rate); the identity in inference.
 * The mask follows from the per-step input `seed` (u32) and the element's place, so it need not be stored.
 */
export function dropout(x: Tensor, { rate }: DropoutOptions): Tensor {
  if (!(rate >= 0 && rate < 1)) throw new ShapeError(`dropout: the rate ${rate} is not in [0, 1)`);
  if (!x.trace.training || rate === 0) return x;
  const seed = new Tensor(x.trace, x.trace.builder.input("seed", { shape: [], dtype: "u32" }));
  const stream = x.trace.nextStream();
  return elementwise(
    (value, seedValue) => e.select(e.ge(e.uniform(seedValue, stream), rate), e.mul(value, 1 / (1 - rate)), 0),
    x,
    seed,
  );
}

export interface LayerNormOptions {
  /** Default 1e-5. */
  readonly epsilon?: number;
}

/** Normalises the last axis of x [.., N], then scales by gamma [N] and shifts by beta [N] (arXiv 1607.06450). */
export function layerNorm(x: Tensor, gamma: Tensor, beta: Tensor, { epsilon = 1e-5 }: LayerNormOptions = {}): Tensor {
  return x.emit("layer_norm", [x, gamma, beta], { epsilon });
}

/** Rows of weights [V, D] by ids i32 or u32 [..] → [.., D]; an id that is none of 0…V−1 gives NaN. */
export function embedding(weights: Tensor, ids: Tensor): Tensor {
  return weights.emit("embedding", [weights, ids], {});
}

/** Second-order term of a factorization machine: x [B, F, D] → [B, 1] = ½ Σ_d ((Σ_f x)² − Σ_f x²). */
export function fm(x: Tensor): Tensor {
  return x.emit("fm", [x], {});
}

/**
 * −[y·log σ(x) + (1 − y)·log(1 − σ(x))] of each logit x, stable for any x; its gradient is σ(x) − y.
 * @param logits any shape
 * @param labels the same shape, in [0, 1]; without gradient
 */
export function sigmoidCrossEntropy(logits: Tensor, labels: Tensor): Tensor {
  expectSameShape("sigmoidCrossEntropy", logits, labels);
  const [x, y] = [e.input(0), e.input(1)];
  const loss = e.add(e.sub(e.max(x, 0), e.mul(x, y)), e.log1p(e.exp(e.neg(e.abs(x)))));
  const derivatives = [[e.sub(e.sigmoid(x), y), e.constant(0)]];
  return logits.emit("map", [logits, labels], { exprs: [loss], derivatives });
}

export interface SoftmaxCrossEntropy {
  /** [B]. */
  readonly loss: Tensor;
  /** [B, C]. */
  readonly probabilities: Tensor;
}

/** −log softmax(logits)[label], for logits [B, C] and labels i32 [B]. */
export function softmaxCrossEntropy(logits: Tensor, labels: Tensor): SoftmaxCrossEntropy {
  const [loss, probabilities] = emit(logits.trace, "softmax_cross_entropy", [logits, labels], {});
  return { loss: loss!, probabilities: probabilities! };
}

/** Keeps a batch of padding rows alone from dividing by 0. */
const tinyWeight = 1e-12;

/** Σ w·l / Σ w over a batch: padding rows carry weight 0. Both of one shape; the result has rank 0. */
export function weightedMean(values: Tensor, weights: Tensor): Tensor {
  expectSameShape("weightedMean", values, weights);
  const total = values.mul(weights).sum();
  return elementwise((sum, weight) => e.div(sum, e.max(weight, tinyWeight)), total, weights.sum());
}

function expectSameShape(what: string, x: Tensor, y: Tensor): void {
  if (x.shape.join() !== y.shape.join()) {
    throw new ShapeError(`${what}: shapes [${x.shape.join(",")}] and [${y.shape.join(",")}] differ; reshape one`);
  }
}
