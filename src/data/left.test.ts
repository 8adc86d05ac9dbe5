// The work that a reader has left is found without it and dealt: every row goes to one of those who are left.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Heap } from "../memory/index.ts";
import { BatchQueue, type Cut, csv, type Dataset, openPipeline, tensors, workLeft } from "./index.ts";

const heap = Heap.create({ maxBytes: 2 ** 26 });
const folder = mkdtempSync(join(tmpdir(), "flotilla-left-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const ROWS = 100;
const memory = tensors(
  { label: { data: Float32Array.from({ length: ROWS }, (_, i) => i), shape: [ROWS] } },
  { batch: 5, shuffle: 3 },
);

/** Labels of an epoch, or of what the cuts leave of it. */
async function labels(dataset: Dataset, cuts?: readonly Cut[], epoch = 2): Promise<number[]> {
  const resume = cuts === undefined ? {} : { resume: workLeft(dataset, epoch, cuts) };
  const pipeline = await openPipeline(heap, dataset, { epoch, ...resume });
  const queue = BatchQueue.attach(heap, pipeline.handle, 0);
  const { offset } = dataset.layout.columns.find(({ name }) => name === "label")!;
  const all: number[] = [];
  for (let slot = await queue.nextAsync(); slot > 0; slot = await queue.nextAsync()) {
    all.push(...heap.f32(slot + offset, queue.rows));
    queue.release();
  }
  await pipeline.finished;
  await pipeline.close();
  return all;
}

describe("rows in memory", () => {
  test("what comes behind the first rows, in their order", async () => {
    const share = memory.shard({ rank: 1, worldSize: 2 });
    const whole = await labels(share);
    expect(await labels(share, [{ from: 0.3, share: 0, shares: 1 }])).toEqual(whole.slice(15));
    expect(await labels(share, [{ from: 1, share: 0, shares: 1 }])).toEqual([]);
  });

  test("cut over and over, every row goes to one", async () => {
    const share = memory.shard({ rank: 2, worldSize: 3 });
    const whole = await labels(share);
    const first = { from: 0.25, share: 0, shares: 3 };
    const parts = [
      await labels(share, [first, { from: 0.5, share: 0, shares: 2 }]),
      await labels(share, [first, { from: 0.5, share: 1, shares: 2 }]),
      await labels(share, [{ ...first, share: 1 }]),
      await labels(share, [{ ...first, share: 2 }]),
    ];
    const taken = Math.round(whole.length * 0.25);
    const held = Math.round((whole.length - taken) / 3);
    // Half of the first third was done before it was dealt again.
    const done = Math.round(held * 0.5);
    expect(parts.flat()).toEqual([...whole.slice(taken + done)]);
  });
});

test.each([1, 7])("text with lines of %i bytes more or less: no line is lost and none comes twice", async (width) => {
  const lines = Array.from({ length: 3000 }, (_, i) => `${i},${"x".repeat((i * 31) % width)}`);
  const path = join(folder, `${width}.csv`);
  writeFileSync(path, `label,text\n${lines.join("\n")}\n`);
  const schema = { label: { column: "label" }, categorical: ["text"] };
  const dataset = csv(path, { schema, batch: 16, readers: 1 }).shard({ rank: 0, worldSize: 2 });
  const whole = await labels(dataset);
  const cut = (share: number): Cut => ({ from: 0.4, share, shares: 3 });
  const parts = await Promise.all([labels(dataset, [cut(0)]), labels(dataset, [cut(1)]), labels(dataset, [cut(2)])]);
  const all = parts.flat();
  expect(all.length / whole.length).toBeCloseTo(0.6, 1);
  expect(new Set(all).size).toBe(all.length);
  expect(all.sort((a, b) => a - b)).toEqual(whole.toSorted((a, b) => a - b).slice(-all.length));
});
