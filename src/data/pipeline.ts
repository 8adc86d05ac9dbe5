// The multi-queue asynchronous reader: reader threads parse files into rings of batch slots, one ring per trainer.
import { existsSync } from "node:fs";
import { z } from "zod";
import type { Heap } from "../memory/index.ts";
import type { Dataset } from "./dataset.ts";
import { type DataFile, expandPatterns, inspect, memoryFile } from "./files.ts";
import type { BatchLayout } from "./layout.ts";
import { parseOptions } from "./options.ts";
import { ReaderPool } from "./reader-pool.ts";
import { type FileRange, type PipelineHandle, RELEASED, Rings, SEQUENCE } from "./ring.ts";
import type { DatasetSpec } from "./spec.ts";
import { planUnits } from "./units.ts";

export interface PipelineOptions {
  /** Trainers to serve; default 1. */
  trainers?: number;
  /** Batch slots of each trainer's ring; default 8. */
  slots?: number;
  /** Reader threads; default the dataset's. */
  readers?: number;
  order?: "fast" | "file";
  /**
   * Of one reader: batches go to the trainers in turn, whatever their pace, so that each gets the same ones in every run.
   * Default: in order `file`.
   */
  turns?: boolean;
  /** Seed of the order of pieces; default the dataset's `shuffle`. */
  seed?: number;
  /** Varies the order of pieces; default 0. */
  epoch?: number;
  /** Continue with the rows that a paused pipeline had not delivered. */
  resume?: PipelineState;
}

const count = z.int().min(0);
const stateSchema = z.strictObject({
  version: z.literal(1),
  delivered: count,
  rows: count,
  files: z.array(z.strictObject({ path: z.string(), bytes: count })),
  ranges: z.array(z.strictObject({ file: count, start: count, end: count.optional() })),
});

const optionsSchema = z.strictObject({
  trainers: z.int().min(1).max(256).default(1),
  slots: z.int().min(1).max(1024).default(8),
  readers: z.int().min(1).max(64).optional(),
  order: z.enum(["fast", "file"]).optional(),
  turns: z.boolean().default(false),
  seed: z.int().min(0).max(0xffffffff).optional(),
  epoch: count.default(0),
  resume: stateSchema.optional(),
});

/** The rows that are still to be delivered: plain data for a checkpoint. */
export interface PipelineState {
  readonly version: 1;
  /** Batches given back by trainers since the epoch's start. */
  readonly delivered: number;
  /** Rows in them. */
  readonly rows: number;
  readonly files: readonly { readonly path: string; readonly bytes: number }[];
  /** Bytes of (uncompressed) text or rows of Parquet, half-open; without `end`: to the end of the file. */
  readonly ranges: readonly { readonly file: number; readonly start: number; readonly end?: number | undefined }[];
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
  /**
   * Resolves when every reader stands still between two batches. Queues then end once their rings are empty. Readers that
   * mix rows first give out the rows of their window, so trainers must go on taking batches.
   */
  pause(): Promise<void>;
  /** Goes on after `pause`. */
  continue(): void;
  /** The work that is left: rows unread and batches that no trainer has released. Only while paused or finished. */
  state(): PipelineState;
  /** Makes `next` of one trainer's queue, or of all, return at once until `clearInterrupt`. */
  interrupt(trainer?: number): void;
  clearInterrupt(): void;
  /**
   * Stops the readers and frees the slots; trainers must have stopped using them. `progress` and `badLines` keep their
   * last values.
   */
  close(): Promise<void>;
}

/** Opens the files, starts the readers. @throws when a file is missing or not of the dataset's format. */
export async function openPipeline(heap: Heap, dataset: Dataset, options: PipelineOptions = {}): Promise<Pipeline> {
  const chosen = parseOptions(optionsSchema, options, "openPipeline");
  const { spec, layout } = dataset;
  const order = chosen.order ?? spec.order;
  const seed = chosen.seed ?? spec.shuffle;
  if (order === "file" && seed !== undefined) {
    throw new TypeError('openPipeline: order "file" keeps the order of the files, a seed shuffles it; choose one');
  }
  const readers = order === "file" ? 1 : (chosen.readers ?? spec.readers);
  // Several readers have no order among them, and would wait for each other's turns.
  const turns = readers === 1 && (order === "file" || chosen.turns);
  const { files, units } = chosen.resume
    ? resumeWork(chosen.resume, spec)
    : freshWork(spec, mixEpoch(seed, chosen.epoch));
  const rings = Rings.create(heap, { trainers: chosen.trainers, slots: chosen.slots, readers, turns, layout });
  if (chosen.resume !== undefined) {
    Atomics.store(rings.words, SEQUENCE, chosen.resume.delivered);
    Atomics.store(rings.words, RELEASED, chosen.resume.delivered);
  }
  const mixed = mixEpoch(seed, chosen.epoch);
  return new ReaderPool(heap, rings, {
    // Rows in memory are mixed as a whole, by their decoder.
    spec: spec.format === "tensors" && mixed !== undefined ? { ...spec, shuffle: mixed } : spec,
    files,
    units,
    rowsBefore: chosen.resume?.rows ?? 0,
    ...(mixed === undefined || spec.shuffleWindow === 0 ? {} : { shuffle: { rows: spec.shuffleWindow, seed: mixed } }),
  });
}

export function freshWork(spec: DatasetSpec, seed: number | undefined): { files: DataFile[]; units: FileRange[] } {
  if (spec.format === "tensors") {
    const files = [memoryFile(spec)];
    return { files, units: planUnits(files, spec, undefined) };
  }
  const files = expandPatterns(spec.patterns).map((path) => inspect(path, spec));
  return { files, units: planUnits(files, spec, seed) };
}

function resumeWork(state: PipelineState, spec: DatasetSpec): { files: DataFile[]; units: FileRange[] } {
  const files = state.files.map(({ path, bytes }) => {
    if (spec.format === "tensors") {
      const file = memoryFile(spec);
      if (file.bytes === bytes) return file;
      throw new Error(
        `cannot resume: the columns had ${bytes} bytes when they were being read and have ${file.bytes} now`,
      );
    }
    if (!existsSync(path)) throw new Error(`cannot resume: ${path}, which was being read, is gone`);
    const file = inspect(path, spec);
    if (file.bytes === bytes) return file;
    throw new Error(`cannot resume: ${path} had ${bytes} bytes when it was being read and has ${file.bytes} now`);
  });
  const units = state.ranges.map(({ file, start, end }) => ({ file, start, end: end ?? Number.POSITIVE_INFINITY }));
  return { files, units };
}

/** Another order in each epoch. */
export const mixEpoch = (seed: number | undefined, epoch: number): number | undefined =>
  seed === undefined ? undefined : (seed + Math.imul(epoch, 0x85ebca6b)) >>> 0;
