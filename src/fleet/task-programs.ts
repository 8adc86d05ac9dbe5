// What a step computes of a model's outputs, by its task: the loss to train, what a row's loss and measures are, and what
// predictions are.
import type { BatchLayout } from "../data/index.ts";
import * as e from "../kernels/expr.ts";
import { MAX_MEASURES } from "../metrics/index.ts";
import type { Columns, Losses, Model, Task } from "../models/index.ts";
import { absoluteError, crossEntropy, squaredError } from "../nn/index.ts";
import { concat, elementwise, sigmoidCrossEntropy, type Tensor, type TraceContext } from "../program/index.ts";
import { LOSS_SCALE, taskOf } from "./tasks.ts";

/** Keeps the mean of a row without weight finite. */
const LEAST_WEIGHT = 1e-30;

export interface TaskPrograms {
  /**
   * Rank-0 `loss`; `logits` [B] of binary classifiers; of other tasks `losses` [B], where there are any `measures` [B, M], and
   * where weights are not one a row `weights` [B].
   */
  training(columns: Columns, ctx: TraceContext): Record<string, Tensor>;
  /** `outputs` [B, ..]: what is predicted; and as in training, where the batch has what the loss needs. */
  inference(columns: Columns, ctx: TraceContext): Record<string, Tensor>;
  /** Names of the measures in their order, known after a trace. */
  readonly measures: readonly string[];
}

export function taskPrograms(model: Model, layout: BatchLayout): TaskPrograms {
  const task = taskOf(model);
  expectColumns(model, task, layout);
  return task === "binary" ? binaryPrograms(model, layout.batch) : measuredPrograms(model, task, layout.batch);
}

function binaryPrograms(model: Model, rows: number): TaskPrograms {
  const logitsOf = (columns: Columns, ctx: TraceContext): Tensor => {
    const logits = model.forward(columns, ctx);
    if (sizeOf(logits) !== rows) {
      throw new Error(
        `model ${model.name} gives logits of shape [${logits.shape}] for a batch of ${rows} rows: one logit a row is expected`,
      );
    }
    return logits.reshape([rows]);
  };
  return {
    measures: [],
    training(columns, ctx) {
      const logits = logitsOf(columns, ctx);
      const loss = model.loss?.(logits, columns, ctx).loss ?? sigmoidCrossEntropy(logits, columns.label!);
      return { loss: weighted(model, loss, columns.weight!, rows).total.mul(ctx.scalar(LOSS_SCALE)), logits };
    },
    inference(columns, ctx) {
      const logits = logitsOf(columns, ctx);
      return { logits, outputs: logits.reshape([rows, 1]) };
    },
  };
}

function measuredPrograms(model: Model, task: Exclude<Task, "binary">, rows: number): TaskPrograms {
  const names: string[] = [];
  const measured = (outputs: Tensor, columns: Columns, ctx: TraceContext): Record<string, Tensor> => {
    const { loss, measures } = lossesOf(model, task, outputs, columns, ctx);
    const entries = Object.entries(measures ?? {});
    if (entries.length > MAX_MEASURES) {
      throw new Error(`model ${model.name} has ${entries.length} measures; at most ${MAX_MEASURES} are kept`);
    }
    names.splice(0, names.length, ...entries.map(([name]) => name));
    const { weight } = columns as { readonly weight: Tensor };
    const { total, losses, weights } = weighted(model, loss, weight, rows);
    const means = entries.map(([, values]) => weighted(model, values, weight, rows).losses.reshape([rows, 1]));
    return {
      loss: total,
      losses,
      ...(weights === weight ? {} : { weights }),
      ...(means.length > 0 ? { measures: concat(means, 1) } : {}),
    };
  };
  return {
    measures: names,
    training(columns, ctx) {
      const { loss, ...rest } = measured(model.forward(columns, ctx), columns, ctx);
      return { loss: loss!.mul(ctx.scalar(LOSS_SCALE)), ...rest };
    },
    inference(columns, ctx) {
      const raw = model.forward(columns, ctx);
      const outputs = task === "classification" ? raw.softmax() : raw;
      if (task !== "own" && !("label" in columns)) return { outputs };
      const { loss: _, ...rest } = measured(raw, columns, ctx);
      return { outputs, ...rest };
    },
  };
}

/** The task's loss and measures, or the model's where it has its own. */
function lossesOf(
  model: Model,
  task: Exclude<Task, "binary">,
  outputs: Tensor,
  columns: Columns,
  ctx: TraceContext,
): Losses {
  const own = model.loss?.(outputs, columns, ctx);
  if (task === "own") {
    if (own !== undefined) return own;
    throw new Error(`model ${model.name} is of task "own" and has no loss: give it one, or another task`);
  }
  const { loss, measures } = tasks[task](outputs, columns.label!, model);
  return { loss: own?.loss ?? loss, measures: { ...measures, ...own?.measures } };
}

const tasks: Readonly<
  Record<"classification" | "regression", (outputs: Tensor, label: Tensor, model: Model) => Losses>
> = {
  classification(logits, label, model) {
    const places = logits.shape.slice(0, -1);
    if (places.join() !== label.shape.join()) {
      throw new Error(
        `model ${model.name} gives logits of shape [${logits.shape}] for labels of shape [${label.shape}]: one logit a class is expected for each label`,
      );
    }
    const top = logits.max({ axes: -1, keepDims: true });
    // 1 where the label's logit is the highest.
    const hits = elementwise(
      (x, most, wanted) => e.select(e.eq(e.index(-1), wanted), e.ge(x, most), 0),
      logits,
      top,
      label.reshape([...label.shape, 1]),
    );
    return { loss: crossEntropy(logits, label), measures: { accuracy: hits.sum({ axes: -1 }) } };
  },
  regression(outputs, label, model) {
    if (sizeOf(outputs) !== sizeOf(label)) {
      throw new Error(
        `model ${model.name} predicts numbers of shape [${outputs.shape}], its labels have shape [${label.shape}]`,
      );
    }
    const predicted = outputs.reshape(label.shape);
    return {
      loss: squaredError(predicted, label),
      measures: { meanAbsoluteError: absoluteError(predicted, label) },
    };
  },
};

const sizeOf = ({ shape }: Tensor): number => shape.reduce((a, b) => a * b, 1);

interface Weighted {
  /** Σ weight × value over the batch. */
  readonly total: Tensor;
  /** [B]: the (weighted) mean within each row. */
  readonly losses: Tensor;
  /** [B]: the weight of each row. */
  readonly weights: Tensor;
}

/** Values of rank 0, [B] or [B, ..] with weights [B] or, one for each value, [B, ..]. */
function weighted(model: Model, values: Tensor, weight: Tensor, rows: number): Weighted {
  if (values.rank > 0 && values.shape[0] !== rows) {
    throw new Error(
      `model ${model.name} gives a loss of shape [${values.shape}] for a batch of ${rows} rows: a number a row, or one for the batch, is expected`,
    );
  }
  if (weight.rank === 1) {
    const losses =
      values.rank === 0
        ? values.broadcastTo([rows])
        : values.rank === 1
          ? values
          : values.reshape([rows, -1]).mean({ axes: 1 });
    return { total: losses.mul(weight).sum(), losses, weights: weight };
  }
  if (values.shape.join() !== weight.shape.join()) {
    throw new Error(
      `column "weight" of shape [${weight.shape}] weighs the losses of model ${model.name}, of shape [${values.shape}]: give a weight a row, or one for each loss`,
    );
  }
  const products = values.mul(weight);
  const sums = products.reshape([rows, -1]).sum({ axes: 1 });
  const weights = weight.reshape([rows, -1]).sum({ axes: 1 });
  return { total: products.sum(), losses: sums.div(weights.maximum(LEAST_WEIGHT)), weights };
}

function expectColumns(model: Model, task: Task, { columns }: BatchLayout): void {
  if (task === "own") return;
  const wanted = task === "classification" ? "i32" : "f32";
  const label = columns.find(({ name }) => name === "label");
  if (label === undefined || label.dtype === wanted) return;
  throw new Error(
    `model ${model.name} is for ${task}, whose labels are ${wanted}; the dataset's column "label" is ${label.dtype}`,
  );
}
