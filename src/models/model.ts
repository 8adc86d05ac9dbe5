// What a model is to the trainer: a name and configuration that a checkpoint can keep, a task, and a function from a
// batch's columns to what the task makes of them.
import { z } from "zod";
import type { Tensor, TraceContext } from "../program/index.ts";

/** Columns of a batch by name, each [B, ..]; `weight` f32 is 1 for rows unless the data weighs them, and 0 for padding. */
export type Columns = Readonly<Record<string, Tensor>>;

/**
 * What the outputs mean, and so the loss and the metrics:
 * - `binary`: logits [B] (or [B, 1]), `label` f32 [B] in [0, 1]; log loss, AUC;
 * - `classification`: logits [B, .., C], `label` i32 [B, ..]; cross-entropy, accuracy;
 * - `regression`: predictions [B, ..], `label` f32 of the same shape; squared and absolute error;
 * - `own`: anything; the model's `loss` says what to train.
 */
export type Task = "binary" | "classification" | "regression" | "own";

/** What a model makes of its outputs. Every tensor is [B], or [B, ..] whose mean counts for the row, or of rank 0 for a batch. */
export interface Losses {
  /** What training minimises the weighted mean of. */
  readonly loss: Tensor;
  /** By name, what else to report the weighted means of; at most 16. */
  readonly measures?: Readonly<Record<string, Tensor>>;
}

export interface Model {
  readonly name: string;
  /** Plain data; `models.create(name, config)` makes an equal model. Models of your own may leave it empty. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Default "binary", of models with a loss "own". */
  readonly task?: Task;
  /** Outputs of the rows [B, ..]; traced once for training and once for inference. */
  forward(columns: Columns, ctx: TraceContext): Tensor;
  /** A loss in place of the task's, from what `forward` gave; the metrics of the task are reported as ever. */
  loss?(outputs: Tensor, columns: Columns, ctx: TraceContext): Losses;
}

/** A model with checked options. @throws Error naming the option that is wrong and those that are allowed */
export function defineModel<S extends z.ZodObject>(
  name: string,
  task: Task,
  schema: S,
  options: unknown,
  forward: (config: z.output<S>, columns: Columns, ctx: TraceContext) => Tensor,
): Model {
  const parsed = schema.safeParse(options ?? {});
  if (!parsed.success) {
    throw new Error(
      `models.${name}: ${z.prettifyError(parsed.error)}\nallowed: ${Object.keys(schema.shape).join(", ")}`,
    );
  }
  const config = parsed.data;
  return {
    name,
    config: config as Readonly<Record<string, unknown>>,
    task,
    forward: (columns, ctx) => forward(config, columns, ctx),
  };
}
