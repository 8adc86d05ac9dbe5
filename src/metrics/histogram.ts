// Metrics from a histogram over the logit: what streaming AUC, calibration and the plot's bins are computed from.
// Histograms of threads and of windows add up; a bin is 1/128 wide, from logit -16 to 16, what lies outside in the end bins.
import type { CalibrationBin } from "./types.ts";

/** Layout shared with binary-stats.as.ts. */
export const HISTOGRAM_BINS = 4096;
/** Float64 values a bin: weight of positives, weight of negatives, sum of weighted predictions. */
export const BIN_FIELDS = 3;

export interface StreamingAuc {
  readonly auc: number;
  /** The exact AUC of the same samples lies within `auc` ± `errorBound`. */
  readonly errorBound: number;
}

/**
 * AUC with all samples of a bin taken as ties. True order inside a bin can move the sum by at most half of its
 * (positives × negatives), which gives the bound; the error seen is far smaller, since inside a bin both densities are
 * nearly flat. NaN without both classes.
 */
export function histogramAuc(histogram: Float64Array): StreamingAuc {
  let negativesBelow = 0;
  let positives = 0;
  let area = 0;
  let ties = 0;
  for (let at = 0; at < histogram.length; at += BIN_FIELDS) {
    const p = histogram[at]!;
    const n = histogram[at + 1]!;
    area += p * (negativesBelow + 0.5 * n);
    ties += p * n;
    positives += p;
    negativesBelow += n;
  }
  const pairs = positives * negativesBelow;
  if (!(pairs > 0)) return { auc: Number.NaN, errorBound: Number.NaN };
  return { auc: area / pairs, errorBound: (0.5 * ties) / pairs };
}

/** Groups neighbouring histogram bins to at most `count` bins of about equal weight, by rising prediction. */
export function calibrationBins(histogram: Float64Array, count = 20): CalibrationBin[] {
  let total = 0;
  for (let at = 0; at < histogram.length; at += BIN_FIELDS) total += histogram[at]! + histogram[at + 1]!;
  const bins: CalibrationBin[] = [];
  let seen = 0;
  let weight = 0;
  let label = 0;
  let prediction = 0;
  for (let at = 0; at < histogram.length; at += BIN_FIELDS) {
    const w = histogram[at]! + histogram[at + 1]!;
    if (!(w > 0)) continue;
    weight += w;
    label += histogram[at]!;
    prediction += histogram[at + 2]!;
    seen += w;
    if (seen >= ((total * (bins.length + 1)) / count) * (1 - 1e-12)) {
      bins.push({ prediction: prediction / weight, label: label / weight, weight });
      weight = 0;
      label = 0;
      prediction = 0;
    }
  }
  if (weight > 0) bins.push({ prediction: prediction / weight, label: label / weight, weight });
  return bins;
}

/** Σ over bins of share of weight × |mean prediction − mean label|; NaN without weight. */
export function expectedCalibrationError(bins: readonly CalibrationBin[]): number {
  let weight = 0;
  let error = 0;
  for (const bin of bins) {
    weight += bin.weight;
    error += bin.weight * Math.abs(bin.prediction - bin.label);
  }
  return error / weight;
}
