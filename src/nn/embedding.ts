// Embeddings of dense vocabularies; sparse ones that grow are tables (`ctx.table`).
import { embedding as embeddingOp, type Init, ShapeError, type Tensor, type TraceContext } from "../program/index.ts";
import { expectSizes } from "./options.ts";

export interface EmbeddingOptions {
  /** Number of ids. */
  readonly vocabulary: number;
  /** Width of a vector. */
  readonly dim: number;
  /** Default N(0, 1). */
  readonly init?: Init;
  readonly group?: string;
}

/** ids i32 [..] → vectors [.., dim]. Parameter NAME/weight [vocabulary, dim]. */
export function embedding(ctx: TraceContext, name: string, ids: Tensor, options: EmbeddingOptions): Tensor {
  const { vocabulary, dim, init = { kind: "normal", scale: 1 }, group = "default" } = options;
  expectSizes(`embedding ${name}`, { vocabulary, dim });
  return ctx.scope(name, () => embeddingOp(ctx.parameter("weight", [vocabulary, dim], init, { group }), ids));
}

/** Learnt vectors of the first T places, [T, dim]. Parameter NAME/weight [places, dim]. */
export function positionEmbedding(
  ctx: TraceContext,
  name: string,
  length: number,
  { vocabulary: places, dim, init = { kind: "normal", scale: 1 }, group = "default" }: EmbeddingOptions,
): Tensor {
  expectSizes(`positionEmbedding ${name}`, { vocabulary: places, dim });
  if (length > places) {
    throw new ShapeError(`positionEmbedding ${name}: ${length} places are more than the ${places} it has`);
  }
  return ctx.scope(name, () => ctx.parameter("weight", [places, dim], init, { group }).slice(0, 0, length));
}
