// CSV text: one kernel finds the fields of a block of rows, the encoder turns them into batches.
import { type Heap, instantiate } from "../memory/index.ts";
import { splitLine } from "./csv-header.ts";
import type { Decoder, NewDecoder, OnBadLine } from "./decoder.ts";
import { quoted } from "./errors.ts";
import type { DataFile } from "./files.ts";
import type { BatchLayout } from "./layout.ts";
import type { FileRange } from "./ring.ts";
import { sourceColumns } from "./schema.ts";
import type { CsvSpec } from "./spec.ts";
import { CODE_NO_LABEL, CODE_NO_NUMBER, type SourceColumn, TableEncoder } from "./table-encoder.ts";
import { TextBlocks } from "./text-blocks.ts";

interface ScanKernel {
  scan(
    from: number,
    end: number,
    delimiter: number,
    quote: number,
    trim: boolean,
    multiline: boolean,
    isLast: boolean,
    fields: number,
    wanted: number,
    missing: number,
    missingCount: number,
    maxRows: number,
    starts: number,
    lengths: number,
    rowStarts: number,
    codes: number,
    details: number,
    result: number,
  ): number;
  unescape(starts: number, lengths: number, count: number, quote: number): void;
}

/** Rows found at a time: their fields' addresses stay in the first-level cache. */
const BLOCK_ROWS = 1024;
const NO_QUOTE = 256;
const CODE_WRONG_FIELD_COUNT = 1;
const CODE_BAD_QUOTE = 2;

/** Receives where a bad row starts, what is wrong, and its index among the rows of the block. */
type OnBadRow = (rowStart: number, problem: string, row: number) => void;

/** Rows of CSV text in the heap, encoded by a schema. */
export class CsvParser {
  readonly #heap: Heap;
  readonly #spec: CsvSpec;
  readonly #kernel: ScanKernel;
  readonly #encoder: TableEncoder;
  readonly #names: readonly string[];
  readonly #columns: ReadonlyMap<string, SourceColumn>;
  readonly #starts: number;
  readonly #lengths: number;
  /** Bytes behind `#from`. */
  readonly #rowStarts: Uint32Array;
  #from = 0;
  readonly #missing: number;
  readonly #result: Uint32Array;
  #wanted = 0;
  #fileColumns: readonly string[] = [];
  #rows = 0;
  #selected = 0;
  #encoded = 0;

  constructor(heap: Heap, spec: CsvSpec, layout: BatchLayout) {
    this.#heap = heap;
    this.#spec = spec;
    this.#kernel = instantiate<ScanKernel>("scan-csv", heap);
    this.#encoder = new TableEncoder(heap, spec, layout, BLOCK_ROWS);
    this.#names = sourceColumns(spec.schema, spec.where);
    this.#starts = heap.alloc(heap.addressBytes * BLOCK_ROWS * Math.max(1, this.#names.length));
    this.#lengths = heap.alloc(4 * BLOCK_ROWS * Math.max(1, this.#names.length));
    this.#columns = new Map(
      this.#names.map((name, i) => [
        name,
        {
          kind: "text",
          starts: this.#starts + heap.addressBytes * BLOCK_ROWS * i,
          lengths: this.#lengths + 4 * BLOCK_ROWS * i,
        } as const,
      ]),
    );
    this.#rowStarts = heap.u32(heap.alloc(4 * BLOCK_ROWS), BLOCK_ROWS);
    this.#missing = heap.alloc(16 * Math.max(1, spec.missing.length));
    spec.missing.forEach((marker, i) => {
      const bytes = new TextEncoder().encode(marker);
      if (bytes.length > 8) throw new TypeError(`data.csv: option missing: ${quoted(marker)} has more than 8 bytes`);
      heap.u8(this.#missing + 16 * i, 8).set(bytes);
      heap.u32(this.#missing + 16 * i + 8, 1)[0] = bytes.length;
    });
    this.#result = heap.u32(heap.alloc(8), 2);
  }

  /** Says in which order the coming text has its columns. */
  setColumns(columns: readonly string[]): void {
    if (this.#wanted !== 0) this.#heap.free(this.#wanted);
    this.#wanted = this.#heap.alloc(4 * Math.max(1, columns.length));
    this.#heap.i32(this.#wanted, columns.length).set(columns.map((name) => this.#names.indexOf(name)));
    this.#fileColumns = columns;
  }

  /** Finds the next rows of [from, end), at most 1024. Returns where the text after them starts. */
  load(from: number, end: number, isLast: boolean, onBadRow: OnBadRow): number {
    const { delimiter, quote, trim, multiline, missing } = this.#spec;
    const quoteCode = quote === false ? NO_QUOTE : quote.charCodeAt(0);
    const encoder = this.#encoder;
    this.#encoded = 0;
    this.#selected = 0;
    this.#rows = this.#kernel.scan(
      from,
      end,
      delimiter.charCodeAt(0),
      quoteCode,
      trim,
      multiline,
      isLast,
      this.#fileColumns.length,
      this.#wanted,
      this.#missing,
      missing.length,
      BLOCK_ROWS,
      this.#starts,
      this.#lengths,
      this.#rowStarts.byteOffset,
      encoder.codes,
      encoder.details,
      this.#result.byteOffset,
    );
    this.#from = from;
    const next = from + this.#result[0]!;
    if (this.#result[1] !== 0) {
      for (let i = 0; i < this.#names.length; i++) {
        const starts = this.#starts + this.#heap.addressBytes * BLOCK_ROWS * i;
        this.#kernel.unescape(starts, this.#lengths + 4 * BLOCK_ROWS * i, this.#rows, quoteCode);
      }
    }
    this.#selected = encoder.load(this.#rows, this.#columns);
    if (this.#selected < this.#rows) this.#reportBadRows(next, onBadRow);
    return next;
  }

  /** Selected rows not yet encoded. */
  get left(): number {
    return this.#selected - this.#encoded;
  }

  /** Encodes the next `count` selected rows. Returns the address of the first row not yet encoded; 0 when all are. */
  encode(count: number, address: number, row: number): number {
    this.#encoder.encode(this.#encoded, count, address, row);
    this.#encoded += count;
    return this.left === 0 ? 0 : this.#from + this.#rowStarts[this.#encoder.rowOf(this.#encoded)]!;
  }

  #reportBadRows(end: number, onBadRow: OnBadRow): void {
    const codes = this.#heap.u8(this.#encoder.codes, this.#rows);
    const details = this.#heap.u32(this.#encoder.details, this.#rows);
    for (let row = 0; row < this.#rows; row++) {
      const code = codes[row]!;
      if (code === 0 || code === 255) continue;
      const start = this.#from + this.#rowStarts[row]!;
      const stop = row + 1 < this.#rows ? this.#from + this.#rowStarts[row + 1]! : end;
      const text = Buffer.from(this.#heap.memory.buffer, start, stop - start)
        .toString("utf8")
        .trimEnd();
      onBadRow(start, this.#problem(code, details[row]!, text), row);
    }
  }

  #problem(code: number, detail: number, row: string): string {
    const expected = this.#fileColumns.length;
    switch (code) {
      case CODE_WRONG_FIELD_COUNT:
        return `expected ${expected} fields, found ${detail} in ${quoted(row)}`;
      case CODE_BAD_QUOTE:
        return (
          `column ${detail + 1} (${this.#fileColumns[detail] ?? "beyond the last"}): a quoted field is not closed, or ` +
          `text follows its closing quote, in ${quoted(row)}; if fields may hold line breaks pass multiline: true, if ` +
          "quotes are ordinary characters quote: false"
        );
      case CODE_NO_NUMBER:
        return this.#badValue(this.#names[detail]!, "a number or a time", row);
      case CODE_NO_LABEL:
        return this.#badValue(this.#spec.schema.label!.column, "a number for the label", row);
      default:
        return `cannot be read: ${quoted(row)}`;
    }
  }

  #badValue(name: string, expected: string, row: string): string {
    const index = this.#fileColumns.indexOf(name);
    const found = splitLine(row, this.#spec)[index] ?? "";
    return `column ${index + 1} (${name}): expected ${expected}, found ${quoted(found)}`;
  }

  free(): void {
    this.#encoder.free();
    const blocks = [this.#starts, this.#lengths, this.#rowStarts.byteOffset, this.#missing, this.#result.byteOffset];
    for (const block of blocks) this.#heap.free(block);
    if (this.#wanted !== 0) this.#heap.free(this.#wanted);
  }
}

class CsvDecoder implements Decoder {
  readonly #blocks: TextBlocks;
  readonly #parser: CsvParser;
  readonly #onBadLine: OnBadLine;
  /** Where the text not yet scanned starts. */
  #next = 0;
  /** Where the rows not yet encoded start. */
  #at = 0;

  constructor(heap: Heap, spec: CsvSpec, layout: BatchLayout, onBadLine: OnBadLine) {
    this.#blocks = new TextBlocks(heap);
    this.#parser = new CsvParser(heap, spec, layout);
    this.#onBadLine = onBadLine;
  }

  async open(file: DataFile, range: FileRange): Promise<void> {
    this.#parser.setColumns(file.columns);
    this.#blocks.open(file.path, file.gzip, range.start, range.end, range.start === file.start);
    this.#next = this.#at = this.#blocks.begin;
  }

  fill(address: number, row: number, most: number): number {
    const blocks = this.#blocks;
    let rows = 0;
    while (rows < most) {
      if (this.#parser.left === 0) {
        if (this.#next >= blocks.end) break;
        const from = this.#next;
        this.#next = this.#parser.load(from, blocks.end, blocks.isLast, (start, problem) =>
          this.#onBadLine({ offset: blocks.offsetOf(start), problem }),
        );
        this.#at = this.#next;
        if (this.#next === from) break;
        continue;
      }
      const count = Math.min(most - rows, this.#parser.left);
      this.#at = this.#parser.encode(count, address, row + rows) || this.#next;
      rows += count;
    }
    return rows;
  }

  async advance(): Promise<boolean> {
    this.#blocks.begin = this.#next;
    const more = await this.#blocks.advance();
    this.#next = this.#at = this.#blocks.begin;
    return more;
  }

  get position(): number {
    return this.#blocks.offsetOf(this.#at);
  }

  get fileBytes(): number {
    return this.#blocks.fileBytes;
  }

  close(): void {
    this.#blocks.close();
  }

  free(): void {
    this.#blocks.free();
    this.#parser.free();
  }
}

export const newCsvDecoder: NewDecoder = (heap, spec, layout, onBadLine) =>
  new CsvDecoder(heap, spec as CsvSpec, layout, onBadLine);
