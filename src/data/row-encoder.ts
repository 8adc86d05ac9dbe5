// Encoding of single rows for predictions: lines or objects to a batch of the layout that training saw.
import type { Heap } from "../memory/index.ts";
import { CriteoParser, criteoProblem } from "./criteo-decoder.ts";
import type { Dataset } from "./dataset.ts";
import { DataError, quoted } from "./errors.ts";
import { type BatchLayout, CRITEO_CATEGORICAL, CRITEO_DENSE } from "./layout.ts";
import { padRows } from "./padding.ts";
import type { CriteoSpec } from "./spec.ts";
import { TableRows } from "./table-rows.ts";

/** A row by the names of its columns; those of Criteo are I1 to I13 and C1 to C26. Absent values are missing. */
export type RowObject = Readonly<
  Record<string, string | number | boolean | Date | readonly string[] | null | undefined>
>;

/** What a format does with rows that come one by one. */
export interface RowFormat {
  /** The line as the parser wants it. */
  prepareLine(line: string): string;
  /** Parses the lines of [from, end) into the slot. @throws DataError */
  parseLines(from: number, end: number, slot: number, source: string): number;
  /** @throws DataError */
  encodeObjects(rows: readonly RowObject[], slot: number, source: string): void;
  free(): void;
}

/** Parsers load a few bytes beyond the text. */
const PADDING = 64;

/**
 * Labels are not needed and `where` filters do not apply. One thread uses an encoder.
 * @example
 * const encoder = RowEncoder.create(heap, dataset);
 * const rows = encoder.encodeLines(lines); // then run the model on the batch at encoder.slot
 */
export class RowEncoder {
  readonly layout: BatchLayout;
  /** Address of the batch that the last call filled. */
  readonly slot: number;
  readonly #heap: Heap;
  readonly #format: RowFormat;
  #text = 0;
  #textBytes = 0;

  private constructor(heap: Heap, layout: BatchLayout, format: RowFormat) {
    this.#heap = heap;
    this.layout = layout;
    this.slot = heap.alloc(layout.bytes);
    this.#format = format;
  }

  /** @param columns of CSV lines whose files have a header: the names in the order of the lines */
  static create(heap: Heap, dataset: Dataset, columns?: readonly string[]): RowEncoder {
    const { fileSpec: spec, layout } = dataset;
    if (spec.format === "criteo") return new RowEncoder(heap, layout, new CriteoRows(heap, spec, layout));
    const names = columns ?? (spec.format === "csv" ? spec.columns : undefined);
    return new RowEncoder(heap, layout, new TableRows(heap, spec, layout, names));
  }

  /**
   * Encodes at most `layout.batch` lines; Criteo lines may lack the label. Returns the rows.
   * @param source names the lines in messages
   * @throws DataError that says which line is bad and why
   */
  encodeLines(lines: readonly string[], source = "input"): number {
    this.#requireRoom(lines.length);
    const prepared = lines.map((line, i) => {
      if (line.trim() === "") throw new DataError("expected a row, found a blank line", source, i + 1);
      if (line.includes("\n")) throw new DataError(`expected one line, found ${quoted(line)}`, source, i + 1);
      return `${this.#format.prepareLine(line)}\n`;
    });
    const bytes = Buffer.from(prepared.join(""));
    this.#reserve(bytes.length);
    this.#heap.u8(this.#text, bytes.length).set(bytes);
    const rows = this.#format.parseLines(this.#text, this.#text + bytes.length, this.slot, source);
    padRows(this.#heap, this.layout, this.slot, rows);
    return rows;
  }

  /** As `encodeLines`, of objects. */
  encodeObjects(rows: readonly RowObject[], source = "input"): number {
    this.#requireRoom(rows.length);
    this.#format.encodeObjects(rows, this.slot, source);
    padRows(this.#heap, this.layout, this.slot, rows.length);
    return rows.length;
  }

  #requireRoom(rows: number): void {
    const { batch } = this.layout;
    if (rows > batch)
      throw new RangeError(`a batch of this dataset holds ${batch} rows, got ${rows}; encode them in parts`);
  }

  #reserve(bytes: number): void {
    if (bytes + PADDING <= this.#textBytes) return;
    if (this.#text !== 0) this.#heap.free(this.#text);
    this.#textBytes = 2 * (bytes + PADDING);
    this.#text = this.#heap.alloc(this.#textBytes);
  }

  free(): void {
    this.#format.free();
    this.#heap.free(this.slot);
    if (this.#text !== 0) this.#heap.free(this.#text);
  }
}

const TABS_WITHOUT_LABEL = CRITEO_DENSE + CRITEO_CATEGORICAL - 1;
const CRITEO_NAMES = [
  ...Array.from({ length: CRITEO_DENSE }, (_, i) => `I${i + 1}`),
  ...Array.from({ length: CRITEO_CATEGORICAL }, (_, i) => `C${i + 1}`),
];

class CriteoRows implements RowFormat {
  readonly #parser: CriteoParser;
  readonly #batch: number;
  readonly #heap: Heap;

  constructor(heap: Heap, spec: CriteoSpec, layout: BatchLayout) {
    this.#parser = new CriteoParser(heap, { ...spec, labels: true }, layout);
    this.#batch = layout.batch;
    this.#heap = heap;
  }

  prepareLine(line: string): string {
    return line.split("\t").length - 1 === TABS_WITHOUT_LABEL ? `0\t${line}` : line;
  }

  parseLines(from: number, end: number, slot: number, source: string): number {
    const rows = this.#parser.parse(from, end, slot, 0, this.#batch);
    if (!this.#parser.atBadLine) return rows;
    throw new DataError(criteoProblem(this.#parser.line(end).text), source, rows + 1);
  }

  encodeObjects(rows: readonly RowObject[], slot: number, source: string): void {
    const lines = rows.map((row) => `0\t${CRITEO_NAMES.map((name) => row[name] ?? "").join("\t")}\n`);
    const bytes = Buffer.from(lines.join(""));
    const text = this.#heap.alloc(bytes.length + PADDING);
    try {
      this.#heap.u8(text, bytes.length).set(bytes);
      this.parseLines(text, text + bytes.length, slot, source);
    } finally {
      this.#heap.free(text);
    }
  }

  free(): void {
    this.#parser.free();
  }
}
