// Reading by one thread: pieces of text become a table of words and blocks of the token file.
import { writeSync } from "node:fs";
import { BLOCK_BYTES, openBytes } from "../data/byte-source.ts";
import { DataError } from "../data/errors.ts";
import type { Heap } from "../memory/index.ts";
import {
  BLOCK_WORDS,
  NEXT,
  NEXT_BLOCK,
  type ReadRequest,
  type ReadResult,
  STOP,
  type TextBlock,
  type TextUnit,
  type WorkerData,
} from "./protocol.ts";
import { NO_WORD, NUL_FOUND, OUTPUT_FULL, SENTENCE_END, WordTable } from "./word-table.ts";

/** Room before a block for a word that the block before left unfinished, and behind it for what kernels load beyond. */
const MARGIN = 512;
const NEWLINE = 10;

export class TextReader {
  readonly #heap: Heap;
  readonly #data: WorkerData;
  readonly #request: ReadRequest;
  readonly #control: Int32Array;
  readonly #progress: Float64Array;
  readonly #table: WordTable;
  /** Where text is read to. */
  readonly #text: number;
  readonly #block: number;
  readonly #blocks: TextBlock[] = [];
  #words = 0;

  constructor(heap: Heap, data: WorkerData, request: ReadRequest) {
    this.#heap = heap;
    this.#data = data;
    this.#request = request;
    this.#control = heap.i32(data.control, NEXT_BLOCK + 2);
    this.#progress = heap.f64(request.progress + 8 * data.thread, 1);
    this.#table = WordTable.create(heap);
    this.#text = heap.alloc(BLOCK_BYTES + 2 * MARGIN) + MARGIN;
    this.#block = heap.alloc(4 * BLOCK_WORDS);
  }

  async run(): Promise<ReadResult> {
    const { units, all } = this.#request;
    for (;;) {
      const unit = units[Atomics.add(this.#control, NEXT, 1)];
      if (unit === undefined || Atomics.load(this.#control, STOP) !== 0) break;
      await this.#read(unit);
      if (this.#keeps(unit)) this.#put(unit, SENTENCE_END);
      if (all) this.#flush(unit);
    }
    this.#flush({ own: true });
    this.#heap.free(this.#text - MARGIN);
    this.#heap.free(this.#block);
    return { table: this.#table.pointer, blocks: this.#blocks };
  }

  #keeps(unit: TextUnit): boolean {
    return unit.own || this.#request.all;
  }

  async #read(unit: TextUnit): Promise<void> {
    const { path, gzip } = this.#request.files[unit.file]!;
    // One byte early: if it is a break, a word starts at `start`.
    const position = Math.max(0, unit.start - 1);
    const source = openBytes(this.#heap, path, gzip, position);
    const before = this.#progress[0]!;
    this.#table.begin(unit.start > 0);
    try {
      let at = this.#text;
      let offset = position;
      for (let ended = false; !ended; ) {
        if (Atomics.load(this.#control, STOP) !== 0) return;
        let bytes = await source.read(this.#text);
        this.#progress[0] =
          before + Math.min(source.fileBytes, gzip ? Number.POSITIVE_INFINITY : unit.end - unit.start);
        if (bytes === 0) {
          ended = true;
          this.#heap.u8(this.#text, 1)[0] = NEWLINE;
          bytes = 1;
        }
        const end = this.#text + bytes;
        const rest = this.#tokenise(unit, at, offset, end);
        offset += rest - at;
        if (offset >= unit.end) break;
        // The unfinished word moves to before the next block.
        at = this.#text - (end - rest);
        this.#heap.u8(at, end - rest).set(this.#heap.u8(rest, end - rest));
      }
    } finally {
      source.close();
    }
  }

  /** The words in the text from address `at`, which is byte `offset` of the file, to `end`. Returns where the rest begins. */
  #tokenise(unit: TextUnit, at: number, offset: number, end: number): number {
    const table = this.#table;
    table.at = at;
    const stop = Math.min(end, at + unit.end - offset);
    for (;;) {
      const out = this.#block + 4 * this.#words;
      const reason = table.tokenise(stop, end, out, BLOCK_WORDS - this.#words);
      if (this.#keeps(unit)) this.#words += table.written;
      if (reason === NUL_FOUND) {
        const where = offset + table.at - at;
        throw new DataError(
          `has a zero byte at byte ${where} of its text; is this a text file?`,
          this.#request.files[unit.file]!.path,
        );
      }
      if (this.#words === BLOCK_WORDS) this.#flush(unit);
      if (reason !== OUTPUT_FULL) return table.at;
    }
  }

  #put(unit: TextUnit, word: number): void {
    this.#heap.u32(this.#block + 4 * this.#words, 1)[0] = word;
    if (++this.#words === BLOCK_WORDS) this.#flush(unit);
  }

  #flush({ own }: Pick<TextUnit, "own">): void {
    if (this.#words === 0) return;
    const block = Atomics.add(this.#control, NEXT_BLOCK, 1);
    this.#heap.u32(this.#block, BLOCK_WORDS).fill(NO_WORD, this.#words);
    writeBlock(this.#heap, this.#data.file, block, this.#block);
    this.#blocks.push({ block, words: this.#words, own });
    this.#words = 0;
  }
}

/** Writes a block of the token file. */
export function writeBlock(heap: Heap, file: number, block: number, from: number): void {
  const bytes = heap.u8(from, 4 * BLOCK_WORDS);
  for (let at = 0; at < bytes.length; ) {
    at += writeSync(file, bytes, at, bytes.length - at, 4 * BLOCK_WORDS * block + at);
  }
}
