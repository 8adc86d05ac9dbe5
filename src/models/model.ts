// What a model is to the trainer: a name and configuration that a checkpoint can keep, and a function from a batch's
// columns to one logit a row.
import type { Tensor, TraceContext } from "../program/index.ts";

/** Columns of a batch by name: `dense` f32 [B, n], `categorical` u64 [B, n], bags u64 [B, max], `label` and `weight` f32 [B]. */
export type Columns = Readonly<Record<string, Tensor>>;

export interface Model {
  readonly name: string;
  /** Plain data; `models.create(name, config)` makes an equal model. Models of your own may leave it empty. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Logits [B] (or [B, 1]) of the rows; traced once for training and once for inference. */
  forward(columns: Columns, ctx: TraceContext): Tensor;
}
