// Streaming AUC within its bound of the exact one, and calibration bins that keep weight and means.
import fc from "fast-check";
import { expect, test } from "vitest";
import { auc } from "./exact-auc.ts";
import { BIN_FIELDS, calibrationBins, expectedCalibrationError, HISTOGRAM_BINS, histogramAuc } from "./histogram.ts";
import { drawSamples } from "./testing.ts";

/** The histogram by its definition. */
function histogramOf(logits: Float32Array, labels: Float32Array, weights: Float32Array): Float64Array {
  const histogram = new Float64Array(HISTOGRAM_BINS * BIN_FIELDS);
  for (const [i, x] of logits.entries()) {
    const at = BIN_FIELDS * Math.min(Math.max(Math.floor((x + 16) * 128), 0), HISTOGRAM_BINS - 1);
    histogram[at + 1 - labels[i]!]! += weights[i]!;
    histogram[at + 2]! += weights[i]! / (1 + Math.exp(-x));
  }
  return histogram;
}

test("the exact AUC is always within the bound", () => {
  const scale = fc.constantFrom(1e-3, 0.01, 0.1, 1, 5, 30);
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 2 ** 31 }), scale, fc.integer({ min: 20, max: 3000 }), (seed, scale, n) => {
      const { logits, labels, weights } = drawSamples(n, seed);
      const scores = logits.map((x) => x * scale);
      labels.set([0, 1]);
      weights.set([1, 1]);
      const exact = auc({ scores, labels, weights });
      const { auc: found, errorBound } = histogramAuc(histogramOf(scores, labels, weights));
      expect(Math.abs(found - exact)).toBeLessThanOrEqual(errorBound + 1e-12);
    }),
    { numRuns: 60 },
  );
});

test("on scores as models give them the error is far below the bound", () => {
  const { logits, labels, weights } = drawSamples(200_000);
  const exact = auc({ scores: logits, labels, weights });
  const { auc: found, errorBound } = histogramAuc(histogramOf(logits, labels, weights));
  expect(Math.abs(found - exact)).toBeLessThan(2e-5);
  expect(errorBound).toBeLessThan(6e-4);
});

test("without both classes there is no AUC", () => {
  const histogram = new Float64Array(HISTOGRAM_BINS * BIN_FIELDS);
  expect(histogramAuc(histogram)).toEqual({ auc: Number.NaN, errorBound: Number.NaN });
  histogram[0] = 1;
  expect(histogramAuc(histogram).auc).toBeNaN();
});

test("bins have equal weight, rising predictions and the samples' means; a calibrated model shows no error", () => {
  const { logits, labels, weights } = drawSamples(200_000);
  const histogram = histogramOf(logits, labels, weights);
  const bins = calibrationBins(histogram, 20);
  const total = weights.reduce((sum, w) => sum + w, 0);
  expect(bins.length).toBe(20);
  expect(bins.reduce((sum, bin) => sum + bin.weight, 0)).toBeCloseTo(total, 3);
  for (const [i, bin] of bins.entries()) {
    expect(bin.weight / total).toBeCloseTo(1 / 20, 2);
    if (i > 0) expect(bin.prediction).toBeGreaterThan(bins[i - 1]!.prediction);
    expect(Math.abs(bin.prediction - bin.label)).toBeLessThan(0.02);
  }
  expect(expectedCalibrationError(bins)).toBeLessThan(0.006);
});

test("one lump of equal scores is one bin, and its error is the whole gap", () => {
  const n = 1000;
  const logits = new Float32Array(n);
  const labels = logits.map((_, i) => (i < 800 ? 1 : 0));
  const bins = calibrationBins(
    histogramOf(
      logits,
      labels,
      logits.map(() => 1),
    ),
  );
  expect(bins).toEqual([{ prediction: 0.5, label: 0.8, weight: n }]);
  expect(expectedCalibrationError(bins)).toBeCloseTo(0.3, 12);
});
