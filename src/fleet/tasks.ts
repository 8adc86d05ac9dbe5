// What the trainer makes of a model's outputs, by its task: the loss to train, what a step reports, and what predictions are.
import type { BatchLayout } from "../data/index.ts";
import * as e from "../kernels/expr.ts";
import type { BinaryMetrics, WindowMetrics } from "../metrics/index.ts";
import type { Columns, Model, Task } from "../models/index.ts";
import { absoluteError, crossEntropy, squaredError } from "../nn/index.ts";
import { elementwise, sigmoidCrossEntropy, type Tensor, type TraceContext } from "../program/index.ts";
import type { EvaluationRecord } from "../report/index.ts";

/** The rank-0 input that the sum of losses is multiplied by: 1 / rows of the (union) batch. */
export const LOSS_SCALE = "lossScale";

export const taskOf = (model: Model): Task => model.task ?? "binary";

/** Metrics of any task: those of binary classifiers are NaN (and `bins` empty) for the others. */
export interface Metrics extends BinaryMetrics {
  /** Of `classification`: e to the mean cross-entropy. */
  readonly perplexity?: number;
  /** Of `regression`. */
  readonly meanAbsoluteError?: number;
}

export interface TaskPrograms {
  /** Rank-0 `loss`; `logits` [B] of binary classifiers, `losses` and `scores` [B] of other tasks. */
  training(columns: Columns, ctx: TraceContext): Record<string, Tensor>;
  /** `outputs` [B, ..]: what is predicted; and as in training, where the batch has labels. */
  inference(columns: Columns, ctx: TraceContext): Record<string, Tensor>;
}

export function taskPrograms(model: Model, layout: BatchLayout): TaskPrograms {
  const task = taskOf(model);
  const rows = layout.batch;
  expectLabel(model, layout);
  const totalOf = (losses: Tensor, weight: Tensor, ctx: TraceContext): Tensor =>
    losses.mul(weight).sum().mul(ctx.scalar(LOSS_SCALE));
  if (task === "binary") {
    const logitsOf = (columns: Columns, ctx: TraceContext): Tensor => {
      const logits = model.forward(columns, ctx);
      if (logits.shape.reduce((a, b) => a * b, 1) !== rows) {
        throw new Error(
          `model ${model.name} gives logits of shape [${logits.shape}] for a batch of ${rows} rows: one logit a row is expected`,
        );
      }
      return logits.reshape([rows]);
    };
    return {
      training(columns, ctx) {
        const logits = logitsOf(columns, ctx);
        return { loss: totalOf(sigmoidCrossEntropy(logits, columns.label!), columns.weight!, ctx), logits };
      },
      inference(columns, ctx) {
        const logits = logitsOf(columns, ctx);
        return { logits, outputs: logits.reshape([rows, 1]) };
      },
    };
  }
  const measured = (outputs: Tensor, columns: Columns): { losses: Tensor; scores: Tensor } => {
    const { losses, scores } = measure[task](outputs, columns.label!, model);
    return { losses: rowMeans(losses, rows), scores: rowMeans(scores, rows) };
  };
  return {
    training(columns, ctx) {
      const { losses, scores } = measured(model.forward(columns, ctx), columns);
      return { loss: totalOf(losses, columns.weight!, ctx), losses, scores };
    },
    inference(columns, ctx) {
      const raw = model.forward(columns, ctx);
      const outputs = task === "classification" ? raw.softmax() : raw;
      return { outputs, ...("label" in columns ? measured(raw, columns) : {}) };
    },
  };
}

type Measure = (outputs: Tensor, label: Tensor, model: Model) => { losses: Tensor; scores: Tensor };

const measure: Readonly<Record<Exclude<Task, "binary">, Measure>> = {
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
    return { losses: crossEntropy(logits, label), scores: hits.sum({ axes: -1 }) };
  },
  regression(outputs, label, model) {
    const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
    if (size(outputs.shape) !== size(label.shape)) {
      throw new Error(
        `model ${model.name} predicts numbers of shape [${outputs.shape}], its labels have shape [${label.shape}]`,
      );
    }
    const predicted = outputs.reshape(label.shape);
    return { losses: squaredError(predicted, label), scores: absoluteError(predicted, label) };
  },
};

/** The mean over what a row has, [B, ..] → [B]. */
const rowMeans = (values: Tensor, rows: number): Tensor =>
  values.rank === 1 ? values : values.reshape([rows, -1]).mean({ axes: 1 });

function expectLabel(model: Model, { columns }: BatchLayout): void {
  const wanted = taskOf(model) === "classification" ? "i32" : "f32";
  const label = columns.find(({ name }) => name === "label");
  if (label === undefined || label.dtype === wanted) return;
  throw new Error(
    `model ${model.name} is for ${taskOf(model)}, whose labels are ${wanted}; the dataset's column "label" is ${label.dtype}`,
  );
}

/** Metrics of an evaluation, or of a window of training, of a task that is not binary. */
export function taskMetrics(task: Task, { steps: _, meanScore, ...metrics }: WindowMetrics): Metrics {
  if (task === "classification") return { ...metrics, accuracy: meanScore, perplexity: Math.exp(metrics.loss) };
  return { ...metrics, meanAbsoluteError: meanScore };
}

/** Metrics in words, for a line. */
export function describeMetrics(task: Task, metrics: Metrics): string {
  switch (task) {
    case "binary": {
      const { loss, auc, calibration } = metrics;
      return `log loss ${loss.toFixed(5)}, AUC ${auc.toFixed(5)}, calibration ${calibration.toFixed(3)}`;
    }
    case "classification":
      return `loss ${metrics.loss.toFixed(5)}, accuracy ${(100 * metrics.accuracy).toFixed(2)} %, perplexity ${metrics.perplexity!.toPrecision(5)}`;
    case "regression":
      return `squared error ${metrics.loss.toPrecision(5)}, absolute error ${metrics.meanAbsoluteError!.toPrecision(5)}`;
    default:
      return task satisfies never;
  }
}

/** What the records and summaries keep of an evaluation. */
export function evaluationFields(
  metrics: Metrics,
): Omit<EvaluationRecord, "type" | "step" | "samples" | "seconds" | "epoch"> {
  const { loss, auc, accuracy, calibration, expectedCalibrationError, bins } = metrics;
  const { perplexity, meanAbsoluteError } = metrics;
  const known = { auc, accuracy, calibration, expectedCalibrationError, perplexity, meanAbsoluteError };
  const fields = Object.entries(known).filter(([, value]) => value !== undefined && !Number.isNaN(value));
  return { loss, ...Object.fromEntries(fields), ...(bins.length > 0 ? { bins } : {}) };
}
