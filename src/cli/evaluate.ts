// `flotilla evaluate`: exact metrics of a trained model.
import { Dataset } from "../data/index.ts";
import type { BinaryMetrics } from "../metrics/index.ts";
import { formatTable } from "../report/index.ts";
import { type DataOptions, requireLabels } from "./data-source.ts";
import { dataFor, type EngineOptions, findModel, openModel, type SavedModel } from "./saved-model.ts";
import { UsageError } from "./usage.ts";

export interface EvaluateFlags extends EngineOptions, Pick<DataOptions, "format" | "schema" | "buckets" | "onBadLine"> {
  readonly json?: boolean;
}

/** Returns the exit code. */
export async function evaluate(path: string, patterns: readonly string[], flags: EvaluateFlags): Promise<number> {
  const { json = false, threads: _threads, engine: _engine, ...reading } = flags;
  const model = await findModel(path);
  const dataset = patterns.length === 0 ? heldOut(model) : dataFor(model, patterns, reading);
  requireLabels(dataset);
  const { job, trainer } = await openModel(model, flags);
  try {
    const metrics = await trainer.evaluate(dataset);
    if (metrics.samples === 0 && metrics.nonFinite === 0)
      throw new Error(`there are no rows to evaluate in ${patterns.join(" ")}`);
    console.log(json ? JSON.stringify(metrics, null, 2) : metricsTable(metrics));
    return 0;
  } finally {
    await job.close();
  }
}

function heldOut({ config, path }: SavedModel): Dataset {
  if (config?.validation !== undefined) return Dataset.from(config.validation);
  throw new UsageError(`${path} was trained without held-out data; name files to evaluate on`);
}

function metricsTable(metrics: BinaryMetrics): string {
  const { loss, auc, calibration, expectedCalibrationError, accuracy, samples, nonFinite } = metrics;
  const fixed = (value: number, digits: number): string => (Number.isNaN(value) ? "–" : value.toFixed(digits));
  const rows = {
    "log loss": fixed(loss, 5),
    AUC: fixed(auc, 5),
    calibration: fixed(calibration, 4),
    "calibration error": fixed(expectedCalibrationError, 5),
    accuracy: fixed(accuracy, 4),
    samples: samples.toLocaleString("en"),
    ...(nonFinite > 0 ? { "not finite": nonFinite.toLocaleString("en") } : {}),
  };
  return formatTable(Object.entries(rows).map(([metric, value]) => ({ metric, value })));
}
