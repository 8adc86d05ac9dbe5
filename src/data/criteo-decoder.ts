// Criteo text: the kernel parses lines straight into batches; a line that it refuses is looked at here.
import { type Heap, instantiate } from "../memory/index.ts";
import type { Decoder, NewDecoder, OnBadLine } from "./decoder.ts";
import { quoted } from "./errors.ts";
import type { DataFile } from "./files.ts";
import { type BatchLayout, CRITEO_CATEGORICAL, CRITEO_DENSE, columnOf } from "./layout.ts";
import type { FileRange } from "./ring.ts";
import type { CriteoSpec } from "./spec.ts";
import { TextBlocks } from "./text-blocks.ts";

interface CriteoKernel {
  parse(
    from: number,
    end: number,
    labelled: number,
    labels: number,
    dense: number,
    ids: number,
    row: number,
    maxRows: number,
    buckets: number,
    result: number,
  ): number;
}

/** The kernel over one layout: text in the heap to rows of a slot. */
export class CriteoParser {
  readonly #kernel: CriteoKernel;
  readonly #heap: Heap;
  readonly #labelled: boolean;
  readonly #label: number;
  readonly #dense: number;
  readonly #categorical: number;
  readonly #buckets: number;
  readonly #result: Uint32Array;
  #from = 0;

  constructor(heap: Heap, spec: CriteoSpec, layout: BatchLayout) {
    this.#heap = heap;
    this.#kernel = instantiate<CriteoKernel>("parse-criteo", heap);
    this.#labelled = spec.labels;
    this.#label = columnOf(layout, "label").offset;
    this.#dense = columnOf(layout, "dense").offset;
    this.#categorical = columnOf(layout, "categorical").offset;
    this.#buckets = spec.buckets ?? 0;
    this.#result = heap.u32(heap.alloc(8), 2);
  }

  /** Parses lines of [from, end) into rows `row`…; stops after `most` rows and before a bad line. */
  parse(from: number, end: number, address: number, row: number, most: number): number {
    this.#from = from;
    return this.#kernel.parse(
      from,
      end,
      this.#labelled ? 1 : 0,
      address + this.#label,
      address + this.#dense,
      address + this.#categorical,
      row,
      most,
      this.#buckets,
      this.#result.byteOffset,
    );
  }

  /** Where the last call stopped. */
  get at(): number {
    return this.#from + this.#result[0]!;
  }

  /** Whether the line there is bad. */
  get atBadLine(): boolean {
    return this.#result[1] !== 0;
  }

  /** The line at `at`, without its break, and the address after it. */
  line(end: number): { text: string; next: number } {
    const bytes = Buffer.from(this.#heap.memory.buffer, this.at, end - this.at);
    const length = bytes.indexOf(10);
    return { text: bytes.toString("latin1", 0, length), next: this.at + length + 1 };
  }

  free(): void {
    this.#heap.free(this.#result.byteOffset);
  }
}

class CriteoDecoder implements Decoder {
  readonly #blocks: TextBlocks;
  readonly #parser: CriteoParser;
  readonly #labelled: boolean;
  readonly #onBadLine: OnBadLine;

  constructor(heap: Heap, spec: CriteoSpec, layout: BatchLayout, onBadLine: OnBadLine) {
    this.#labelled = spec.labels;
    this.#blocks = new TextBlocks(heap);
    this.#parser = new CriteoParser(heap, spec, layout);
    this.#onBadLine = onBadLine;
  }

  async open(file: DataFile, range: FileRange): Promise<void> {
    this.#blocks.open(file.path, file.gzip, range.start, range.end);
  }

  fill(address: number, row: number, most: number): number {
    const blocks = this.#blocks;
    const parser = this.#parser;
    let rows = 0;
    while (blocks.begin < blocks.end && rows < most) {
      rows += parser.parse(blocks.begin, blocks.end, address, row + rows, most - rows);
      blocks.begin = parser.at;
      if (!parser.atBadLine) continue;
      const { text, next } = parser.line(blocks.end);
      this.#onBadLine({ offset: blocks.offsetOf(blocks.begin), problem: criteoProblem(text, this.#labelled) });
      blocks.begin = next;
    }
    return rows;
  }

  advance(): Promise<boolean> {
    return this.#blocks.advance();
  }

  get position(): number {
    return this.#blocks.offsetOf(this.#blocks.begin);
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

export const newCriteoDecoder: NewDecoder = (heap, spec, layout, onBadLine) =>
  new CriteoDecoder(heap, spec as CriteoSpec, layout, onBadLine);

/** What a line that the kernel refused does wrong. */
export function criteoProblem(line: string, labelled = true): string {
  const text = line.endsWith("\r") ? line.slice(0, -1) : line;
  const fields = text.split("\t");
  const label = fields[0]!;
  if (labelled && label !== "0" && label !== "1") {
    return `column 1 (label): expected 0 or 1, found ${quoted(label)}`;
  }
  const first = labelled ? 1 : 0;
  const expected = first + CRITEO_DENSE + CRITEO_CATEGORICAL;
  if (fields.length !== expected) {
    return `expected ${expected} tab-separated fields (${labelled ? "label, " : ""}${CRITEO_DENSE} integers, ${CRITEO_CATEGORICAL} categories), found ${fields.length} in ${quoted(text)}`;
  }
  for (let column = first; column < expected; column++) {
    const field = fields[column]!;
    const category = column - first - CRITEO_DENSE + 1;
    if (category > 0) {
      const control = [...field].find((character) => character < "\u000e");
      if (control === undefined) continue;
      return `column ${column + 1} (category ${category}): expected text without control characters, found ${quoted(field)}`;
    }
    if (!/^(-?[0-9]{1,18})?$/.test(field)) {
      return `column ${column + 1} (integer ${column - first + 1}): expected an integer of at most 18 digits or nothing, found ${quoted(field)}`;
    }
  }
  return `cannot be parsed: ${quoted(text)}`;
}
