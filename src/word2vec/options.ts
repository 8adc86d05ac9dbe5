// What can be chosen of a word2vec model, with the defaults of the original program.
import { availableParallelism } from "node:os";
import { z } from "zod";
import { parseOptions } from "../data/options.ts";
import type { Heap } from "../memory/index.ts";

const phraseOptions = z.strictObject({
  /** How often neighbours are joined: two passes make phrases of up to four words. */
  passes: z.int().min(1).max(5).default(1),
  /** The score above which a pair is a phrase; higher means fewer. */
  threshold: z.number().positive().default(100),
  /** Counts below make no phrase; default: the vocabulary's `minCount`. */
  minCount: z.int().min(1).optional(),
});

const modelOptions = z.strictObject({
  /** Numbers a vector has. */
  dim: z.int().min(1).max(4096).default(100),
  /** The most words before and after the centre; each centre draws its own reach from 1 to this. */
  window: z.int().min(1).max(100).default(5),
  /** Words drawn at random for each centre. */
  negative: z.int().min(1).max(100).default(5),
  /** Rarer words are left out. */
  minCount: z.int().min(1).default(5),
  /** Passes over the text. */
  epochs: z.int().min(1).max(10_000).default(5),
  /** Words of a larger share of the text are dropped at random; 0 keeps all. */
  subsample: z.number().min(0).max(1).default(1e-3),
  /** Continuous bag of words instead of skip-gram. */
  cbow: z.boolean().default(false),
  /** First learning rate, from which it falls to a ten thousandth of it; default 0.025, of CBOW 0.05. */
  lr: z.number().positive().max(10).optional(),
  /** Joins words that often stand together: true, or how. */
  phrases: z.union([z.boolean(), phraseOptions]).default(false),
  seed: z.int().min(0).max(0xffffffff).default(1),
});

const callable = <T>(): z.ZodType<T, T> => z.custom<T>((value) => typeof value === "function", "expected a function");

const trainOptions = z.strictObject({
  threads: z.int().min(1).max(1024).default(availableParallelism),
  /** The most memory: vocabulary and two matrices must fit; at most 16 GiB. */
  maxBytes: z
    .int()
    .min(1 << 24)
    .optional(),
  /** Where the text lies as numbers, 4 bytes a word, while it is trained on; default the system's folder for such files. */
  scratch: z.string().min(1).optional(),
  progress: z.boolean().default(true),
  /** This worker's part of the text; the vocabulary is that of all of it. */
  shard: z
    .object({ rank: z.int().min(0), worldSize: z.int().min(1) })
    .refine(({ rank, worldSize }) => rank < worldSize, "rank must lie below worldSize")
    .default({ rank: 0, worldSize: 1 }),
  signal: z.custom<AbortSignal>((value) => value instanceof AbortSignal, "expected an AbortSignal").optional(),
  synchronise: z
    .object({
      everyWords: z.union([z.int().min(1), callable<(rows: number, words: number) => number>()]),
      wait: z.boolean().default(false),
      begin: callable<NonNullable<Synchronise["begin"]>>().optional(),
      run: callable<Synchronise["run"]>(),
    })
    .optional(),
});

/** The matrices of a model in training, for those who exchange them with other processes. */
export interface SharedEmbeddings {
  /** Of the vocabulary, the same in every process that reads the same text. */
  readonly words: readonly string[];
  /** How often each occurs in all of the text. */
  readonly counts: Float64Array;
  /** Of both matrices: one a word. */
  readonly rows: number;
  readonly dim: number;
  /** Row `i` begins at `stride × i`; numbers from `dim` on are 0 and stay so. */
  readonly stride: number;
  /** Trainer threads go on writing to both while this is used. */
  readonly matrices: { readonly input: Float32Array; readonly output: Float32Array };
  /** What they lie in. */
  readonly heap: Heap;
  /** The rows below `rows`, a multiple of 4 or all, that have changed since they were last asked for, each once. */
  takeTouched(matrix: "input" | "output", rows?: number): Uint32Array;
}

/** How far the training of this process's part of the text is. */
export interface SynchroniseState {
  /** From 0 to 1. */
  readonly done: number;
  /** The threads have ended: nothing changes the matrices any more. */
  readonly last: boolean;
}

/**
 * Where several processes exchange what they learn. Geo-SGD sends what has changed of the touched rows and adds what others
 * have sent.
 */
export interface Synchronise {
  /** Words to train on between two calls of `run`; a function is given the rows and the words of this process's training. */
  readonly everyWords: number | ((rows: number, words: number) => number);
  /** Whether threads wait for the call that their words have made due. Default: they go on. */
  readonly wait?: boolean;
  /** Called before the first word is trained on; gives the share of the training that is done already, from 0 to 1. */
  readonly begin?: ((embeddings: SharedEmbeddings, everyWords: number) => Promise<number>) | undefined;
  /**
   * Called on the main thread each time that so many words have been trained on, while the threads go on, never twice at
   * once, and a last time when they have ended.
   */
  run(embeddings: SharedEmbeddings, state: SynchroniseState): Promise<void> | void;
}

export type Word2VecOptions = z.input<typeof modelOptions>;
export type Word2VecTrainOptions = z.input<typeof trainOptions>;
export type ModelSettings = z.output<typeof modelOptions> & { readonly lr: number };
export type TrainSettings = z.output<typeof trainOptions>;
type PhraseSettings = z.output<typeof phraseOptions>;

/** @throws TypeError that names each wrong option, its value and what is allowed */
export function modelSettings(options: Word2VecOptions): ModelSettings {
  const settings = parseOptions(modelOptions, options, "word2vec");
  return { ...settings, lr: settings.lr ?? (settings.cbow ? 0.05 : 0.025) };
}

/** @throws TypeError that names each wrong option, its value and what is allowed */
export function trainSettings(options: Word2VecTrainOptions): TrainSettings {
  return parseOptions(trainOptions, options, "word2vec.train");
}

/** How phrases are found; undefined where they are not wanted. */
export function phraseSettings({
  phrases,
  minCount,
}: ModelSettings): (PhraseSettings & { readonly minCount: number }) | undefined {
  if (phrases === false) return undefined;
  const chosen = phrases === true ? phraseOptions.parse({}) : phrases;
  return { ...chosen, minCount: chosen.minCount ?? minCount };
}
