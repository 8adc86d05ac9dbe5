// For tests: pipelines over numbered rows, so that every delivered row can be told.
import { gzipSync } from "node:zlib";
import { Heap } from "../memory/index.ts";
import type { Dataset } from "./dataset.ts";
import { featureId } from "./feature-hash.ts";
import { columnOf } from "./layout.ts";
import { openPipeline, type Pipeline, type PipelineOptions } from "./pipeline.ts";
import { BatchQueue } from "./queue.ts";
import { numberedLines, temporaryFolder } from "./testing.ts";

export const heap = Heap.create({ maxBytes: 2 ** 28 });
export const ROWS = 3000;
export const lines = numberedLines(ROWS);
export const text = `${lines.join("\n")}\n`;
export const flights = "node_modules/vega-datasets/data/flights-3m.parquet";
export const allRows = Array.from({ length: ROWS }, (_, i) => i);
export const ascending = (a: number, b: number): number => a - b;

/** The rows as files, in a folder of the test file's own: test files share this module. */
export function rowFiles(): { folder: ReturnType<typeof temporaryFolder>; plain: string; gzip: string } {
  const folder = temporaryFolder();
  return {
    folder,
    plain: folder.write("rows.tsv", text),
    gzip: folder.write("rows.tsv.gz", gzipSync(text)),
  };
}

const rowOfId = new Map(lines.map((_, i) => [featureId(0, i.toString(16).padStart(8, "0")), i]));
const open: Pipeline[] = [];

export async function closeAll(): Promise<void> {
  for (const pipeline of open.splice(0)) await pipeline.close();
}

/** A pipeline that `closeAll` closes, and the queue of each trainer. */
export async function start(
  dataset: Dataset,
  options?: PipelineOptions,
): Promise<{ pipeline: Pipeline; queues: BatchQueue[] }> {
  const pipeline = await openPipeline(heap, dataset, options);
  open.push(pipeline);
  const queues = Array.from({ length: options?.trainers ?? 1 }, (_, t) => BatchQueue.attach(heap, pipeline.handle, t));
  return { pipeline, queues };
}

/** What identifies the rows of the queue's current batch. */
export type Keys = (queue: BatchQueue, slot: number) => number[];

export const numbered: Keys = (queue, slot) => {
  const { offset, width } = columnOf(queue.layout, "categorical");
  const ids = heap.u64(slot + offset, queue.layout.batch * width);
  return Array.from({ length: queue.rows }, (_, row) => rowOfId.get(ids[row * width]!) ?? -1);
};

/** Takes up to `most` batches; the keys of each. */
export async function take(queue: BatchQueue, keys: Keys, most = Number.POSITIVE_INFINITY): Promise<number[][]> {
  const batches: number[][] = [];
  while (batches.length < most) {
    const slot = await queue.nextAsync();
    if (slot <= 0) break;
    batches.push(keys(queue, slot));
    queue.release();
  }
  return batches;
}
