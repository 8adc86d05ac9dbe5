// Text files as blocks of whole lines in the heap, plain or gzip.
import { createReadStream } from "node:fs";
import { createGunzip } from "node:zlib";
import type { Heap } from "../memory/index.ts";
import { BLOCK_BYTES, type ByteSource, openBytes } from "./byte-source.ts";
import { DataError } from "./errors.ts";

export const LINE_LIMIT = 256 * 1024;
/** Parsers load a few bytes beyond the text; a line break may be added at the end of the file. */
const PADDING = 64;
const NEWLINE = 10;

/** The lines that start within a range of one file. `begin` to `end` is the text at hand; it ends with a line break. */
export class TextBlocks {
  begin = 0;
  end = 0;
  readonly #heap: Heap;
  /** Where bytes are read to; before it is room for an unfinished line of the block before. */
  readonly #block: number;
  #source: ByteSource | undefined;
  #path = "";
  #rangeEnd = 0;
  #dataEnd = 0;
  /** Offset in the file of address `#base`. */
  #offset = 0;
  #base = 0;
  #skipLine = false;
  #last = true;

  constructor(heap: Heap) {
    this.#heap = heap;
    this.#block = heap.alloc(LINE_LIMIT + BLOCK_BYTES + PADDING) + LINE_LIMIT;
  }

  /** The lines whose first byte is in [start, end), offsets of the uncompressed text; `isLineStart`: one is at `start`. */
  open(path: string, gzip: boolean, start: number, end: number, isLineStart = start === 0): void {
    // One byte early: if it is a line break, a line starts at `start`.
    const position = isLineStart ? start : start - 1;
    this.#source = openBytes(this.#heap, path, gzip, position);
    this.#path = path;
    this.#rangeEnd = end;
    this.#skipLine = !isLineStart;
    this.#last = false;
    this.#base = this.#block;
    this.#offset = position;
    this.begin = this.end = this.#dataEnd = this.#base;
  }

  get fileBytes(): number {
    return this.#source?.fileBytes ?? 0;
  }

  /** Offset of the text at `address` in the uncompressed file. */
  offsetOf(address: number): number {
    return this.#offset + (address - this.#base);
  }

  /** Whether the text at hand is the last of the range. */
  get isLast(): boolean {
    return this.#last;
  }

  /** Moves on: the text from `begin`, which the caller has advanced, and what follows it. False at the end. */
  async advance(): Promise<boolean> {
    while (!this.#last) {
      await this.#readMore();
      if (this.#skipLine && !this.#dropFirstLine()) continue;
      this.#cut();
      if (this.end > this.begin) return true;
    }
    return false;
  }

  async #readMore(): Promise<void> {
    const rest = this.#dataEnd - this.begin;
    if (rest > LINE_LIMIT) {
      throw new DataError(
        `a line of more than ${LINE_LIMIT} bytes starts at byte ${this.offsetOf(this.begin)}; is this a text file?`,
        this.#path,
      );
    }
    const start = this.#block - rest;
    this.#offset = this.offsetOf(this.begin);
    this.#heap.u8(start, rest).set(this.#heap.u8(this.begin, rest));
    this.begin = this.#base = start;
    const bytes = await this.#source!.read(this.#block);
    this.#dataEnd = this.#block + bytes;
    if (bytes > 0) return;
    this.#last = true;
    const text = this.#heap.u8(this.begin, rest + 1);
    if (rest > 0 && text[rest - 1] !== NEWLINE) {
      text[rest] = NEWLINE;
      this.#dataEnd++;
    }
  }

  /** Drops what belongs to the range before; false while its line has not ended. */
  #dropFirstLine(): boolean {
    const newline = this.#find(this.begin);
    this.begin = newline < 0 ? this.#dataEnd : newline + 1;
    this.end = this.begin;
    if (newline >= 0) this.#skipLine = false;
    return newline >= 0;
  }

  /** Sets `end` after the last whole line of the range that is in memory. */
  #cut(): void {
    this.end = this.begin;
    if (this.offsetOf(this.begin) >= this.#rangeEnd) {
      this.#last = true;
      return;
    }
    if (this.offsetOf(this.#dataEnd) >= this.#rangeEnd) {
      const newline = this.#find(Math.max(this.begin, this.#base + (this.#rangeEnd - 1 - this.#offset)));
      if (newline >= 0) {
        this.end = newline + 1;
        this.#last = true;
        return;
      }
    }
    const text = Buffer.from(this.#heap.memory.buffer, this.begin, this.#dataEnd - this.begin);
    this.end = this.begin + text.lastIndexOf(NEWLINE) + 1;
  }

  #find(address: number): number {
    const at = Buffer.from(this.#heap.memory.buffer, address, this.#dataEnd - address).indexOf(NEWLINE);
    return at < 0 ? -1 : address + at;
  }

  close(): void {
    this.#source?.close();
    this.#source = undefined;
    this.#last = true;
  }

  free(): void {
    this.#heap.free(this.#block - LINE_LIMIT);
  }
}

/** The 1-based number of the line that holds byte `offset` of the uncompressed file. */
export async function lineNumber(path: string, gzip: boolean, offset: number): Promise<number> {
  const file = createReadStream(path);
  const bytes = gzip ? file.pipe(createGunzip()) : file;
  let line = 1;
  let position = 0;
  for await (const chunk of bytes as AsyncIterable<Buffer>) {
    const upTo = Math.min(chunk.length, offset - position);
    for (let at = chunk.indexOf(NEWLINE); at >= 0 && at < upTo; at = chunk.indexOf(NEWLINE, at + 1)) line++;
    position += chunk.length;
    if (position >= offset) break;
  }
  file.destroy();
  return line;
}
