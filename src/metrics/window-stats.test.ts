// Windows of training: each number against float64 arithmetic, and no sample lost or counted twice while threads record.
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { Heap } from "../memory/index.ts";
import { highHeap } from "../memory/testing.ts";
import { auc } from "./exact-auc.ts";
import { binaryMetrics, ScoreLog } from "./score-log.ts";
import { drawSamples, pairwiseAuc, type Samples } from "./testing.ts";
import { WindowStats } from "./window-stats.ts";

function put(heap: Heap, array: Float32Array): number {
  const pointer = heap.alloc(array.byteLength);
  heap.f32(pointer, array.length).set(array);
  return pointer;
}

/** Everything by its definition in float64. */
function reference({ logits, labels, weights }: Samples): Record<string, number> {
  let [loss, weight, label, prediction, correct] = [0, 0, 0, 0, 0];
  for (const [i, x] of logits.entries()) {
    const w = weights[i]!;
    const y = labels[i]!;
    const z = Math.exp(-Math.abs(x));
    loss += w * (Math.max(x, 0) - x * y + Math.log1p(z));
    prediction += w * (x >= 0 ? 1 / (1 + z) : z / (1 + z));
    weight += w;
    label += w * y;
    correct += w * Number(x > 0 === y > 0.5);
  }
  return {
    weight,
    loss: loss / weight,
    meanLabel: label / weight,
    meanPrediction: prediction / weight,
    calibration: prediction / label,
    accuracy: correct / weight,
  };
}

test("a window has the metrics of its batches, odd sizes and padding included", () => {
  const heap = Heap.create({ maxBytes: 1 << 23 });
  const samples = drawSamples(1001);
  samples.weights.fill(0, 990);
  const [x, y, w] = [put(heap, samples.logits), put(heap, samples.labels), put(heap, samples.weights)];
  const stats = WindowStats.create(heap, { threads: 2 });
  const reader = stats.reader();
  stats.recorder(0).record(x, y, w, 0, 333);
  stats.recorder(1).record(x + 4 * 333, y + 4 * 333, w + 4 * 333, 0, 1001 - 333);
  const window = reader.read();
  expect(window).toMatchObject({ steps: 2, samples: 990, nonFinite: 0 });
  for (const [name, value] of Object.entries(reference(samples))) {
    expect(window[name as "loss"], name).toBeCloseTo(value, 11);
  }
  const exact = pairwiseAuc(samples.logits, samples.labels, samples.weights);
  expect(Math.abs(window.auc - exact)).toBeLessThanOrEqual(window.aucErrorBound);
  expect(window.aucErrorBound).toBeLessThan(0.002);
});

test("extreme logits have their exact loss, and infinite ones are counted apart", () => {
  const heap = Heap.create({ maxBytes: 1 << 23 });
  const logits = Float32Array.of(0, -0, 1e-30, 20, -20, 88, -88, 700, -700, 3e38, -3e38);
  const labels = logits.map((_, i) => i % 2);
  const stats = WindowStats.create(heap, { threads: 1 });
  const reader = stats.reader();
  const [x, y] = [put(heap, logits), put(heap, labels)];
  const weights = logits.map(() => 1);
  for (let i = 0; i < logits.length; i++) {
    stats.recorder(0).record(x + 4 * i, y + 4 * i, 0, 0, 1);
    const one = { logits: logits.subarray(i, i + 1), labels: labels.subarray(i, i + 1), weights };
    const window = reader.read();
    const expected = reference(one);
    expect(Math.abs(window.loss - expected.loss!)).toBeLessThanOrEqual(2e-15 * Math.max(1, Math.abs(expected.loss!)));
    expect(Math.abs(window.meanPrediction - expected.meanPrediction!)).toBeLessThanOrEqual(1e-15);
  }
  const broken = put(heap, Float32Array.of(Number.NaN, 1, Number.POSITIVE_INFINITY));
  stats.recorder(0).record(broken, y, 0, 0, 3);
  expect(reader.read()).toMatchObject({ samples: 1, nonFinite: 2 });
});

test("the model's own losses take the place of the log loss; without logits only the loss is known", () => {
  const heap = Heap.create({ maxBytes: 1 << 23 });
  const stats = WindowStats.create(heap, { threads: 1 });
  const reader = stats.reader();
  const losses = put(heap, Float32Array.of(1, 2, 5, Number.NaN));
  const weights = put(heap, Float32Array.of(1, 3, 0, 1));
  const [x, y] = [put(heap, Float32Array.of(1, -1, 0, 0)), put(heap, Float32Array.of(1, 0, 0, 0))];
  stats.recorder(0).record(x, y, weights, losses, 4);
  expect(reader.read()).toMatchObject({ steps: 1, samples: 2, weight: 4, loss: 7 / 4, auc: 1, nonFinite: 1 });
  const measures = put(heap, Float32Array.of(1, 10, 2, 20, 3, 30, 4, 40));
  stats.recorder(0).recordLoss(losses, measures, 2, weights, 4);
  const window = reader.read();
  expect([...window.measures.slice(0, 3)]).toEqual([7 / 4, 70 / 4, 0]);
  expect(window).toMatchObject({
    steps: 1,
    samples: 2,
    weight: 4,
    loss: 7 / 4,
    auc: Number.NaN,
    bins: [],
    nonFinite: 1,
  });
  expect(reader.read()).toMatchObject({ steps: 0, samples: 0, weight: 0, loss: Number.NaN });
});

test("readers have windows of their own, and memory comes back", () => {
  const heap = Heap.create({ maxBytes: 1 << 23 });
  const [x, y] = [put(heap, Float32Array.of(1, 2)), put(heap, Float32Array.of(0, 1))];
  const before = heap.liveBytes;
  const stats = WindowStats.create(heap, { threads: 1 });
  const early = stats.reader();
  const recorder = WindowStats.attach(heap, structuredClone(stats.handle)).recorder(0);
  recorder.record(x, y, 0, 0, 2);
  const late = stats.reader();
  recorder.record(x, y, 0, 0, 2);
  expect([early.read().samples, late.read().samples, early.read().samples]).toEqual([4, 2, 0]);
  early.free();
  late.free();
  stats.free();
  expect(heap.liveBytes).toBe(before);
});

test("wrong threads are refused", () => {
  const heap = Heap.create({ maxBytes: 1 << 23 });
  expect(() => WindowStats.create(heap, { threads: 0 })).toThrow(/threads must be an integer of at least 1, got 0/);
  expect(() => WindowStats.create(heap, { threads: 2 }).recorder(2)).toThrow(
    /thread must be an integer from 0 to 1, got 2/,
  );
  expect(() => ScoreLog.create(heap, { threads: 1.5 })).toThrow(/got 1.5/);
  expect(() => ScoreLog.create(heap, { threads: 1 }).recorder(-1)).toThrow(
    /thread must be an integer from 0 to 0, got -1/,
  );
});

test("while three threads record, windows add up to every sample", async () => {
  const heap = Heap.create({ maxBytes: 1 << 25 });
  const threads = 3;
  const batches = 4000;
  const samples = drawSamples(64);
  const data = { x: put(heap, samples.logits), y: put(heap, samples.labels), w: put(heap, samples.weights) };
  const stats = WindowStats.create(heap, { threads });
  const log = ScoreLog.create(heap, { threads });
  const reader = stats.reader();
  const workers = Array.from(
    { length: threads },
    (_, thread) =>
      new Worker(new URL("./testing-worker.ts", import.meta.url), {
        workerData: { memory: heap.memory, stats: stats.handle, log: log.handle, thread, batches, ...data },
      }),
  );
  let finished = 0;
  const ended = Promise.all(workers.map((worker) => once(worker, "exit").then(() => finished++)));
  const sums = { steps: 0, samples: 0, weight: 0, loss: 0 };
  const one = reference(samples);
  for (let last = false; !last; ) {
    last = finished === threads;
    const window = reader.read();
    sums.steps += window.steps;
    sums.samples += window.samples;
    sums.weight += window.weight;
    if (window.weight > 0) sums.loss += window.loss * window.weight;
    await new Promise(setImmediate);
  }
  await ended;
  const count = threads * batches;
  expect(sums.steps).toBe(count);
  expect(sums.samples).toBe(count * 64);
  expect(sums.weight / (count * one.weight!)).toBeCloseTo(1, 9);
  expect(sums.loss / (count * one.weight! * one.loss!)).toBeCloseTo(1, 9);
  const metrics = log.metrics();
  expect(metrics.samples).toBe(threads * 1000 * 64);
  expect(metrics.auc).toBeCloseTo(pairwiseAuc(samples.logits, samples.labels, samples.weights), 10);
});

test.each([
  ["i32", () => Heap.create({ maxBytes: 1 << 25 })],
  ["i64", highHeap],
] as const)(
  "a score log with %s addresses: many blocks give exact metrics, go when cleared, and come back",
  (_, newHeap) => {
    const heap = newHeap();
    const samples = drawSamples(100_000);
    samples.weights.fill(0, 0, 5000);
    const [x, y, w] = [put(heap, samples.logits), put(heap, samples.labels), put(heap, samples.weights)];
    const before = heap.liveBytes;
    const log = ScoreLog.create(heap, { threads: 2 });
    const recorders = [log.recorder(0), log.recorder(1)];
    for (let round = 0; round < 2; round++) {
      expect(log.segments()).toEqual([]);
      for (let from = 0, b = 0; from < 100_000; from += 7001, b++) {
        const n = Math.min(7001, 100_000 - from);
        recorders[b % 2]!.record(x + 4 * from, y + 4 * from, w + 4 * from, n);
      }
      expect(log.segments().reduce((sum, { n }) => sum + n, 0)).toBe(95_000);
      const metrics = log.metrics();
      const { logits: scores, labels, weights } = samples;
      expect(metrics.auc).toBeCloseTo(auc({ scores, labels, weights }), 12);
      expect(metrics.loss).toBeCloseTo(reference(samples).loss!, 11);
      expect(metrics).toMatchObject({ samples: 95_000, aucErrorBound: 0 });
      log.clear();
    }
    log.free();
    expect(heap.liveBytes).toBe(before);
  },
);

test("binaryMetrics: as scikit-learn; NaN logits are told, not hidden", () => {
  const { logits, labels, weights } = drawSamples(5000);
  // sklearn.metrics.log_loss (scikit-learn 1.9) on the same samples.
  expect(binaryMetrics({ logits, labels }).loss).toBeCloseTo(0.3861468031171842, 13);
  expect(binaryMetrics({ logits, labels, weights }).loss).toBeCloseTo(0.38521866526692106, 13);
  const broken = binaryMetrics({ logits: Float32Array.of(1, Number.NaN, 2), labels: Float32Array.of(0, 1, 1) });
  expect(broken).toMatchObject({ samples: 2, nonFinite: 1, auc: Number.NaN });
  expect(() => binaryMetrics({ logits: Float32Array.of(1, 2), labels: Float32Array.of(0, 2) })).toThrow(
    /neither 0 nor 1/,
  );
});
