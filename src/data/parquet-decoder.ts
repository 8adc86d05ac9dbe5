// Parquet rows: hyparquet decodes the pages of a row group, its columns go to the heap block by block, the encoder turns
// them into batches. Texts are copied once per dictionary entry.
import { type AsyncBuffer, type FileMetaData, parquetRead, type SchemaElement } from "hyparquet";
import type { Heap } from "../memory/index.ts";
import type { Decoder, NewDecoder } from "./decoder.ts";
import { DataError } from "./errors.ts";
import type { DataFile } from "./files.ts";
import type { BatchLayout } from "./layout.ts";
import { compressors, openBuffer, readFooter } from "./parquet-file.ts";
import type { FileRange } from "./ring.ts";
import { sourceColumns } from "./schema.ts";
import type { ParquetSpec } from "./spec.ts";
import { CODE_NO_LABEL, CODE_NO_NUMBER, type SourceColumn, TableEncoder } from "./table-encoder.ts";
import { TextArena } from "./text-arena.ts";

/** Rows that go to the heap at a time: their columns stay in the second-level cache. */
const BLOCK_ROWS = 8192;

/** The decoded values of a column: numbers, or indices of texts in the arena; null where missing. */
type Values = ArrayLike<number | bigint | boolean | Date | null | undefined>;

interface Column {
  readonly name: string;
  readonly kind: "text" | "number";
  readonly isTime: boolean;
  /** Of the present row group: `values` from `next` to `end`, page after page. */
  readonly pages: Page[];
}

interface Page {
  readonly values: Values;
  next: number;
  readonly end: number;
}

class ParquetDecoder implements Decoder {
  readonly #heap: Heap;
  readonly #encoder: TableEncoder;
  readonly #names: readonly string[];
  /** Two arrays of a block for each column: addresses and lengths of texts, or float64 numbers over both. */
  readonly #memory: readonly number[];
  readonly #arena: TextArena;
  #file: (AsyncBuffer & { close(): void }) | undefined;
  #path = "";
  #bytesPerRow = 0;
  #metadata: FileMetaData | undefined;
  #columns: Column[] = [];
  #sources: ReadonlyMap<string, SourceColumn> = new Map();
  #range: FileRange = { file: 0, start: 0, end: 0 };
  /** Rows of the range: decoded up to, in the heap from and to. */
  #decoded = 0;
  #blockStart = 0;
  #blockEnd = 0;
  #selected = 0;
  #encoded = 0;
  #at = 0;

  constructor(heap: Heap, spec: ParquetSpec, layout: BatchLayout) {
    this.#heap = heap;
    this.#encoder = new TableEncoder(heap, spec, layout, BLOCK_ROWS);
    this.#names = sourceColumns(spec.schema, spec.where);
    this.#memory = this.#names.map(() => heap.alloc(8 * BLOCK_ROWS));
    this.#arena = new TextArena(heap);
  }

  async open(file: DataFile, range: FileRange): Promise<void> {
    this.#path = file.path;
    this.#metadata = readFooter(file.path).metadata;
    this.#file = openBuffer(file.path);
    this.#bytesPerRow = file.bytes / Math.max(1, file.end);
    this.#range = range;
    this.#decoded = this.#blockStart = this.#blockEnd = this.#at = range.start;
    this.#selected = this.#encoded = 0;
    this.#columns = this.#names.map((name) => describeColumn(name, this.#metadata!, file.path));
    this.#sources = new Map(
      this.#columns.map(({ name, kind, isTime }, i) => {
        const at = this.#memory[i]!;
        const source =
          kind === "text" ? { kind, starts: at, lengths: at + 4 * BLOCK_ROWS } : { kind, values: at, isTime };
        return [name, source as SourceColumn];
      }),
    );
  }

  async advance(): Promise<boolean> {
    const start = this.#decoded;
    if (start >= this.#range.end) return false;
    const groups = readGroupStarts(this.#metadata!);
    const end = Math.min(this.#range.end, groups.find((first) => first > start) ?? Number.POSITIVE_INFINITY);
    this.#arena.clear();
    for (const column of this.#columns) column.pages.length = 0;
    if (this.#names.length > 0) await this.#read(start, end);
    this.#decoded = end;
    this.#blockStart = this.#blockEnd = this.#at = start;
    return true;
  }

  async #read(start: number, end: number): Promise<void> {
    const intern = (bytes: Uint8Array | undefined): number | undefined => bytes && this.#arena.add(bytes);
    try {
      await parquetRead({
        file: this.#file!,
        metadata: this.#metadata!,
        columns: [...this.#names],
        rowStart: start,
        rowEnd: end,
        compressors,
        parsers: {
          stringFromBytes: intern,
          jsonFromBytes: intern,
          uuidFromBytes: intern,
          dateFromDays: (days: number) => days * 86_400_000,
          timestampFromMilliseconds: (x: bigint) => Number(x),
          timestampFromMicroseconds: (x: bigint) => Number(x) / 1e3,
          timestampFromNanoseconds: (x: bigint) => Number(x) / 1e6,
        } as never,
        onChunk: ({ columnName, columnData, rowStart, rowEnd }) => {
          const column = this.#columns.find(({ name }) => name === columnName)!;
          const next = Math.max(0, start - rowStart);
          const last = Math.min(rowEnd, end) - rowStart;
          if (next < last) column.pages.push({ values: columnData as Values, next, end: last });
        },
      });
    } catch (cause) {
      throw new DataError(`rows ${start} to ${end} cannot be decoded: ${(cause as Error).message}`, this.#path);
    }
    for (const { name, pages } of this.#columns) {
      const rows = pages.reduce((sum, page) => sum + page.end - page.next, 0);
      if (rows === end - start) continue;
      throw new DataError(`column "${name}" has ${rows} values for rows ${start} to ${end}`, this.#path);
    }
  }

  fill(address: number, row: number, most: number): number {
    let rows = 0;
    while (rows < most) {
      if (this.#encoded === this.#selected) {
        if (this.#blockEnd >= this.#decoded) break;
        this.#loadBlock();
        continue;
      }
      const count = Math.min(most - rows, this.#selected - this.#encoded);
      this.#encoder.encode(this.#encoded, count, address, row + rows);
      this.#encoded += count;
      const done = this.#encoded === this.#selected;
      this.#at = done ? this.#blockEnd : this.#blockStart + this.#encoder.rowOf(this.#encoded);
      rows += count;
    }
    return rows;
  }

  #loadBlock(): void {
    const rows = Math.min(BLOCK_ROWS, this.#decoded - this.#blockEnd);
    this.#blockStart = this.#at = this.#blockEnd;
    this.#blockEnd += rows;
    this.#columns.forEach((column, i) => {
      this.#take(column, this.#memory[i]!, rows);
    });
    const codes = this.#heap.u8(this.#encoder.codes, rows).fill(0);
    this.#encoded = 0;
    this.#selected = this.#encoder.load(rows, this.#sources);
    if (this.#selected < rows) this.#refuseBadRows(codes);
  }

  /** Moves the next `rows` values of a column to the heap. */
  #take(column: Column, address: number, rows: number): void {
    const numbers = this.#heap.f64(address, BLOCK_ROWS);
    const starts = this.#heap.u32(address, BLOCK_ROWS);
    const lengths = this.#heap.u32(address + 4 * BLOCK_ROWS, BLOCK_ROWS);
    for (let done = 0; done < rows; ) {
      const page = column.pages[0]!;
      const count = Math.min(rows - done, page.end - page.next);
      if (column.kind === "text") this.#arena.copyEntries(page, count, starts, lengths, done);
      else copyNumbers(page, count, numbers, done);
      page.next += count;
      done += count;
      if (page.next === page.end) column.pages.shift();
    }
  }

  #refuseBadRows(codes: Uint8Array): void {
    const row = codes.findIndex((code) => code === CODE_NO_NUMBER || code === CODE_NO_LABEL);
    if (row < 0) return;
    const details = this.#heap.u32(this.#encoder.details, codes.length);
    const problem =
      codes[row] === CODE_NO_LABEL ? "has no label" : `has no number or time in column "${this.#names[details[row]!]}"`;
    throw new DataError(`row ${this.#blockStart + row} ${problem}; filter such rows out`, this.#path);
  }

  get position(): number {
    return this.#at;
  }

  get fileBytes(): number {
    return (this.#decoded - this.#range.start) * this.#bytesPerRow;
  }

  async close(): Promise<void> {
    this.#file?.close();
    this.#file = undefined;
  }

  free(): void {
    this.#encoder.free();
    this.#arena.free();
    for (const block of this.#memory) this.#heap.free(block);
  }
}

function copyNumbers({ values, next }: Page, count: number, out: Float64Array, at: number): void {
  for (let i = 0; i < count; i++) {
    const value = values[next + i];
    out[at + i] = value === null || value === undefined ? Number.NaN : Number(value);
  }
}

function readGroupStarts(metadata: FileMetaData): number[] {
  let row = 0;
  return metadata.row_groups.map((group) => {
    const start = row;
    row += Number(group.num_rows);
    return start;
  });
}

const TIMES = new Set(["DATE", "TIMESTAMP_MILLIS", "TIMESTAMP_MICROS"]);
const TEXTS = new Set(["UTF8", "JSON", "ENUM"]);

function describeColumn(name: string, metadata: FileMetaData, path: string): Column {
  const element = metadata.schema.find((candidate, i) => i > 0 && candidate.name === name) as SchemaElement;
  const { type, converted_type: converted, logical_type: logical } = element;
  const kindOf = logical?.type ?? converted;
  const isTime =
    TIMES.has(converted ?? "") || logical?.type === "TIMESTAMP" || logical?.type === "DATE" || type === "INT96";
  if (element.repetition_type === "REPEATED" || (element.num_children ?? 0) > 0) {
    throw new DataError(`column "${name}" is nested; only flat columns can be read`, path);
  }
  const isText =
    kindOf === "UUID" ||
    kindOf === "STRING" ||
    TEXTS.has(converted ?? "") ||
    (type === "BYTE_ARRAY" && converted !== "DECIMAL");
  if (!isText && type === "FIXED_LEN_BYTE_ARRAY" && converted !== "DECIMAL" && kindOf !== "FLOAT16") {
    throw new DataError(`column "${name}" holds raw bytes, neither text nor numbers`, path);
  }
  return { name, kind: isText ? "text" : "number", isTime, pages: [] };
}

export const newParquetDecoder: NewDecoder = (heap, spec, layout) =>
  new ParquetDecoder(heap, spec as ParquetSpec, layout);
