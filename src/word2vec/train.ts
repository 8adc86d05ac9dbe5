// Training from text files to vectors: threads that share one heap read the text, then train on it without locks.
import type { DataFile } from "../data/index.ts";
import { type Heap, Heap as HeapClass, instantiate } from "../memory/index.ts";
import { ProgressLine } from "../report/index.ts";
import { type Corpus, findPhrases, readCorpus, ScratchFile, textFiles } from "./corpus.ts";
import { createMatrices, type MatricesHandle } from "./matrices.ts";
import {
  type ModelSettings,
  modelSettings,
  phraseSettings,
  type Synchronise,
  trainSettings,
  type Word2VecOptions,
  type Word2VecTrainOptions,
} from "./options.ts";
import { Word2VecPool } from "./pool.ts";
import { CHUNK_WORDS, DONE } from "./protocol.ts";
import { Synchroniser } from "./synchroniser.ts";
import { WordVectors } from "./vectors.ts";

export interface Word2VecResult {
  readonly vectors: WordVectors;
  /** Stopped by the signal: the vectors are as far as they came. */
  readonly stopped: boolean;
  /** Words of the vocabulary that were trained on, over all epochs. */
  readonly words: number;
  /** Of training, reading the text apart. */
  readonly seconds: number;
  readonly wordsPerSecond: number;
  /** Words of the text that were left out: longer than 255 bytes, or no UTF-8. */
  readonly dropped: number;
}

const REPORT_MS = 250;

/** A word2vec model, not trained yet. */
export class Word2Vec {
  readonly settings: ModelSettings;

  /** @throws TypeError that names a wrong option */
  constructor(options: Word2VecOptions = {}) {
    this.settings = modelSettings(options);
  }

  /**
   * Trains on text: words between white space, a sentence a line or none at all, plain or gzip.
   * @param files paths or globs
   * @throws DataError where a file is no text or holds no words; the signal's reason where it stops the reading
   */
  async train(files: string | readonly string[], options: Word2VecTrainOptions = {}): Promise<Word2VecResult> {
    const { settings } = this;
    const chosen = trainSettings(options);
    const { signal, threads, synchronise } = chosen;
    signal?.throwIfAborted();
    const inputs = textFiles(typeof files === "string" ? [files] : files);
    using scratch = new ScratchFile(chosen.scratch);
    const heap = HeapClass.create(chosen.maxBytes === undefined ? {} : { maxBytes: chosen.maxBytes });
    await using pool = new Word2VecPool(heap, threads, scratch.fd);
    const line = chosen.progress ? new ProgressLine() : undefined;
    const stop = (): void => pool.stop();
    signal?.addEventListener("abort", stop);
    try {
      const corpus = await read(heap, pool, inputs, { settings, shard: chosen.shard, line });
      signal?.throwIfAborted();
      const { vocabulary, dropped } = corpus;
      const matrices = createMatrices(heap, vocabulary.counts, { ...settings, touched: synchronise !== undefined });
      const trained = await this.#epochs(heap, pool, corpus, { matrices, line, synchronise });
      expectFinite(heap, matrices, settings.lr);
      for (const pointer of [matrices.output, matrices.keep, matrices.alias]) heap.free(pointer);
      const { words, dim, stride, input } = matrices;
      const vectors = new WordVectors(heap, vocabulary.words, { rows: words, dim, stride, address: input });
      return { vectors, stopped: signal?.aborted === true, dropped, ...trained };
    } finally {
      signal?.removeEventListener("abort", stop);
      line?.finish();
    }
  }

  async #epochs(
    heap: Heap,
    pool: Word2VecPool,
    { chunks, vocabulary, share }: Corpus,
    work: { matrices: MatricesHandle; line: ProgressLine | undefined; synchronise: Synchronise | undefined },
  ): Promise<{ words: number; seconds: number; wordsPerSecond: number }> {
    const { epochs, lr, window, negative, cbow, seed } = this.settings;
    const { matrices, line, synchronise } = work;
    const total = chunks.length * epochs;
    const wordsOfText = epochs * share * vocabulary.counts.reduce((a, b) => a + b, 0);
    const wordsAChunk = wordsOfText / total;
    let first = 0;
    const chunksDone = (): number => first + Atomics.load(pool.control, DONE);
    const exchange =
      synchronise &&
      new Synchroniser(heap, pool, matrices, {
        ...{ run: synchronise.run, vocabulary, done: () => Math.min(1, chunksDone() / total) },
      });
    // What earlier requests have done is not this one's.
    Atomics.store(pool.control, DONE, 0);
    const everyWords = synchronise === undefined ? 0 : wordsBetween(synchronise, matrices.words, wordsOfText);
    const begun = (await synchronise?.begin?.(exchange!.embeddings, everyWords)) ?? 0;
    first = Math.min(total, Math.round(begun * total));
    const meter = new Meter(line, wordsOfText, () => chunksDone() * wordsAChunk, first * wordsAChunk);
    const every = synchronise && Math.max(1, Math.round(everyWords / Math.min(wordsAChunk, CHUNK_WORDS)));
    const label = (share: number): string => `epoch ${Math.min(epochs, 1 + Math.floor(share * epochs))}/${epochs}`;
    const timer = setInterval(() => meter.show(label), REPORT_MS);
    try {
      const sizes = { window, negative, cbow, seed, lr, epochs, chunks, matrices, first };
      const training = pool.all({
        type: "train",
        ...sizes,
        ...(every === undefined ? {} : { chunksASynchronisation: every, wait: synchronise?.wait === true }),
      });
      await Promise.all([training, exchange?.until(training)]);
      return meter.finish(label);
    } finally {
      clearInterval(timer);
    }
  }
}

const wordsBetween = ({ everyWords }: Synchronise, rows: number, words: number): number =>
  typeof everyWords === "number" ? everyWords : everyWords(rows, words);

/** Reads the text, and finds phrases in it. */
async function read(
  heap: Heap,
  pool: Word2VecPool,
  files: readonly DataFile[],
  options: {
    settings: ModelSettings;
    shard: { rank: number; worldSize: number };
    line: ProgressLine | undefined;
  },
): Promise<Corpus> {
  const { settings, shard, line } = options;
  const { minCount } = settings;
  const progress = heap.alloc(8 * pool.size);
  const bytes = heap.f64(progress, pool.size);
  const size = files.reduce((sum, file) => sum + file.bytes, 0);
  const meter = new Meter(line, size, () => bytes.reduce((a, b) => a + b, 0));
  const timer = setInterval(() => meter.show(() => "reading, bytes"), REPORT_MS);
  try {
    const phrases = phraseSettings(settings);
    const all = phrases !== undefined && shard.worldSize > 1;
    const corpus = await readCorpus(heap, pool, files, { shard, minCount, all, progress });
    return phrases === undefined ? corpus : await findPhrases(heap, pool, corpus, phrases);
  } finally {
    clearInterval(timer);
    heap.free(progress);
  }
}

/** How far a stage is, for the progress line. */
class Meter {
  readonly #line: ProgressLine | undefined;
  readonly #total: number;
  readonly #done: () => number;
  readonly #start = performance.now();
  readonly #before: number;
  #last: { at: number; done: number };

  /** @param before what was done before this began */
  constructor(line: ProgressLine | undefined, total: number, done: () => number, before = 0) {
    this.#line = line;
    this.#total = total;
    this.#done = done;
    this.#before = before;
    this.#last = { at: this.#start, done: before };
  }

  show(label: (share: number) => string): void {
    if (this.#line === undefined) return;
    const now = performance.now();
    const done = Math.min(this.#total, this.#done());
    const samplesPerSecond = ((done - this.#last.done) / Math.max(1, now - this.#last.at)) * 1000;
    this.#last = { at: now, done };
    this.#line.update({
      label: label(done / this.#total),
      samples: Math.round(done),
      totalSamples: this.#total,
      samplesPerSecond,
    });
  }

  finish(label: (share: number) => string): { words: number; seconds: number; wordsPerSecond: number } {
    const words = Math.round(Math.min(this.#total, this.#done()) - this.#before);
    const seconds = (performance.now() - this.#start) / 1000;
    this.#last = { at: this.#start, done: this.#before };
    this.show(label);
    return { words, seconds, wordsPerSecond: words / seconds };
  }
}

/** @throws where the vectors have become something else than numbers */
function expectFinite(heap: Heap, { input, words, stride }: MatricesHandle, lr: number): void {
  const { firstNonFinite } = instantiate<{ firstNonFinite(x: number, count: number): number }>("finite", heap);
  if (firstNonFinite(input, words * stride) < 0) return;
  throw new Error(`the vectors are not finite any more: a learning rate of ${lr} is too high for this text; lower lr`);
}
