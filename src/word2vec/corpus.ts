// A text as numbers: read once by all threads, words in the heap, their numbers in a scratch file that is gone when the
// process ends. Everything after works on the numbers.
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DataError } from "../data/errors.ts";
import { inspectText } from "../data/files.ts";
import { type DataFile, expandPatterns } from "../data/index.ts";
import type { Heap } from "../memory/index.ts";
import { joinPairs, phrasesOf, phraseTable } from "./pairs.ts";
import type { Word2VecPool } from "./pool.ts";
import { BLOCK_WORDS, CHUNK_WORDS, type PairsResult, type ReadResult, type TextUnit } from "./protocol.ts";
import { mergeTables, type Ranked, rank, textOf, type Vocabulary } from "./vocabulary.ts";
import { textKernel, UNKNOWN, WordTable } from "./word-table.ts";

const UNIT_BYTES = 4 * 2 ** 20;
/** Pieces that each of several workers gets of a small text, so that shares are even, and the least that one is cut into. */
const UNITS_A_WORKER = 16;
const LEAST_UNIT_BYTES = 2 ** 12;

/** A file without a name that all threads may read and write. */
export class ScratchFile implements Disposable {
  readonly fd: number;
  readonly #folder: string;

  constructor(folder: string = tmpdir()) {
    this.#folder = mkdtempSync(join(folder, "flotilla-word2vec-"));
    this.fd = openSync(join(this.#folder, "tokens"), "w+");
    // What is open needs no name; elsewhere than on POSIX systems it keeps it until it is closed.
    if (process.platform !== "win32") this.#remove();
  }

  #remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
    this.#remove();
  }
}

/** What phrases need to be found. */
export interface PhraseSearch {
  readonly passes: number;
  readonly threshold: number;
  readonly minCount: number;
}

export interface Corpus {
  readonly vocabulary: Vocabulary;
  /** Chunks of the token file that hold words of this worker's share. */
  readonly chunks: Uint32Array;
  /** Blocks of the token file. */
  readonly blocks: number;
  /** Words that were left out as too long or as no UTF-8. */
  readonly dropped: number;
  /** Of the text, by bytes, this worker's. */
  readonly share: number;
}

/** The files that patterns name. @throws DataError */
export function textFiles(patterns: readonly string[]): DataFile[] {
  const files = expandPatterns(patterns).map((path) => inspectText(path));
  if (files.every(({ bytes }) => bytes === 0)) {
    throw new DataError("is empty; there is nothing to learn from", files[0]!.path);
  }
  return files;
}

/**
 * Cuts files into pieces; every `worldSize`-th belongs to this worker.
 * @throws DataError where there are fewer pieces than workers: a gzip file is one
 */
export function textUnits(
  files: readonly DataFile[],
  { rank, worldSize }: { rank: number; worldSize: number },
): TextUnit[] {
  const units: TextUnit[] = [];
  const all = files.reduce((sum, { bytes }) => sum + bytes, 0);
  const share = Math.max(LEAST_UNIT_BYTES, Math.ceil(all / (UNITS_A_WORKER * worldSize)));
  const unitBytes = worldSize === 1 ? UNIT_BYTES : Math.min(UNIT_BYTES, share);
  for (const [file, { bytes, gzip, end }] of files.entries()) {
    const step = gzip ? Number.POSITIVE_INFINITY : unitBytes;
    for (let start = 0; start < bytes; start += step) {
      units.push({ file, start, end: Math.min(end, start + step), own: units.length % worldSize === rank });
    }
  }
  if (units.length < worldSize) {
    const how = "gzip files are not cut: give as many as there are workers, plain text, or more text";
    throw new DataError(`has ${units.length} pieces for ${worldSize} workers; ${how}`, files[0]!.path);
  }
  return units;
}

/**
 * Reads all files.
 * @param options.all keeps the words of other workers too, for phrases
 * @param options.progress address of an f64 for each thread: bytes read
 * @returns undefined when the pool was stopped
 */
export async function readCorpus(
  heap: Heap,
  pool: Word2VecPool,
  files: readonly DataFile[],
  options: { shard: { rank: number; worldSize: number }; minCount: number; all: boolean; progress: number },
): Promise<Corpus> {
  const { all, progress } = options;
  const units = textUnits(files, options.shard);
  const results = await pool.all<ReadResult>({ type: "read", files, units, all, progress });
  const tables = results.map(({ table }) => WordTable.attach(heap, table));
  const tooLong = tables.reduce((sum, table) => sum + table.tooLong, 0);
  const { merged, numbers } = mergeTables(heap, tables);
  const ranked = rank(merged.counts(), options.minCount, (entry) => textOf(merged, entry));
  if (ranked.words.length === 0) throw noWords(merged, files, options.minCount, ranked.invalid);
  const final = copied(heap, ranked.numbers);
  for (const [i, table] of tables.entries()) {
    textKernel(heap).compose(numbers[i]!, table.size, final);
    table.free();
  }
  merged.free();
  heap.free(final);
  const owners: number[] = [];
  for (const [i, { blocks }] of results.entries()) for (const { block } of blocks) owners[block] = numbers[i]!;
  await pool.all({ type: "renumber", numbers: owners });
  for (const pointer of numbers) heap.free(pointer);
  return {
    ...{ vocabulary: ranked, chunks: chunksOf(results), blocks: owners.length, dropped: tooLong + ranked.invalid },
    share: shareOf(files, units),
  };
}

function shareOf(files: readonly DataFile[], units: readonly TextUnit[]): number {
  const bytesOf = (some: readonly TextUnit[]): number =>
    some.reduce((sum, { file, start, end }) => sum + Math.min(end, files[file]!.bytes) - start, 0);
  return bytesOf(units.filter(({ own }) => own)) / bytesOf(units);
}

function noWords(merged: WordTable, files: readonly DataFile[], minCount: number, invalid: number): DataError {
  const most = merged.counts().reduce((a, b) => Math.max(a, b), 0);
  const where = files.length === 1 ? files[0]!.path : `${files[0]!.path} and ${files.length - 1} more`;
  if (merged.size === 0) return new DataError("holds no words", where);
  if (invalid > 0) return new DataError("holds no words in UTF-8; convert the text, or is it none?", where);
  return new DataError(
    `no word occurs ${minCount} times, the most frequent of ${merged.size} words ${most} times; lower minCount or give more text`,
    where,
  );
}

/** Those of this worker's share. */
function chunksOf(results: readonly ReadResult[]): Uint32Array {
  const own = results.flatMap(({ blocks }) => blocks.filter((each) => each.own));
  const chunks = own.flatMap(({ block, words }) => {
    const first = (block * BLOCK_WORDS) / CHUNK_WORDS;
    return Array.from({ length: Math.ceil(words / CHUNK_WORDS) }, (_, chunk) => first + chunk);
  });
  return Uint32Array.from(chunks).sort();
}

function copied(heap: Heap, values: Uint32Array): number {
  const pointer = heap.alloc(4 * values.length);
  heap.u32(pointer, values.length).set(values);
  return pointer;
}

/**
 * Joins words that often stand together, `new york` to `new_york`; each pass may join phrases of the one before. The phrases
 * of several workers are the same where each has kept all words.
 */
export async function findPhrases(
  heap: Heap,
  pool: Word2VecPool,
  corpus: Corpus,
  { passes, threshold, minCount }: PhraseSearch,
): Promise<Corpus> {
  let { vocabulary } = corpus;
  const { blocks } = corpus;
  for (let pass = 0; pass < passes; pass++) {
    const tables = await pool.all<PairsResult>({ type: "pairs", blocks });
    const pairs = tables.reduce((a, b) => joinPairs(heap, a, b));
    const phrases = phrasesOf(heap, pairs, vocabulary.counts, { minCount, threshold });
    heap.free(pairs.slots);
    if (phrases.length === 0) break;
    vocabulary = await joinWords(heap, pool, blocks, vocabulary, { phrases, minCount });
  }
  return { ...corpus, vocabulary };
}

async function joinWords(
  heap: Heap,
  pool: Word2VecPool,
  blocks: number,
  { words }: Vocabulary,
  { phrases, minCount }: { phrases: Uint32Array; minCount: number },
): Promise<Vocabulary> {
  const total = words.length + phrases.length / 2;
  const { slots, mask } = phraseTable(heap, phrases, words.length);
  const counts = Array.from({ length: pool.size }, () => heap.alloc(8 * total));
  await pool.all({ type: "join", blocks, slots, mask, counts });
  const sums = new Float64Array(total);
  for (const pointer of counts) {
    for (const [word, count] of heap.f64(pointer, total).entries()) sums[word]! += count;
    heap.free(pointer);
  }
  heap.free(slots);
  const name = (word: number): string => words[word]!;
  const ranked: Ranked = rank(sums, minCount, (word) => {
    if (word < words.length) return name(word);
    const phrase = word - words.length;
    return `${name(phrases[2 * phrase]!)}_${name(phrases[2 * phrase + 1]!)}`;
  });
  const { vocabulary, numbers } = withoutDoubles(ranked);
  const pointer = copied(heap, numbers);
  await pool.all({ type: "renumber", numbers: new Array<number>(blocks).fill(pointer) });
  heap.free(pointer);
  return vocabulary;
}

/** A phrase may have the text of another word, a_b of a and b beside a_b of the text: the more frequent one stays. */
function withoutDoubles(ranked: Ranked): { vocabulary: Vocabulary; numbers: Uint32Array } {
  const first = new Map<string, number>();
  const moved = new Uint32Array(ranked.words.length);
  const counts: number[] = [];
  for (const [number, text] of ranked.words.entries()) {
    const known = first.get(text);
    moved[number] = known ?? first.size;
    if (known === undefined) {
      first.set(text, first.size);
      counts.push(ranked.counts[number]!);
    } else {
      counts[known]! += ranked.counts[number]!;
    }
  }
  const numbers = ranked.numbers.map((number) => (number === UNKNOWN ? UNKNOWN : moved[number]!));
  return { vocabulary: { words: [...first.keys()], counts: Float64Array.from(counts) }, numbers };
}
