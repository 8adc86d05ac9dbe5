// Parquet rows: the columns of a row group are decoded into the heap, the encoder turns blocks of them into batches.
// Kernels decode plain and dictionary pages; hyparquet decodes what is rarer.
import { type AsyncBuffer, type FileMetaData, parquetRead, type RowGroup } from "hyparquet";
import type { Heap } from "../memory/index.ts";
import { ByteArena } from "./byte-arena.ts";
import type { Decoder, NewDecoder } from "./decoder.ts";
import { DataError } from "./errors.ts";
import type { DataFile } from "./files.ts";
import type { BatchLayout } from "./layout.ts";
import { ChunkDecoder, canDecode, describeColumn, type ParquetColumn, type RowSpan } from "./parquet-column.ts";
import { compressors, openBuffer, readFooter } from "./parquet-file.ts";
import type { FileRange } from "./ring.ts";
import { sourceColumns } from "./schema.ts";
import type { ParquetSpec } from "./spec.ts";
import { CODE_NO_LABEL, CODE_NO_NUMBER, type SourceColumn, TableEncoder } from "./table-encoder.ts";
import { TextArena } from "./text-arena.ts";

/** Rows that are encoded at a time: what is computed for them stays in the second-level cache. */
const BLOCK_ROWS = 8192;

class ParquetDecoder implements Decoder {
  readonly #heap: Heap;
  readonly #encoder: TableEncoder;
  readonly #names: readonly string[];
  readonly #pages: ByteArena;
  readonly #texts: TextArena;
  readonly #chunks: ChunkDecoder;
  /** For each column a block: of float64, or of addresses (`heap.addresses`) and then u32 lengths. */
  #storage: number[] = [];
  #storageRows = 0;
  #file: (AsyncBuffer & { close(): void }) | undefined;
  #path = "";
  #bytesPerRow = 0;
  #metadata: FileMetaData | undefined;
  #groupStarts: readonly number[] = [];
  #columns: readonly ParquetColumn[] = [];
  #range: FileRange = { file: 0, start: 0, end: 0 };
  #groupStart = 0;
  /** Rows of the file: decoded up to; of the block that is being encoded. */
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
    this.#pages = new ByteArena(heap);
    this.#texts = new TextArena(heap);
    this.#chunks = new ChunkDecoder(heap, this.#pages);
  }

  async open(file: DataFile, range: FileRange): Promise<void> {
    if (this.#path !== file.path) {
      this.#metadata = readFooter(file.path).metadata;
      this.#columns = this.#names.map((name) => describeColumn(name, this.#metadata!, file.path));
    }
    this.#path = file.path;
    this.#groupStarts = file.rowGroups;
    this.#file = openBuffer(file.path);
    this.#bytesPerRow = file.bytes / Math.max(1, file.end);
    this.#range = range;
    this.#decoded = this.#blockStart = this.#blockEnd = this.#at = range.start;
    this.#selected = this.#encoded = 0;
  }

  async advance(): Promise<boolean> {
    const start = this.#decoded;
    if (start >= this.#range.end) return false;
    const next = this.#groupStarts.findIndex((first) => first > start);
    const index = (next < 0 ? this.#groupStarts.length : next) - 1;
    const group = this.#metadata!.row_groups[index]!;
    const rows = Number(group.num_rows);
    this.#groupStart = this.#groupStarts[index]!;
    const end = Math.min(this.#range.end, this.#groupStart + rows);
    this.#reserve(rows);
    try {
      await this.#decode(group, { start: start - this.#groupStart, end: end - this.#groupStart, rows });
    } catch (cause) {
      throw new DataError(`rows ${start} to ${end} cannot be decoded: ${(cause as Error).message}`, this.#path);
    }
    this.#decoded = end;
    this.#blockStart = this.#blockEnd = this.#at = start;
    return true;
  }

  #reserve(rows: number): void {
    this.#pages.clear();
    this.#texts.clear();
    if (rows <= this.#storageRows) return;
    for (const block of this.#storage) this.#heap.free(block);
    this.#storageRows = rows;
    this.#storage = this.#names.map(() => this.#heap.alloc((this.#heap.addressBytes + 4) * rows));
  }

  #lengthsOf(first: number): number {
    return first + this.#heap.addressBytes * this.#storageRows;
  }

  async #decode(group: RowGroup, span: RowSpan): Promise<void> {
    const others: string[] = [];
    for (const [i, column] of this.#columns.entries()) {
      const metadata = group.columns.find(
        (chunk) => chunk.meta_data?.path_in_schema.join(".") === column.name,
      )?.meta_data;
      if (metadata === undefined) throw new Error(`column "${column.name}" is missing`);
      if (!canDecode(column, metadata)) {
        others.push(column.name);
        continue;
      }
      const from = Number(metadata.dictionary_page_offset || metadata.data_page_offset);
      const bytes = await this.#file!.slice(from, from + Number(metadata.total_compressed_size));
      const first = this.#storage[i]!;
      try {
        this.#chunks.decode(bytes, column, metadata, span, { first, second: this.#lengthsOf(first) });
      } catch (cause) {
        throw new Error(`column "${column.name}": ${(cause as Error).message}`, { cause });
      }
    }
    if (others.length > 0) await this.#decodeOthers(others, span);
  }

  /** The slow way, by JavaScript arrays. */
  async #decodeOthers(columns: string[], span: RowSpan): Promise<void> {
    const intern = (bytes: Uint8Array | undefined): number | undefined => bytes && this.#texts.add(bytes);
    await parquetRead({
      file: this.#file!,
      metadata: this.#metadata!,
      columns,
      rowStart: this.#groupStart + span.start,
      rowEnd: this.#groupStart + span.end,
      compressors,
      parsers: {
        stringFromBytes: intern,
        jsonFromBytes: intern,
        uuidFromBytes: intern,
        dateFromDays: (days) => days * 86_400_000,
        timestampFromMilliseconds: (x) => Number(x),
        timestampFromMicroseconds: (x) => Number(x) / 1e3,
        timestampFromNanoseconds: (x) => Number(x) / 1e6,
      },
      onChunk: ({ columnName, columnData, rowStart }) => {
        const i = this.#names.indexOf(columnName);
        const first = this.#storage[i]!;
        const at = rowStart - this.#groupStart;
        if (at + columnData.length > span.rows) throw new Error(`column "${columnName}" has too many values`);
        if (this.#columns[i]!.kind === "number") {
          copyNumbers(columnData, this.#heap.f64(first + 8 * at, columnData.length));
        } else {
          const lengths = this.#heap.u32(this.#lengthsOf(first), span.rows);
          this.#texts.copyEntries(columnData, this.#heap.addresses(first, span.rows), lengths, at);
        }
      },
    });
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
    this.#blockStart = this.#blockEnd;
    this.#blockEnd += rows;
    this.#at = this.#blockEnd;
    const row = this.#blockStart - this.#groupStart;
    const sources = new Map<string, SourceColumn>();
    this.#columns.forEach(({ name, kind, isTime }, i) => {
      const first = this.#storage[i]!;
      if (kind === "number") sources.set(name, { kind, values: first + 8 * row, isTime });
      else
        sources.set(name, {
          kind,
          starts: first + this.#heap.addressBytes * row,
          lengths: this.#lengthsOf(first) + 4 * row,
        });
    });
    const codes = this.#heap.u8(this.#encoder.codes, rows).fill(0);
    this.#encoded = 0;
    this.#selected = this.#encoder.load(rows, sources);
    if (this.#selected < rows) this.#refuseBadRows(codes);
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

  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  free(): void {
    this.#encoder.free();
    this.#pages.free();
    this.#texts.free();
    for (const block of this.#storage) this.#heap.free(block);
  }
}

function copyNumbers(values: ArrayLike<unknown>, out: Float64Array): void {
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    out[i] = value === null || value === undefined ? Number.NaN : Number(value);
  }
}

export const newParquetDecoder: NewDecoder = (heap, spec, layout) =>
  new ParquetDecoder(heap, spec as ParquetSpec, layout);
