// One flat column of a Parquet file: which of its row groups the kernels can decode, and decoding them into the heap.
import type { ColumnMetaData, FileMetaData, PageHeader, SchemaElement } from "hyparquet";
import { parquetHeader } from "hyparquet/src/column.js";
import { decompressPage } from "hyparquet/src/datapage.js";
import { type Heap, instantiate } from "../memory/index.ts";
import type { ByteArena } from "./byte-arena.ts";
import { DataError } from "./errors.ts";
import { compressors } from "./parquet-file.ts";

interface PageKernel {
  decodeHybrid(from: number, end: number, width: number, count: number, out: number): number;
  countPresent(levels: number, count: number): number;
  plainNumbers(kind: number, from: number, count: number, scale: number, out: number): void;
  plainTexts(from: number, end: number, count: number, starts: number, lengths: number): number;
  gatherNumbers(dictionary: number, entries: number, indices: number, count: number, out: number): number;
  gatherWords(dictionary: number, entries: number, indices: number, count: number, out: number): number;
  gatherAddresses(dictionary: number, entries: number, indices: number, count: number, out: number): number;
  spreadNumbers(levels: number, rows: number, present: number, values: number): void;
  spreadWords(levels: number, rows: number, present: number, values: number): void;
  spreadAddresses(levels: number, rows: number, present: number, values: number): void;
}

export interface ParquetColumn {
  readonly name: string;
  readonly kind: "text" | "number";
  readonly isTime: boolean;
  readonly optional: boolean;
  /** What the kernels need to know of the physical numbers; without it hyparquet decodes the column. */
  readonly plain: { readonly code: number; readonly bytes: number; readonly scale: number } | undefined;
}

const TEXTS = new Set(["UTF8", "JSON", "ENUM", "STRING"]);
const PLAIN_NUMBERS: Readonly<Record<string, { code: number; bytes: number }>> = {
  INT32: { code: 0, bytes: 4 },
  INT64: { code: 1, bytes: 8 },
  FLOAT: { code: 2, bytes: 4 },
  DOUBLE: { code: 3, bytes: 8 },
};
/** Milliseconds of one unit of a time type. */
const TIME_SCALES: Readonly<Record<string, number>> = {
  DATE: 86_400_000,
  TIMESTAMP_MILLIS: 1,
  TIMESTAMP_MICROS: 1e-3,
  MILLIS: 1,
  MICROS: 1e-3,
  NANOS: 1e-6,
};

/** @throws DataError when the column is nested or holds neither text nor numbers. */
export function describeColumn(name: string, metadata: FileMetaData, path: string): ParquetColumn {
  const element = metadata.schema.find((candidate, i) => i > 0 && candidate.name === name) as SchemaElement;
  const { type, converted_type: converted, logical_type: logical, repetition_type: repetition } = element;
  if (repetition === "REPEATED" || (element.num_children ?? 0) > 0) {
    throw new DataError(`column "${name}" is nested; only flat columns can be read`, path);
  }
  const meaning = converted ?? logical?.type ?? "";
  const isDecimal = meaning === "DECIMAL";
  const isText = TEXTS.has(meaning) || logical?.type === "UUID" || (type === "BYTE_ARRAY" && !isDecimal);
  if (!isText && type === "FIXED_LEN_BYTE_ARRAY" && !isDecimal && logical?.type !== "FLOAT16") {
    throw new DataError(`column "${name}" holds raw bytes, neither text nor numbers`, path);
  }
  const timeScale = TIME_SCALES[logical?.type === "TIMESTAMP" ? logical.unit : meaning];
  const isTime = timeScale !== undefined || type === "INT96";
  const unsigned = meaning.startsWith("UINT") || (logical?.type === "INTEGER" && !logical.isSigned);
  const physical = isText ? (type === "BYTE_ARRAY" ? { code: 0, bytes: 0 } : undefined) : PLAIN_NUMBERS[type ?? ""];
  const plain = physical === undefined || unsigned || isDecimal ? undefined : { ...physical, scale: timeScale ?? 1 };
  return { name, kind: isText ? "text" : "number", isTime, optional: repetition !== "REQUIRED", plain };
}

const DICTIONARY_ENCODINGS = new Set(["PLAIN_DICTIONARY", "RLE_DICTIONARY"]);
const KNOWN_ENCODINGS = new Set([...DICTIONARY_ENCODINGS, "PLAIN", "RLE", "BIT_PACKED"]);

/** Whether `decodeChunk` knows the encodings of a column chunk. */
export const canDecode = (column: ParquetColumn, { encodings }: ColumnMetaData): boolean =>
  column.plain !== undefined && encodings.every((encoding) => KNOWN_ENCODINGS.has(encoding));

/** Rows of a row group. */
export interface RowSpan {
  readonly start: number;
  readonly end: number;
  /** All rows of the group: what the target has room for. */
  readonly rows: number;
}

/** Where decoded values go: float64 numbers at `first`, or addresses (`heap.addresses`) at `first` and u32 lengths at `second`. */
export interface ColumnTarget {
  readonly first: number;
  readonly second: number;
}

interface Dictionary {
  readonly entries: number;
  readonly first: number;
  readonly second: number;
}

export class ChunkDecoder {
  readonly #heap: Heap;
  readonly #kernel: PageKernel;
  /** Pages and dictionaries stay in it as long as texts are used. */
  readonly #arena: ByteArena;

  constructor(heap: Heap, arena: ByteArena) {
    this.#heap = heap;
    this.#kernel = instantiate<PageKernel>("parquet-pages", heap);
    this.#arena = arena;
  }

  /** Decodes at least the rows of `span`; the target has an entry for each row of the group. */
  decode(
    bytes: ArrayBuffer,
    column: ParquetColumn,
    metadata: ColumnMetaData,
    span: RowSpan,
    target: ColumnTarget,
  ): void {
    const reader = { view: new DataView(bytes), offset: 0 };
    let dictionary: Dictionary | undefined;
    for (let row = 0; row < span.end; ) {
      if (reader.offset >= bytes.byteLength) throw new Error(`its pages end after ${row} of ${span.rows} rows`);
      const header = parquetHeader(reader);
      const size = header.compressed_page_size;
      if (!(size >= 0) || reader.offset + size > bytes.byteLength) throw new Error("a page reaches beyond the column");
      const data = new Uint8Array(bytes, reader.offset, size);
      reader.offset += size;
      if (header.dictionary_page_header !== undefined) {
        const { num_values: entries } = header.dictionary_page_header;
        dictionary = this.#dictionary(unpack(data, header, metadata), column, entries);
        continue;
      }
      const rows = (header.data_page_header ?? header.data_page_header_v2)?.num_values;
      if (rows === undefined) continue;
      if (rows > span.rows - row) throw new Error(`a page holds ${rows} values where ${span.rows - row} rows are left`);
      if (row + rows > span.start) {
        this.#page(splitPage(data, header, metadata, column.optional), column, dictionary, {
          first: target.first + (column.kind === "text" ? this.#heap.addressBytes : 8) * row,
          second: target.second + 4 * row,
        });
      }
      row += rows;
    }
  }

  #dictionary(page: Uint8Array, column: ParquetColumn, entries: number): Dictionary {
    const from = this.#arena.put(page);
    const first = this.#arena.reserve(8 * entries, 8);
    const second = this.#arena.reserve(4 * entries, 8);
    this.#plain(column, from, from + page.length, entries, { first, second });
    return { entries, first, second };
  }

  #page(page: PageParts, column: ParquetColumn, dictionary: Dictionary | undefined, target: ColumnTarget): void {
    const { rows, encoding, levels, values } = page;
    const kernel = this.#kernel;
    let present = rows;
    let levelsAt = 0;
    if (levels !== undefined) {
      const from = this.#arena.put(levels);
      levelsAt = this.#arena.reserve(4 * rows, 8);
      requireWhole(kernel.decodeHybrid(from, from + levels.length, 1, rows, levelsAt), "levels");
      present = kernel.countPresent(levelsAt, rows);
    }
    const from = this.#arena.put(values);
    const end = from + values.length;
    if (encoding === "PLAIN") {
      this.#plain(column, from, end, present, target);
    } else if (DICTIONARY_ENCODINGS.has(encoding)) {
      if (dictionary === undefined) throw new Error("a page refers to a dictionary that is missing");
      const indices = this.#arena.reserve(4 * present, 8);
      const width = present === 0 ? 0 : (values[0] ?? 255);
      const whole =
        width === 0 ? this.#zero(indices, present) : kernel.decodeHybrid(from + 1, end, width, present, indices);
      requireWhole(whole, "dictionary indices");
      this.#gather(column, dictionary, indices, present, target);
    } else {
      throw new Error(`a page is encoded as ${encoding}, unlike its column says`);
    }
    if (present === rows) return;
    if (column.kind === "number") {
      kernel.spreadNumbers(levelsAt, rows, present, target.first);
    } else {
      kernel.spreadAddresses(levelsAt, rows, present, target.first);
      kernel.spreadWords(levelsAt, rows, present, target.second);
    }
  }

  #zero(indices: number, count: number): number {
    this.#heap.u32(indices, count).fill(0);
    return 1;
  }

  #gather(column: ParquetColumn, dictionary: Dictionary, indices: number, count: number, target: ColumnTarget): void {
    const { entries, first, second } = dictionary;
    const kernel = this.#kernel;
    if (column.kind === "number") {
      requireWhole(kernel.gatherNumbers(first, entries, indices, count, target.first), "dictionary indices");
    } else {
      requireWhole(kernel.gatherAddresses(first, entries, indices, count, target.first), "dictionary indices");
      kernel.gatherWords(second, entries, indices, count, target.second);
    }
  }

  #plain(column: ParquetColumn, from: number, end: number, count: number, target: ColumnTarget): void {
    const { code, bytes, scale } = column.plain!;
    if (column.kind === "text") {
      requireWhole(this.#kernel.plainTexts(from, end, count, target.first, target.second), "texts");
    } else {
      requireWhole(Number(count * bytes <= end - from), "numbers");
      this.#kernel.plainNumbers(code, from, count, scale, target.first);
    }
  }
}

function requireWhole(whole: number, what: string): void {
  if (whole === 0) throw new Error(`a page is damaged (its ${what})`);
}

function unpack(data: Uint8Array, header: PageHeader, { codec }: ColumnMetaData): Uint8Array {
  return decompressPage(data, header.uncompressed_page_size, codec, compressors);
}

interface PageParts {
  readonly rows: number;
  readonly encoding: string;
  /** Definition levels, where nulls are possible. */
  readonly levels: Uint8Array | undefined;
  readonly values: Uint8Array;
}

function splitPage(data: Uint8Array, header: PageHeader, metadata: ColumnMetaData, optional: boolean): PageParts {
  const v2 = header.data_page_header_v2;
  if (v2 !== undefined) {
    const start = v2.repetition_levels_byte_length;
    const end = start + v2.definition_levels_byte_length;
    if (end > data.length) throw new Error("a page is damaged (its levels)");
    const size = header.uncompressed_page_size - end;
    const packed = data.subarray(end);
    const values = v2.is_compressed === false ? packed : decompressPage(packed, size, metadata.codec, compressors);
    return {
      rows: v2.num_values,
      encoding: v2.encoding,
      levels: optional ? data.subarray(start, end) : undefined,
      values,
    };
  }
  const { num_values: rows, encoding } = header.data_page_header!;
  const page = unpack(data, header, metadata);
  if (!optional) return { rows, encoding, levels: undefined, values: page };
  if (page.length < 4) throw new Error("a page is damaged (its levels)");
  const end = 4 + new DataView(page.buffer, page.byteOffset, 4).getUint32(0, true);
  if (end > page.length) throw new Error("a page is damaged (its levels)");
  return { rows, encoding, levels: page.subarray(4, end), values: page.subarray(end) };
}
