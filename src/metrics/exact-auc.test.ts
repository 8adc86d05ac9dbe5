// The exact AUC against its definition, scikit-learn's values and the laws that it must keep.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Heap } from "../memory/index.ts";
import { auc, segmentsAuc } from "./exact-auc.ts";
import { drawSamples, pairwiseAuc } from "./testing.ts";

const { logits, labels, weights } = drawSamples(5000);
const coarse = logits.map((x) => Math.round(x * 4) / 4);

// sklearn.metrics.roc_auc_score (scikit-learn 1.9) on the same samples.
test.each([
  ["distinct scores", logits, undefined, 0.9074712083630758],
  ["distinct scores, weighted", logits, weights, 0.9079704962116897],
  ["many ties", coarse, undefined, 0.9069305225994329],
  ["many ties, weighted", coarse, weights, 0.9075195695150512],
])("%s: as scikit-learn", (_, scores, weights, expected) => {
  expect(auc({ scores, labels, ...(weights && { weights }) })).toBeCloseTo(expected, 12);
});

describe("against all pairs", () => {
  const score = fc.oneof(
    fc.float({ noNaN: true }),
    fc.constantFrom(0, -0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1, -1, 2 ** -149, -(2 ** -149)),
  );
  const sample = fc.record({
    score,
    label: fc.constantFrom(0, 1),
    weight: fc.constantFrom(0, 0.25, 1, 3),
  });
  const both = fc
    .array(sample, { minLength: 2, maxLength: 60 })
    .filter((s) => [0, 1].every((label) => s.some((x) => x.label === label && x.weight > 0)));

  test("any scores, ties, infinities, signed zeros; weighted and not", () => {
    fc.assert(
      fc.property(both, fc.boolean(), (samples, weighted) => {
        const scores = Float32Array.from(samples, (s) => s.score);
        const labels = Float32Array.from(samples, (s) => s.label);
        const weights = weighted ? Float32Array.from(samples, (s) => s.weight) : undefined;
        const found = auc({ scores, labels, ...(weights && { weights }) });
        expect(found).toBeCloseTo(pairwiseAuc(scores, labels, weights), 12);
        expect(auc({ scores: scores.map((x) => -x), labels, ...(weights && { weights }) })).toBeCloseTo(1 - found, 12);
      }),
      { numRuns: 200 },
    );
  });

  test("the split into segments and the scale of the weights do not matter", () => {
    const heap = Heap.create({ maxBytes: 1 << 22 });
    const n = 1000;
    const [x, y, w] = [logits, labels, weights].map((array) => {
      const pointer = heap.alloc(n * 4);
      heap.f32(pointer, n).set(array!.subarray(0, n));
      return pointer;
    }) as [number, number, number];
    const part = (from: number, to: number, w: number): Parameters<typeof segmentsAuc>[1] => [
      { scores: x + 4 * from, labels: y + 4 * from, weights: w === 0 ? 0 : w + 4 * from, n: to - from },
    ];
    const before = heap.liveBytes;
    const whole = segmentsAuc(heap, part(0, n, w));
    expect(segmentsAuc(heap, [...part(300, n, w), ...part(0, 1, w), ...part(1, 300, w), ...part(9, 9, w)])).toBeCloseTo(
      whole,
      13,
    );
    heap.f32(w, n).fill(0.1);
    expect(segmentsAuc(heap, part(0, n, w))).toBe(segmentsAuc(heap, part(0, n, 0)));
    const mixed = Float32Array.from({ length: n }, (_, i) => (i < 500 ? 0.1 : 1));
    const expected = pairwiseAuc(logits.subarray(0, n), labels.subarray(0, n), mixed);
    expect(segmentsAuc(heap, [...part(0, 500, w), ...part(500, n, 0)])).toBeCloseTo(expected, 7);
    expect(heap.liveBytes).toBe(before);
  });
});

test("two hundred thousand equal scores give one half", () => {
  const scores = new Float32Array(200_000).fill(0.3);
  expect(auc({ scores, labels: scores.map((_, i) => (i % 3 === 0 ? 1 : 0)) })).toBe(0.5);
});

test("without both classes there is no AUC", () => {
  expect(auc({ scores: new Float32Array(0), labels: new Float32Array(0) })).toBeNaN();
  expect(auc({ scores: Float32Array.of(1, 2), labels: Float32Array.of(1, 1) })).toBeNaN();
  const weights = Float32Array.of(1, 0);
  expect(auc({ scores: Float32Array.of(1, 2), labels: Float32Array.of(1, 0), weights })).toBeNaN();
});

test("wrong input is refused", () => {
  const labels = Float32Array.of(0, 1);
  expect(() => auc({ scores: Float32Array.of(1), labels })).toThrow(/1 scores but 2 labels/);
  expect(() => auc({ scores: Float32Array.of(1, 2), labels, weights: Float32Array.of(1) })).toThrow(
    /2 scores but 1 weights/,
  );
  expect(() => auc({ scores: Float32Array.of(1, Number.NaN), labels })).toThrow(
    /1 of 2 scores are NaN; the model has diverged/,
  );
  expect(() => auc({ scores: Float32Array.of(1, 2), labels: Float32Array.of(0.5, 1) })).toThrow(
    /1 of 2 labels are neither 0 nor 1/,
  );
});
