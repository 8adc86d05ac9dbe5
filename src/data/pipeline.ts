// The multi-queue asynchronous reader: reader threads parse files into rings of batch slots, one ring per trainer.
import type { Heap } from "../memory/index.ts";
import type { Dataset } from "./dataset.ts";
import type { BatchLayout } from "./layout.ts";
import type { PipelineHandle } from "./ring.ts";

export interface PipelineOptions {
  /** Trainers to serve; default 1. */
  trainers?: number;
  /** Batch slots of each trainer's ring; default 8. */
  slots?: number;
  /** Reader threads; default the dataset's. */
  readers?: number;
  order?: "fast" | "file";
  /** Seed of the order of pieces; default the dataset's `shuffle`. */
  seed?: number;
  /** Varies the order of pieces; default 0. */
  epoch?: number;
  /** Continue with the rows that a paused pipeline had not delivered. */
  resume?: PipelineState;
}

/** The rows that are still to be delivered: plain data for a checkpoint. */
export interface PipelineState {
  readonly version: 1;
  /** Batches given back by trainers since the epoch's start. */
  readonly delivered: number;
  readonly rows: number;
  readonly files: readonly { readonly path: string; readonly bytes: number }[];
  /** Bytes of text or rows of Parquet, half-open; no `end`: to the end of the file. */
  readonly ranges: readonly { readonly file: number; readonly start: number; readonly end?: number }[];
}

export interface Progress {
  /** Rows parsed so far in this epoch, those of resumed runs included. */
  readonly rows: number;
  /** A guess from the bytes read so far until the end is known. */
  readonly estimatedRows: number;
  readonly bytes: number;
  readonly totalBytes: number;
}

export interface BadLines {
  readonly count: number;
  /** Messages of the first five. */
  readonly first: readonly string[];
}

export interface Pipeline {
  readonly layout: BatchLayout;
  /** What trainers attach by; it may be posted to other threads. */
  readonly handle: PipelineHandle;
  /** Settles when the readers have delivered the last row into the rings; rejects with the first error of a reader. */
  readonly finished: Promise<void>;
  progress(): Progress;
  badLines(): BadLines;
  /** Resolves when every reader stands still between two batches. Queues then end once their rings are empty. */
  pause(): Promise<void>;
  /** Goes on after `pause`. */
  continue(): void;
  /** The work that is left: rows unread and batches that no trainer has released. Only while paused or finished. */
  state(): PipelineState;
  /** Makes `next` of one trainer's queue, or of all, return at once until `clearInterrupt`. */
  interrupt(trainer?: number): void;
  clearInterrupt(): void;
  /** Stops the readers and frees the slots; trainers must have stopped using them. */
  close(): Promise<void>;
}

/** Opens the files, starts the readers. @throws when a file is missing or not of the dataset's format. */
export async function openPipeline(heap: Heap, dataset: Dataset, options: PipelineOptions = {}): Promise<Pipeline> {
  throw new Error(`${heap.capacity} ${dataset.spec.format} ${options.epoch}`);
}
