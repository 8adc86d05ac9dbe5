// Columns in memory: every row once an epoch, in its order or mixed anew, also sharded, filtered and resumed.
import { describe, expect, test } from "vitest";
import { Heap } from "../memory/index.ts";
import type { Dataset } from "./index.ts";
import { BatchQueue, openPipeline, type PipelineOptions, type PipelineState, tensors } from "./index.ts";

const heap = Heap.create({ maxBytes: 2 ** 25 });
const rows = 23;
const columns = {
  label: { data: Int32Array.from({ length: rows }, (_, i) => i), shape: [rows] },
  picture: { data: Uint8Array.from({ length: rows * 6 }, (_, i) => i % 256), shape: [rows, 2, 3] },
  x: { data: Float32Array.from({ length: rows * 2 }, (_, i) => i / 2), shape: [rows, 2] },
};

interface Batch {
  readonly labels: number[];
  readonly rows: number;
}

/** The batches of an epoch; stops and pauses after `take` of them. */
async function read(
  dataset: Dataset,
  options: PipelineOptions = {},
  take = Number.POSITIVE_INFINITY,
): Promise<{ batches: Batch[]; state?: PipelineState }> {
  const pipeline = await openPipeline(heap, dataset, options);
  const queue = BatchQueue.attach(heap, pipeline.handle, 0);
  const { layout } = dataset;
  const offset = (name: string): number => layout.columns.find((column) => column.name === name)!.offset;
  const batches: Batch[] = [];
  while (batches.length < take) {
    const slot = await queue.nextAsync();
    if (slot <= 0) break;
    const labels = [...heap.i32(slot + offset("label"), layout.batch)];
    const pictures = heap.u8(slot + offset("picture"), 6 * layout.batch);
    const numbers = heap.f32(slot + offset("x"), 2 * layout.batch);
    const weights = heap.f32(slot + offset("weight"), layout.batch);
    for (const [i, weight] of weights.entries()) {
      expect(weight).toBe(i < queue.rows ? 1 : 0);
      expect(pictures[6 * i + 5]).toBe(weight * ((labels[i]! * 6 + 5) % 256));
      expect(numbers[2 * i]).toBe(weight * labels[i]!);
    }
    batches.push({ labels: labels.slice(0, queue.rows), rows: queue.rows });
    queue.release();
  }
  let state: PipelineState | undefined;
  if (batches.length === take) {
    const paused = pipeline.pause();
    for (let slot = await queue.nextAsync(); slot > 0; slot = await queue.nextAsync()) {
      batches.push({
        labels: [...heap.i32(slot + offset("label"), layout.batch)].slice(0, queue.rows),
        rows: queue.rows,
      });
      queue.release();
    }
    await paused;
    state = pipeline.state();
  } else await pipeline.finished;
  await pipeline.close();
  return { batches, ...(state === undefined ? {} : { state }) };
}

const labelsOf = (batches: readonly Batch[]): number[] => batches.flatMap(({ labels }) => labels);
const all = Array.from({ length: rows }, (_, i) => i);
const sorted = (values: readonly number[]): number[] => values.toSorted((a, b) => a - b);

describe("data.tensors", () => {
  test("keeps types and shapes, and adds a weight", () => {
    expect(tensors(columns, { batch: 4 }).layout.columns.map(({ name, dtype, shape }) => [name, dtype, shape])).toEqual(
      [
        ["label", "i32", [4]],
        ["weight", "f32", [4]],
        ["picture", "u8", [4, 2, 3]],
        ["x", "f32", [4, 2]],
      ],
    );
  });

  test("gives the rows in their order, the last batch padded or dropped", async () => {
    const padded = await read(tensors(columns, { batch: 5 }));
    expect(labelsOf(padded.batches)).toEqual(all);
    expect(padded.batches.map((batch) => batch.rows)).toEqual([5, 5, 5, 5, 3]);
    const dropped = await read(tensors(columns, { batch: 5, lastBatch: "drop" }));
    expect(labelsOf(dropped.batches)).toEqual(all.slice(0, 20));
  });

  test("mixes all rows by the seed, anew each epoch", async () => {
    const mixed = tensors(columns, { batch: 4, shuffle: 7 });
    const [first, again, second] = await Promise.all([
      read(mixed, { epoch: 0 }),
      read(mixed, { epoch: 0 }),
      read(mixed, { epoch: 1 }),
    ]);
    expect(labelsOf(first.batches)).not.toEqual(all);
    expect(labelsOf(again.batches)).toEqual(labelsOf(first.batches));
    expect(labelsOf(second.batches)).not.toEqual(labelsOf(first.batches));
    for (const { batches } of [first, second]) expect(sorted(labelsOf(batches))).toEqual(all);
  });

  test("shards and parts of the rows do not overlap, mixed or not", async () => {
    for (const shuffle of [undefined, 3]) {
      const dataset = tensors(columns, { batch: 4, ...(shuffle === undefined ? {} : { shuffle }) });
      const shards = [0, 1, 2].map((rank) => read(dataset.shard({ rank, worldSize: 3 })));
      expect(sorted(labelsOf((await Promise.all(shards)).flatMap(({ batches }) => batches)))).toEqual(all);
      const part = await read(dataset.where({ rows: { from: 0.5 } }));
      expect(sorted(labelsOf(part.batches))).toEqual(all.slice(11));
    }
  });

  test("a paused epoch goes on with the rows that are left", async () => {
    const mixed = tensors(columns, { batch: 4, shuffle: 11 });
    const before = await read(mixed, { slots: 1 }, 2);
    const after = await read(mixed, { resume: before.state! });
    const whole = await read(mixed);
    expect(labelsOf([...before.batches, ...after.batches])).toEqual(labelsOf(whole.batches));
  });

  test("weights of the data stand for themselves, padding weighs nothing", async () => {
    const weight = { data: Float32Array.from({ length: rows * 2 }, (_, i) => i % 3), shape: [rows, 2] };
    const weighted = tensors({ ...columns, weight }, { batch: 8 });
    expect(weighted.layout.weighted).toBe(true);
    const pipeline = await openPipeline(heap, weighted);
    const queue = BatchQueue.attach(heap, pipeline.handle, 0);
    const { offset } = weighted.layout.columns.find(({ name }) => name === "weight")!;
    const weights: number[] = [];
    for (let slot = await queue.nextAsync(); slot > 0; slot = await queue.nextAsync()) {
      const own = [...heap.f32(slot + offset, 16)];
      expect(queue.weight).toBe(own.reduce((sum, w) => sum + w, 0));
      weights.push(...own);
      queue.release();
    }
    await pipeline.close();
    expect(weights).toEqual([...weight.data, 0, 0]);
  });

  test("weights below 0 are refused", async () => {
    const weight = { data: new Float32Array(rows).fill(-1), shape: [rows] };
    const pipeline = await openPipeline(heap, tensors({ ...columns, weight }, { batch: 8 }));
    await expect(pipeline.finished).rejects.toThrow(/"weight" has a number below 0/);
    await pipeline.close();
  });

  test("refuses what does not fit together", () => {
    const [label] = [columns.label];
    expect(() => tensors({})).toThrow(/at least one column/);
    expect(() => tensors({ label, x: { data: new Float32Array(4), shape: [4] } })).toThrow(
      /x has 4 rows, label has 23/,
    );
    expect(() => tensors({ label: { ...label, shape: [22] } })).toThrow(/label has 23 numbers, its shape is \[22\]/);
    expect(() => tensors({ weight: columns.label })).toThrow(/weights are a Float32Array/);
    expect(() => tensors({ label }, { batch: 0 })).toThrow(/data.tensors/);
  });
});
