// Files in the Criteo format drawn from a known click model.
import { closeSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { z } from "zod";
import { BestScores, ClickModel, type ClickRow, randomNumbers } from "./click-model.ts";
import { parseOptions } from "./options.ts";

const seed = z.int().min(0).max(0xffffffff);
const optionsSchema = z.strictObject({
  path: z.string().min(1),
  rows: z.int().min(1),
  seed: seed.default(1),
  model: seed.default(1),
  maxCardinality: z.int().min(1).max(0x7fffffff).default(0x7fffffff),
  strength: z.number().min(0).default(1),
  onProgress: z.custom<(rows: number) => void>((value) => typeof value === "function", "must be a function").optional(),
});

export interface GenerateOptions {
  /** The file; ending in .gz it is compressed. */
  path: string;
  rows: number;
  /** Of the rows; default 1. */
  seed?: number;
  /** Seed of the click model: training and test files share it; default 1. */
  model?: number;
  /** Upper limit of distinct values a column; without it up to ten million, as in the challenge. */
  maxCardinality?: number;
  /** Factor on every effect: 0 makes clicks random; default 1. */
  strength?: number;
  /** Receives the rows written so far. */
  onProgress?: (rows: number) => void;
}

export interface Generated {
  readonly path: string;
  readonly rows: number;
  readonly bytes: number;
  readonly clicks: number;
  /** Expected AUC of the true probabilities: no model does better on much data. */
  readonly bestAuc: number;
  /** Expected log loss of the true probabilities, in nats a row. */
  readonly bestLogLoss: number;
}

const BLOCK_ROWS = 4096;
/** 13 integers of up to 11 bytes, 26 categories of 8, separators. */
const ROW_BYTES = 512;

/** Writes a file of rows; the same options give the same bytes. Appears under its name when complete. */
export async function generateCriteo(options: GenerateOptions): Promise<Generated> {
  const chosen = parseOptions(optionsSchema, options, "generateCriteo");
  const random = randomNumbers(chosen.seed ^ 0x5bd1e995);
  const model = new ClickModel(chosen.model, random, chosen.maxCardinality, chosen.strength);
  const best = new BestScores();
  const writer = new RowWriter();
  const unfinished = `${chosen.path}.part`;
  const fd = openSync(unfinished, "w");
  let bytes = 0;
  let clicks = 0;
  try {
    for (let done = 0; done < chosen.rows; ) {
      const rows = Math.min(BLOCK_ROWS, chosen.rows - done);
      for (let i = 0; i < rows; i++) {
        const probability = model.draw();
        best.add(probability);
        const click = random() < probability ? 1 : 0;
        clicks += click;
        writer.add(click, model.row);
      }
      const text = writer.take();
      bytes += writeSync(fd, chosen.path.endsWith(".gz") ? gzipSync(text) : text);
      done += rows;
      chosen.onProgress?.(done);
      await setImmediate();
    }
    closeSync(fd);
    renameSync(unfinished, chosen.path);
  } catch (error) {
    rmSync(unfinished, { force: true });
    throw error;
  }
  return { path: chosen.path, rows: chosen.rows, bytes, clicks, bestAuc: best.auc, bestLogLoss: best.logLoss };
}

const HEX = Buffer.from("0123456789abcdef");
const TAB = 9;
const NEWLINE = 10;
const ZERO = 48;

/** Builds the text of a block of rows byte by byte. */
class RowWriter {
  readonly #buffer = Buffer.alloc(BLOCK_ROWS * ROW_BYTES);
  #at = 0;

  add(click: number, { integers, categories, missing }: ClickRow): void {
    const buffer = this.#buffer;
    let at = this.#at;
    buffer[at++] = ZERO + click;
    for (const value of integers) {
      buffer[at++] = TAB;
      if (value >= 0) at = writeInteger(buffer, at, value);
    }
    for (let j = 0; j < categories.length; j++) {
      buffer[at++] = TAB;
      if (missing[j] === 1) continue;
      const category = categories[j]!;
      for (let shift = 28; shift >= 0; shift -= 4) buffer[at++] = HEX[(category >>> shift) & 15]!;
    }
    buffer[at++] = NEWLINE;
    this.#at = at;
  }

  /** The text so far; it is overwritten by the next rows. */
  take(): Buffer {
    const text = this.#buffer.subarray(0, this.#at);
    this.#at = 0;
    return text;
  }
}

function writeInteger(buffer: Buffer, at: number, value: number): number {
  let digits = 1;
  for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) digits++;
  let rest = value;
  for (let i = at + digits - 1; i >= at; i--) {
    buffer[i] = ZERO + (rest % 10);
    rest = Math.floor(rest / 10);
  }
  return at + digits;
}
