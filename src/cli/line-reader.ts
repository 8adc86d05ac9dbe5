// Lines of a stream in blocks: whatever has come while the caller was busy, so that few lines are answered at once and many
// go through together.
import { DataError } from "../data/index.ts";

const NEWLINE = 10;
/** The most bytes kept for a caller that is busy. */
const MOST_BYTES = 32 * 2 ** 20;

export class LineReader {
  readonly #source: string;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #ended = false;
  #error: unknown;
  #changed: () => void = () => {};
  #emptied: () => void = () => {};

  /** @param source names the stream in errors */
  constructor(stream: AsyncIterable<Buffer>, source: string) {
    this.#source = source;
    this.#pump(stream).catch((error: unknown) => {
      this.#error = error;
      this.#changed();
    });
  }

  async #pump(stream: AsyncIterable<Buffer>): Promise<void> {
    for await (const chunk of stream) {
      this.#chunks.push(chunk);
      this.#bytes += chunk.length;
      this.#changed();
      while (this.#bytes >= MOST_BYTES) {
        await new Promise<void>((resolve) => {
          this.#emptied = resolve;
        });
      }
    }
    this.#ended = true;
    this.#changed();
  }

  /** All whole lines that have come, at least one; at the end also one without a break. Undefined after the end. */
  block(): Promise<Buffer | undefined> {
    return this.#take((text) => text.lastIndexOf(NEWLINE));
  }

  /** The next line with its break; undefined after the end. */
  line(): Promise<Buffer | undefined> {
    return this.#take((text) => text.indexOf(NEWLINE));
  }

  async #take(lastByte: (text: Buffer) => number): Promise<Buffer | undefined> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error;
      const text = Buffer.concat(this.#chunks);
      const end = lastByte(text) + 1 || (this.#ended ? text.length : 0);
      if (end > 0) {
        this.#chunks = [text.subarray(end)];
        this.#bytes = text.length - end;
        this.#emptied();
        return text.subarray(0, end);
      }
      if (this.#ended) return undefined;
      if (text.length >= MOST_BYTES) {
        throw new DataError(`a line has more than ${MOST_BYTES} bytes; are these lines of text?`, this.#source);
      }
      this.#chunks = [text];
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }
}
