// Where scores go: a stream that may be slower than the model or close early, or a file that appears when it is complete.
import { once } from "node:events";
import { createWriteStream, type WriteStream } from "node:fs";
import { rename, rm } from "node:fs/promises";
import type { Writable } from "node:stream";
import { finished } from "node:stream/promises";

export interface ScoreSink {
  /** Writes one score a line; resolves when there is room for more. */
  write(scores: Float32Array): Promise<void>;
  close(): Promise<void>;
  /** After a failure. */
  discard(): Promise<void>;
}

/** Nine digits: enough to tell any two float32 numbers apart. */
function linesOf(scores: Float32Array): string {
  let text = "";
  for (const score of scores) text += `${Number(score.toPrecision(9))}\n`;
  return text;
}

export class ScoreStream implements ScoreSink {
  readonly #stream: Writable;

  constructor(stream: Writable) {
    this.#stream = stream;
    stream.on("error", (error: NodeJS.ErrnoException) => {
      // The reader has seen enough, as `head` does.
      if (error.code === "EPIPE") process.exit(0);
      throw error;
    });
  }

  async write(scores: Float32Array): Promise<void> {
    if (!this.#stream.write(linesOf(scores))) await once(this.#stream, "drain");
  }

  async close(): Promise<void> {}

  async discard(): Promise<void> {}
}

export class ScoreFile implements ScoreSink {
  readonly #path: string;
  readonly #unfinished: string;
  readonly #stream: WriteStream;
  #error: unknown;

  constructor(path: string) {
    this.#path = path;
    this.#unfinished = `${path}.part-${process.pid}`;
    this.#stream = createWriteStream(this.#unfinished, { flush: true });
    this.#stream.on("error", (error) => {
      this.#error = error;
    });
  }

  async write(scores: Float32Array): Promise<void> {
    if (this.#error !== undefined) throw this.#error;
    if (!this.#stream.write(linesOf(scores))) await once(this.#stream, "drain");
  }

  async close(): Promise<void> {
    this.#stream.end();
    await finished(this.#stream);
    await rename(this.#unfinished, this.#path);
  }

  async discard(): Promise<void> {
    this.#stream.destroy();
    await rm(this.#unfinished, { force: true });
  }
}
