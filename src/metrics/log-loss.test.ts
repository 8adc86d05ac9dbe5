// Log loss of probabilities against closed forms and scikit-learn's value.
import { expect, test } from "vitest";
import { logLoss } from "./log-loss.ts";
import { drawSamples } from "./testing.ts";

test("as scikit-learn", () => {
  const { logits, labels, weights } = drawSamples(5000);
  const probabilities = Float64Array.from(logits, (x) => 1 / (1 + Math.exp(-x)));
  // sklearn.metrics.log_loss (scikit-learn 1.9) on the same samples.
  expect(logLoss({ probabilities, labels })).toBeCloseTo(0.3861468031171842, 13);
  expect(logLoss({ probabilities, labels, weights })).toBeCloseTo(0.38521866526692106, 13);
});

test("certainty costs nothing when right and the clip when wrong; soft labels count by share", () => {
  expect(logLoss({ probabilities: [0, 1], labels: [0, 1], epsilon: 0 })).toBe(0);
  expect(logLoss({ probabilities: [0], labels: [1] })).toBeCloseTo(23 * Math.LN2, 12);
  expect(logLoss({ probabilities: [1], labels: [0], epsilon: 1e-3 })).toBeCloseTo(3 * Math.LN10, 10);
  expect(logLoss({ probabilities: [1], labels: [0], epsilon: 0 })).toBe(Number.POSITIVE_INFINITY);
  expect(logLoss({ probabilities: [0.25], labels: [0.5] })).toBeCloseTo(-0.5 * Math.log(0.25 * 0.75), 12);
  expect(logLoss({ probabilities: [], labels: [] })).toBeNaN();
});

test.each([
  [{ probabilities: [0.5], labels: [1, 0] }, /1 probabilities but 2 labels/],
  [{ probabilities: [0.5], labels: [1], weights: [] }, /1 probabilities but 1 labels, 0 weights/],
  [{ probabilities: [2.5], labels: [1] }, /probability 0 is 2.5.*pass probabilities, not logits/],
  [{ probabilities: [0.5], labels: [-1] }, /label 0 is -1/],
  [{ probabilities: [0.5], labels: [1], weights: [-1] }, /weight 0 is -1/],
  [{ probabilities: [0.5], labels: [1], epsilon: 0.5 }, /epsilon must be from 0 to below 0.5, got 0.5/],
])("wrong input is refused: %o", (options, message) => {
  expect(() => logLoss(options)).toThrow(message);
});
