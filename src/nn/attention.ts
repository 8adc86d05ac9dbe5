// Attention and the layers of transformers (arXiv 1706.03762). Heads are never copied: products read them by strides.
// B batch, T target length, S source length, H heads, E width.
import * as e from "../kernels/expr.ts";
import { dropout, elementwise, emit, type Init, ShapeError, type Tensor, type TraceContext } from "../program/index.ts";
import type { ActivationName } from "./activations.ts";
import { linear } from "./linear.ts";
import { layerNorm } from "./norms.ts";

export interface AttentionOptions {
  readonly heads: number;
  /** Each place sees only itself and what comes before; default false. */
  readonly causal?: boolean;
  /** [B, S]: 1 where a source place may be looked at, 0 where it is padding. */
  readonly mask?: Tensor;
  /** Share of attention probabilities dropped in training; default 0. */
  readonly dropout?: number;
}

/**
 * What a masked score becomes: the least number of f16, so that it is finite in every type. Its probability is exactly 0
 * beside a score that is not masked; where all are, every source place counts the same.
 */
const MASKED = -65504;
const HEADS_FIRST = [0, 2, 1, 3];

/** `softmax(q·kᵀ / √(E/H)) · v` in H heads: q [B,T,E], k and v [B,S,E] → [B,T,E]. */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
  const { heads, causal = false, mask, dropout: rate = 0 } = options;
  const [batch, target, width] = q.shape as [number, number, number];
  if (q.rank !== 3 || !Number.isInteger(heads) || heads < 1 || width % heads !== 0) {
    throw new ShapeError(`attention: ${heads} heads do not divide queries [${q.shape.join(",")}], which are [B,T,E]`);
  }
  const source = k.shape[1]!;
  const fits = {
    keys: [k, batch, source, width],
    values: [v, batch, source, width],
    mask: [mask, batch, source],
  } as const;
  for (const [what, [x, ...shape]] of Object.entries(fits)) {
    if (x === undefined || x.shape.join() === shape.join()) continue;
    throw new ShapeError(
      `attention: ${what} [${x.shape.join(",")}] do not fit queries [${q.shape.join(",")}]: keys and values are [B,S,E], a mask [B,S]`,
    );
  }
  const dim = width / heads;
  const split = (x: Tensor): Tensor => x.reshape([batch, -1, heads, dim]);
  const products = { transposeA: false, transposeB: true, permA: HEADS_FIRST, permB: HEADS_FIRST };
  let scores = split(q)
    .emit("batch_matmul", [split(q), split(k)], products)
    .mul(1 / Math.sqrt(dim));
  if (mask !== undefined) {
    scores = elementwise(
      (score, keep) => e.select(e.eq(keep, 0), MASKED, score),
      scores,
      mask.reshape([batch, 1, 1, source]),
    );
  }
  if (causal) {
    if (source !== target)
      throw new ShapeError(`attention: causal needs as many sources as targets, got ${source} and ${target}`);
    scores = elementwise((score) => e.select(e.gt(e.index(-1), e.index(-2)), MASKED, score), scores);
  }
  const probabilities = dropout(scores.softmax(), { rate });
  const [context] = emit(q.trace, "batch_matmul", [probabilities, split(v)], {
    ...{ transposeA: false, transposeB: false, permB: HEADS_FIRST, permC: HEADS_FIRST },
  });
  return context!.reshape([batch, target, width]);
}

export interface MultiHeadAttentionOptions extends AttentionOptions {
  /** [B,S,·], what keys and values are made from; default the queries' own x. */
  readonly source?: Tensor;
  /** Of the four weights; default Glorot uniform. */
  readonly init?: Init;
}

/**
 * Attention of x [B,T,E] to `source`, by default to itself, with linear layers around it.
 * Parameters NAME/query, NAME/key, NAME/value, NAME/output, each a linear layer of E units.
 */
export function multiHeadAttention(
  ctx: TraceContext,
  name: string,
  x: Tensor,
  { source = x, init, ...options }: MultiHeadAttentionOptions,
): Tensor {
  const width = x.shape.at(-1)!;
  const start = init === undefined ? {} : { init };
  return ctx.scope(name, () => {
    const q = linear(ctx, "query", x, width, start);
    const k = linear(ctx, "key", source, width, start);
    const v = linear(ctx, "value", source, width, start);
    return linear(ctx, "output", attention(q, k, v, options), width, start);
  });
}

export interface TransformerLayerOptions extends AttentionOptions {
  /** Units of the inner layer of the perceptron; default 4·E. */
  readonly inner?: number;
  /** Default "gelu". */
  readonly activation?: ActivationName;
  /** Norm before each part (GPT) instead of after its residual (BERT); default false. */
  readonly preNorm?: boolean;
  /** Of the norms; default 1e-5. */
  readonly epsilon?: number;
  readonly init?: Init;
  /** [B,S,E] of an encoder: adds cross-attention between self-attention and perceptron. */
  readonly memory?: Tensor;
  /** [B,S] of the encoder's places. */
  readonly memoryMask?: Tensor;
}

/**
 * One layer of a transformer: self-attention, with `memory` cross-attention, and a perceptron, each with residual, dropout
 * and norm. Parameters NAME/attention, NAME/cross, NAME/inner, NAME/outer, NAME/norm1…3.
 */
export function transformerLayer(ctx: TraceContext, name: string, x: Tensor, options: TransformerLayerOptions): Tensor {
  const { inner = 4 * x.shape.at(-1)!, activation = "gelu", preNorm = false, memory, memoryMask } = options;
  const { epsilon = 1e-5, init, dropout: rate = 0, heads } = options;
  const start = init === undefined ? {} : { init };
  let norms = 0;
  const part = (y: Tensor, body: (y: Tensor) => Tensor): Tensor => {
    const norm = (z: Tensor): Tensor => layerNorm(ctx, `norm${++norms}`, z, { epsilon });
    return preNorm ? y.add(dropout(body(norm(y)), { rate })) : norm(y.add(dropout(body(y), { rate })));
  };
  return ctx.scope(name, () => {
    const { causal, mask } = options;
    let y = part(x, (z) =>
      multiHeadAttention(ctx, "attention", z, {
        ...{ heads, dropout: rate, ...start },
        ...(causal === undefined ? {} : { causal }),
        ...(mask === undefined ? {} : { mask }),
      }),
    );
    if (memory !== undefined) {
      const lookAt = memoryMask === undefined ? {} : { mask: memoryMask };
      y = part(y, (z) =>
        multiHeadAttention(ctx, "cross", z, { heads, source: memory, dropout: rate, ...start, ...lookAt }),
      );
    }
    return part(y, (z) =>
      linear(ctx, "outer", linear(ctx, "inner", z, inner, { activation, ...start }), x.shape.at(-1)!, start),
    );
  });
}
