// Text files as blocks of whole lines in the heap, plain or gzip.
import { closeSync, createReadStream, openSync, readSync } from "node:fs";
import { createGunzip, type Gunzip } from "node:zlib";
import type { Heap } from "../memory/index.ts";
import { DataError } from "./errors.ts";

/** Small enough for the second-level cache, where the parser then finds what was just read. */
const BLOCK_BYTES = 256 * 1024;
export const LINE_LIMIT = 256 * 1024;
/** Parsers load a few bytes beyond the text; a line break may be added at the end of the file. */
const PADDING = 64;
const NEWLINE = 10;

/** Where the bytes of a file come from: each call puts up to BLOCK_BYTES at `address`; 0 at the end. */
interface ByteSource {
  /** Bytes of the file consumed so far (compressed ones where it is compressed). */
  readonly fileBytes: number;
  read(address: number): number | Promise<number>;
  close(): void;
}

/** Reads at once: the system reads ahead, and a thread of a pool would only take a core from a trainer. */
function plainSource(heap: Heap, path: string, position: number): ByteSource {
  const fd = openSync(path, "r");
  const from = position;
  return {
    get fileBytes() {
      return position - from;
    },
    read(address) {
      const bytesRead = readSync(fd, heap.u8(address, BLOCK_BYTES), 0, BLOCK_BYTES, position);
      position += bytesRead;
      return bytesRead;
    },
    close: () => closeSync(fd),
  };
}

function gzipSource(heap: Heap, path: string, position: number): ByteSource {
  const file = createReadStream(path, { highWaterMark: BLOCK_BYTES });
  const gunzip: Gunzip = createGunzip({ chunkSize: BLOCK_BYTES });
  file.on("error", (error) => gunzip.destroy(error));
  const chunks = file.pipe(gunzip)[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let toSkip = position;
  return {
    get fileBytes() {
      return gunzip.bytesWritten;
    },
    async read(address) {
      for (;;) {
        const { value, done } = await nextChunk(chunks, path);
        if (done) return 0;
        if (value.length <= toSkip) {
          toSkip -= value.length;
          continue;
        }
        const chunk = value.subarray(toSkip);
        toSkip = 0;
        heap.u8(address, chunk.length).set(chunk);
        return chunk.length;
      }
    },
    close() {
      file.destroy();
      gunzip.destroy();
    },
  };
}

async function nextChunk(chunks: AsyncIterator<Buffer>, path: string): Promise<IteratorResult<Buffer>> {
  try {
    return await chunks.next();
  } catch (cause) {
    throw new DataError(`is a damaged or cut off gzip file (${(cause as Error).message})`, path);
  }
}

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
    this.#source = (gzip ? gzipSource : plainSource)(this.#heap, path, position);
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
