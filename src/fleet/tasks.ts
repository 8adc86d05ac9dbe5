// What the metrics of a model mean, by its task: as values, in words and in records.
import type { BinaryMetrics, WindowMetrics } from "../metrics/index.ts";
import type { Model, Task } from "../models/index.ts";
import type { EvaluationRecord } from "../report/index.ts";

/** The rank-0 input that the sum of losses is multiplied by: 1 / weight of the (union) batch. */
export const LOSS_SCALE = "lossScale";

export const taskOf = (model: Model): Task => model.task ?? (model.loss === undefined ? "binary" : "own");

/** Metrics of any task: those of binary classifiers are NaN (and `bins` empty) for the others. */
export interface Metrics extends BinaryMetrics {
  /** Of `classification` whose loss is the cross-entropy: e to its mean. */
  readonly perplexity?: number;
  /** Of `regression`. */
  readonly meanAbsoluteError?: number;
  /** Weighted means of the model's own measures. */
  readonly measures?: Readonly<Record<string, number>>;
}

/** Measures that tasks bring along: fields of their own, not among `measures`. */
const TASK_MEASURES: Readonly<Record<Task, readonly string[]>> = {
  binary: [],
  classification: ["accuracy"],
  regression: ["meanAbsoluteError"],
  own: [],
};

/** Metrics of a window or an evaluation of a model that is not for the task binary; `names` are those of its measures. */
export function taskMetrics(
  model: Model,
  names: readonly string[],
  { steps: _, measures: means, ...metrics }: WindowMetrics,
): Metrics {
  const task = taskOf(model);
  const entries = names.map((name, i) => [name, means[i]!] as const);
  const isTasks = ([name]: readonly [string, number]): boolean => TASK_MEASURES[task].includes(name);
  const own = entries.filter((entry) => !isTasks(entry));
  return {
    ...metrics,
    ...Object.fromEntries(entries.filter(isTasks)),
    ...(task === "classification" && model.loss === undefined ? { perplexity: Math.exp(metrics.loss) } : {}),
    ...(own.length > 0 ? { measures: Object.fromEntries(own) } : {}),
  };
}

/** Metrics in words, for a line. */
export function describeMetrics(model: Model, metrics: Metrics): string {
  const { loss, auc, calibration, accuracy, perplexity, meanAbsoluteError, measures = {} } = metrics;
  const words = {
    binary: () => [`log loss ${loss.toFixed(5)}`, `AUC ${auc.toFixed(5)}`, `calibration ${calibration.toFixed(3)}`],
    classification: () => [`loss ${loss.toFixed(5)}`, `accuracy ${(100 * accuracy).toFixed(2)} %`],
    regression: () => [
      `${model.loss === undefined ? "squared error" : "loss"} ${loss.toPrecision(5)}`,
      `absolute error ${meanAbsoluteError!.toPrecision(5)}`,
    ],
    own: () => [`loss ${loss.toPrecision(5)}`],
  } satisfies Record<Task, () => string[]>;
  const more = Object.entries({ ...(perplexity === undefined ? {} : { perplexity }), ...measures });
  return [...words[taskOf(model)](), ...more.map(([name, value]) => `${name} ${value.toPrecision(5)}`)].join(", ");
}

/** What the records and summaries keep of an evaluation. */
export function evaluationFields(
  metrics: Metrics,
): Omit<EvaluationRecord, "type" | "step" | "samples" | "seconds" | "epoch"> {
  const { loss, auc, accuracy, calibration, expectedCalibrationError, bins } = metrics;
  const { perplexity, meanAbsoluteError, measures } = metrics;
  const known = { auc, accuracy, calibration, expectedCalibrationError, perplexity, meanAbsoluteError };
  const fields = Object.entries(known).filter(([, value]) => value !== undefined && !Number.isNaN(value));
  return {
    loss,
    ...Object.fromEntries(fields),
    ...(measures === undefined ? {} : { measures }),
    ...(bins.length > 0 ? { bins } : {}),
  };
}
