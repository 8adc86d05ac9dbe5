// What the reader loop asks of a file format.
import type { Heap } from "../memory/index.ts";
import type { BadLine } from "./errors.ts";
import type { DataFile } from "./files.ts";
import type { BatchLayout } from "./layout.ts";
import type { FileRange } from "./ring.ts";
import type { DatasetSpec } from "./spec.ts";

export interface Decoder {
  open(file: DataFile, range: FileRange): Promise<void>;
  /**
   * Decodes rows that are in memory into rows `row` to `row + most` of the slot at `address`. Returns how many; 0 when
   * nothing is left in memory. @throws BadLineError
   */
  fill(address: number, row: number, most: number): number;
  /** Brings more into memory; false at the end of the range. */
  advance(): Promise<boolean>;
  /** Where the rows not yet decoded start: in the units of the range. */
  readonly position: number;
  /** Bytes of the file read since `open`, for progress. */
  readonly fileBytes: number;
  close(): void;
  free(): void;
}

/** Thrown out of `fill` by the first bad line where lines must not be skipped. */
export class BadLineError extends Error {
  readonly badLine: BadLine;

  constructor(badLine: BadLine) {
    super(badLine.problem);
    this.badLine = badLine;
  }
}

/** Receives bad lines: throws or counts them, as the dataset says. */
export type OnBadLine = (line: BadLine) => void;

export type NewDecoder = (heap: Heap, spec: DatasetSpec, layout: BatchLayout, onBadLine: OnBadLine) => Decoder;

/** The decoder of a format; only what it needs is loaded, so that a reader thread starts quickly. */
export async function decoderOf(format: DatasetSpec["format"]): Promise<NewDecoder> {
  switch (format) {
    case "criteo":
      return (await import("./criteo-decoder.ts")).newCriteoDecoder;
    case "csv":
      return (await import("./csv-decoder.ts")).newCsvDecoder;
    case "parquet":
      return (await import("./parquet-decoder.ts")).newParquetDecoder;
    case "tensors":
      return (await import("./tensor-decoder.ts")).newTensorDecoder;
    default:
      throw new Error(`no decoder for format "${format satisfies never}"`);
  }
}
