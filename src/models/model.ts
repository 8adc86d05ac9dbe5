// What a model is to the trainer: a name and configuration that a checkpoint can keep, a task, and a function from a
// batch's columns to what the task makes of them.
import { z } from "zod";
import type { Tensor, TraceContext } from "../program/index.ts";

/** Columns of a batch by name, each [B, ..]; `weight` f32 [B] is 1 for rows and 0 for padding. */
export type Columns = Readonly<Record<string, Tensor>>;

/**
 * What the outputs mean, and so the loss and the metrics:
 * - `binary`: logits [B] (or [B, 1]), `label` f32 [B] in [0, 1]; log loss, AUC;
 * - `classification`: logits [B, .., C], `label` i32 [B, ..]; cross-entropy, accuracy;
 * - `regression`: predictions [B, ..], `label` f32 of the same shape; squared and absolute error.
 */
export type Task = "binary" | "classification" | "regression";

export interface Model {
  readonly name: string;
  /** Plain data; `models.create(name, config)` makes an equal model. Models of your own may leave it empty. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Default "binary". */
  readonly task?: Task;
  /** Outputs of the rows; traced once for training and once for inference. */
  forward(columns: Columns, ctx: TraceContext): Tensor;
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
