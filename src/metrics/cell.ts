// A cell of statistics in the heap and how it reads as metrics; the layout stands in binary-stats.as.ts.
import type { Heap } from "../memory/index.ts";
import { BIN_FIELDS, calibrationBins, expectedCalibrationError, HISTOGRAM_BINS, histogramAuc } from "./histogram.ts";
import type { BinaryMetrics } from "./types.ts";

export const TOTALS_OFFSET = 64;
const MEASURES_OFFSET = 128;
/** The most measures a row. */
export const MAX_MEASURES = 16;
const HISTOGRAM_OFFSET = MEASURES_OFFSET + 8 * MAX_MEASURES;
export const CELL_BYTES = HISTOGRAM_OFFSET + HISTOGRAM_BINS * BIN_FIELDS * 8;

const STEPS = 0;
const SAMPLES = 1;
const WEIGHT = 2;
const LOSS = 3;
const CORRECT = 4;
const NON_FINITE = 5;

export interface BinaryStatsKernel {
  update(cell: number, logits: number, labels: number, weights: number, losses: number, n: number): void;
  updateLoss(cell: number, losses: number, measures: number, count: number, weights: number, n: number): void;
  snapshot(cell: number, into: number): number;
  accumulateDifference(now: number, previous: number, sum: number): void;
}

/** Metrics of a window; `steps` counts the batches of all threads. */
export interface WindowMetrics extends BinaryMetrics {
  readonly steps: number;
  /** Of another task than binary classification: the weighted means of its measures, NaN without rows. */
  readonly measures: Float64Array;
}

/** Reads a cell that no thread is writing. */
export function cellMetrics(heap: Heap, cell: number): WindowMetrics {
  const totals = heap.f64(cell + TOTALS_OFFSET, 8);
  const histogram = heap.f64(cell + HISTOGRAM_OFFSET, HISTOGRAM_BINS * BIN_FIELDS);
  let positives = 0;
  let seen = 0;
  let predictions = 0;
  for (let at = 0; at < histogram.length; at += BIN_FIELDS) {
    positives += histogram[at]!;
    seen += histogram[at]! + histogram[at + 1]!;
    predictions += histogram[at + 2]!;
  }
  const weight = totals[WEIGHT]!;
  const { auc, errorBound } = histogramAuc(histogram);
  const bins = calibrationBins(histogram);
  return {
    steps: totals[STEPS]!,
    samples: totals[SAMPLES]!,
    weight,
    loss: totals[LOSS]! / weight,
    auc,
    aucErrorBound: errorBound,
    accuracy: totals[CORRECT]! / seen,
    measures: heap.f64(cell + MEASURES_OFFSET, MAX_MEASURES).map((sum) => sum / weight),
    meanLabel: positives / seen,
    meanPrediction: predictions / seen,
    calibration: predictions / positives,
    expectedCalibrationError: expectedCalibrationError(bins),
    bins,
    nonFinite: totals[NON_FINITE]!,
  };
}
