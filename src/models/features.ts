// From ids and numbers to tensors: the embedding look-ups that all click models share.
import { concat, type Tensor, type TraceContext } from "../program/index.ts";
import type { Columns } from "./model.ts";

export interface EmbeddingOptions {
  /** Width of the embedding vectors; 0 for none. */
  readonly dim: number;
  /** Also keep one weight a feature for a linear part. */
  readonly linear: boolean;
  /** Standard deviation of a new embedding. */
  readonly scale: number;
  readonly seed: number;
}

export interface Features {
  /** Embeddings of every field, [B, F, dim]: the categorical columns, then one sum-pooled vector a bag. */
  readonly embeddings?: Tensor;
  /** Σ of the features' linear weights, [B, 1]. */
  readonly linear?: Tensor;
}

const reserved = new Set(["label", "weight", "dense", "categorical"]);

/**
 * Looks up every feature of a batch in the table "features", whose rows hold the fields `embedding` [dim] and `linear` [1]
 * side by side, so that one look-up serves both.
 * @param bags names of the multi-valued columns
 */
export function lookUpFeatures(
  columns: Columns,
  ctx: TraceContext,
  options: EmbeddingOptions & FeatureColumns,
): Features {
  const { dim, linear, scale, seed, categorical, bags } = options;
  const table = ctx.table({
    name: "features",
    seed,
    fields: [
      ...(dim > 0 ? [{ name: "embedding", dim, slots: [], init: { kind: "normal", scale } as const }] : []),
      ...(linear ? [{ name: "linear", dim: 1, slots: [], init: { kind: "zeros", scale: 0 } as const }] : []),
    ],
  });
  const fields: Tensor[] = [];
  const sums: Tensor[] = [];
  if (categorical > 0) {
    const rows = table.lookup(columns.categorical!);
    if (dim > 0) fields.push(rows.gather("embedding"));
    if (linear) sums.push(rows.gatherPool("linear", "sum"));
  }
  for (const bag of bags) {
    const rows = table.lookup(columns[bag]!);
    const batch = columns[bag]!.shape[0]!;
    if (dim > 0) fields.push(rows.gatherPool("embedding", "mean").reshape([batch, 1, dim]));
    if (linear) sums.push(rows.gatherPool("linear", "sum"));
  }
  return {
    ...(fields.length > 0 ? { embeddings: fields.length === 1 ? fields[0]! : concat(fields, 1) } : {}),
    ...(sums.length > 0 ? { linear: sums.reduce((a, b) => a.add(b)) } : {}),
  };
}

export interface FeatureColumns {
  /** Integer or real columns a row. */
  readonly dense: number;
  /** Single-valued feature columns a row. */
  readonly categorical: number;
  /** Names of multi-valued columns. */
  readonly bags: readonly string[];
}

/** The embeddings of all fields and the dense numbers side by side: [B, F·dim + dense]. */
export function deepInput(columns: Columns, features: Features, dense: number): Tensor {
  const parts: Tensor[] = [];
  if (features.embeddings !== undefined) parts.push(features.embeddings.flatten());
  if (dense > 0) parts.push(columns.dense!);
  if (parts.length === 0) throw new Error("the model has no input: give it categorical columns, bags or dense numbers");
  return parts.length === 1 ? parts[0]! : concat(parts, 1);
}

export const isBag = (column: string): boolean => !reserved.has(column);
