// Rows of a schema from lines of CSV or from objects, for predictions: no label, no filters.
import type { Heap } from "../memory/index.ts";
import { CsvParser } from "./csv-decoder.ts";
import { DataError, quoted } from "./errors.ts";
import type { BatchLayout } from "./layout.ts";
import type { RowFormat, RowObject } from "./row-encoder.ts";
import { sourceColumns } from "./schema.ts";
import type { CsvSpec, TableSpec } from "./spec.ts";
import { type SourceColumn, TableEncoder } from "./table-encoder.ts";
import { TextArena } from "./text-arena.ts";

const textEncoder = new TextEncoder();

export class TableRows implements RowFormat {
  readonly #heap: Heap;
  readonly #spec: TableSpec;
  readonly #names: readonly string[];
  readonly #encoder: TableEncoder;
  readonly #arena: TextArena;
  /** For each column a block: of float64, or of addresses (`heap.addresses`) and then u32 lengths. */
  readonly #memory: readonly number[];
  readonly #csv: CsvParser | undefined;
  readonly #batch: number;

  constructor(heap: Heap, spec: TableSpec, layout: BatchLayout, columns: readonly string[] | undefined) {
    const { label: _, ...schema } = spec.schema;
    this.#spec = { ...spec, schema, where: [] };
    this.#heap = heap;
    this.#batch = layout.batch;
    this.#names = sourceColumns(this.#spec.schema, []);
    this.#encoder = new TableEncoder(heap, this.#spec, layout, layout.batch);
    this.#arena = new TextArena(heap);
    this.#memory = this.#names.map(() => heap.alloc((heap.addressBytes + 4) * layout.batch));
    if (spec.format !== "csv" || columns === undefined) return;
    const missing = this.#names.find((name) => !columns.includes(name));
    if (missing !== undefined)
      throw new Error(`the lines have no column "${missing}"; they have ${columns.join(", ")}`);
    this.#csv = new CsvParser(heap, this.#spec as CsvSpec, layout);
    this.#csv.setColumns(columns);
  }

  prepareLine(line: string): string {
    if (this.#csv === undefined) {
      throw new Error(
        this.#spec.format === "csv"
          ? "encodeLines: the order of the columns is in the files' header; pass it to RowEncoder.create"
          : "encodeLines: Parquet rows have no lines; use encodeObjects",
      );
    }
    return line;
  }

  parseLines(from: number, end: number, slot: number, source: string): number {
    const csv = this.#csv!;
    let rows = 0;
    for (let at = from; at < end; ) {
      at = csv.load(at, end, true, (_, problem, row) => {
        throw new DataError(problem, source, rows + row + 1);
      });
      const count = csv.left;
      csv.encode(count, slot, rows);
      rows += count;
    }
    return rows;
  }

  encodeObjects(rows: readonly RowObject[], slot: number, source: string): void {
    this.#arena.clear();
    const columns = new Map(this.#names.map((name, i) => [name, this.#column(rows, name, this.#memory[i]!)]));
    const codes = this.#heap.u8(this.#encoder.codes, rows.length).fill(0);
    const selected = this.#encoder.load(rows.length, columns);
    if (selected < rows.length) {
      const row = codes.findIndex((code) => code !== 0);
      const name = this.#names[this.#heap.u32(this.#encoder.details, rows.length)[row]!]!;
      const found = quoted(String(rows[row]![name]));
      throw new DataError(`column "${name}": expected a number or a time, found ${found}`, source, row + 1);
    }
    this.#encoder.encode(0, rows.length, slot, 0);
  }

  /** Texts, as CSV has them; numbers where a Parquet column would hold numbers. */
  #column(rows: readonly RowObject[], name: string, address: number): SourceColumn {
    const values = rows.map((row) => row[name]);
    if (
      this.#spec.format === "parquet" &&
      values.every((value) => typeof value !== "string" && !Array.isArray(value))
    ) {
      const numbers = this.#heap.f64(address, rows.length);
      values.forEach((value, i) => {
        numbers[i] = value === null || value === undefined ? Number.NaN : Number(value);
      });
      return { kind: "number", values: address, isTime: values.some((value) => value instanceof Date) };
    }
    const lengths = address + this.#heap.addressBytes * this.#batch;
    const indices = values.map((value) => this.#arena.add(textEncoder.encode(this.#text(name, value))));
    const starts = this.#heap.addresses(address, rows.length);
    this.#arena.copyEntries(indices, starts, this.#heap.u32(lengths, rows.length), 0);
    return { kind: "text", starts: address, lengths };
  }

  #text(name: string, value: RowObject[string]): string {
    if (value === null || value === undefined) return "";
    if (value instanceof Date) return value.toISOString();
    const bag = Object.values(this.#spec.schema.bags).find(({ column }) => column === name);
    const text = Array.isArray(value) ? value.join(bag?.separator ?? " ") : String(value);
    return this.#spec.format === "csv" && this.#spec.missing.includes(text) ? "" : text;
  }

  free(): void {
    this.#csv?.free();
    this.#encoder.free();
    this.#arena.free();
    for (const block of this.#memory) this.#heap.free(block);
  }
}
