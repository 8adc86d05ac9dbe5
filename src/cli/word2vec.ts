// `flotilla word2vec`: vectors from text, neighbours, analogies, and scores of vectors.
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { worldFromEnvironment } from "../cluster/index.ts";
import { init, type Job, trainVectors } from "../fleet/index.ts";
import { formatCount, formatRate, formatSeconds, formatTable } from "../report/index.ts";
import {
  evaluateAnalogies,
  evaluatePairs,
  type Neighbour,
  type VectorFormat,
  WordVectors,
  word2vec,
} from "../word2vec/index.ts";
import { shown, withoutUndefined } from "./data-source.ts";
import { INTERRUPTED, watchInterrupts } from "./interrupt.ts";
import { UsageError } from "./usage.ts";

export interface Word2VecFlags {
  readonly dim?: number;
  readonly window?: number;
  readonly negative?: number;
  readonly cbow?: boolean;
  readonly minCount?: number;
  readonly subsample?: number;
  readonly phrases?: number;
  readonly phraseThreshold?: number;
  readonly epochs?: number;
  readonly lr?: number;
  readonly threads?: number;
  readonly seed?: number;
  readonly memory?: number;
  readonly scratch?: string;
  readonly output?: string;
  readonly format?: VectorFormat;
  readonly quiet?: boolean;
  readonly mode?: "geo" | "async";
  readonly every?: number;
  readonly wire?: "f32" | "f16" | "bf16";
}

export interface NearestFlags {
  readonly count?: number;
  readonly json?: boolean;
}

export interface AnalogyFlags extends NearestFlags {
  readonly questions?: string;
  readonly among?: number;
  readonly pairs?: string;
}

/** Returns the exit code. */
export async function trainCommand(text: readonly string[], flags: Word2VecFlags): Promise<number> {
  const { output = "vectors.bin", quiet = false, format } = flags;
  for (const [option, folder] of [
    ["--output", dirname(output)],
    ["--scratch", flags.scratch ?? "."],
  ] as const) {
    if (!existsSync(folder)) throw new UsageError(`${option}: there is no folder ${folder}`);
  }
  using interrupt = watchInterrupts(() => {
    const clear = process.stderr.isTTY ? "\r\x1b[2K" : "";
    process.stderr.write(`${clear}stopping and saving; Ctrl-C again aborts without saving\n`);
  });
  const job = await joinJob(flags);
  const first = job === undefined || job.rank === 0;
  const options = {
    ...withoutUndefined({ threads: flags.threads, scratch: flags.scratch }),
    ...(flags.memory === undefined ? {} : { maxBytes: Math.min(2 ** 34, Math.round(flags.memory * 2 ** 30)) }),
    progress: !quiet && first,
    signal: interrupt.signal,
  };
  const model = word2vec(modelOptions(flags));
  const { mode, every: everyWords, wire } = flags;
  const training =
    job === undefined
      ? model.train(text, options)
      : trainVectors(job, model, text, { ...options, ...withoutUndefined({ mode, everyWords, wire }) });
  const result = await training.catch((error: unknown) => {
    if (!interrupt.signal.aborted) throw error;
    process.stderr.write("interrupted before the training began; nothing is saved\n");
    return undefined;
  });
  await job?.close();
  if (result === undefined) return INTERRUPTED;
  if (!first) return result.stopped ? INTERRUPTED : 0;
  const { vectors, words, seconds, wordsPerSecond, dropped, stopped } = result;
  await vectors.save(output, format);
  if (dropped > 0)
    process.stderr.write(`left out ${formatCount(dropped)} words that are longer than 255 bytes or no UTF-8\n`);
  if (stopped) process.stderr.write(`interrupted after ${formatCount(words)} words\n`);
  console.log(
    `${formatCount(vectors.words.length)} vectors of ${vectors.dim} numbers from ${formatCount(words)} words in ${formatSeconds(seconds)} (${formatRate(wordsPerSecond)}) → ${shown(output)}`,
  );
  return stopped ? INTERRUPTED : 0;
}

/** The job of several processes that this one belongs to; undefined where it is alone. */
async function joinJob({ mode, every, wire }: Word2VecFlags): Promise<Job | undefined> {
  const { workers, servers } = worldFromEnvironment();
  if (servers > 0 || workers > 1) return await init({ threads: 1, engine: "wasm" });
  const stray = Object.entries({ mode, every, wire }).find(([, value]) => value !== undefined)?.[0];
  if (stray === undefined) return undefined;
  throw new UsageError(
    `--${stray} is for several workers: flotilla launch --servers 1 --workers 2 flotilla word2vec …`,
  );
}

function modelOptions(flags: Word2VecFlags): Parameters<typeof word2vec>[0] {
  const { dim, window, negative, cbow, minCount, subsample, epochs, lr, seed, phrases, phraseThreshold } = flags;
  if (phraseThreshold !== undefined && phrases === undefined) {
    throw new UsageError("--phrase-threshold needs --phrases, as in --phrases 1");
  }
  return {
    ...withoutUndefined({ dim, window, negative, cbow, minCount, subsample, epochs, lr, seed }),
    ...(phrases === undefined
      ? {}
      : { phrases: { passes: phrases, ...withoutUndefined({ threshold: phraseThreshold }) } }),
  };
}

const rowsOf = (neighbours: readonly Neighbour[]): { word: string; similarity: string }[] =>
  neighbours.map(({ word, similarity }) => ({ word, similarity: similarity.toFixed(4) }));

/** Returns the exit code. */
export async function nearest(path: string, words: readonly string[], flags: NearestFlags): Promise<number> {
  const vectors = await WordVectors.load(path);
  const found = words.map((word) => [word, vectors.nearest(word, flags.count ?? 10)] as const);
  if (flags.json) console.log(JSON.stringify(Object.fromEntries(found), null, 2));
  else console.log(found.map(([title, list]) => formatTable(rowsOf(list), { title })).join("\n"));
  return 0;
}

/** Returns the exit code. */
export async function analogy(path: string, words: readonly string[], flags: AnalogyFlags): Promise<number> {
  const { questions, pairs, count = 5, json = false } = flags;
  const scored = questions !== undefined || pairs !== undefined;
  if (words.length !== 3 && !(scored && words.length === 0)) {
    throw new UsageError(
      `analogy takes three words, as in france paris italy, or --questions FILE or --pairs FILE; got ${words.length} words`,
    );
  }
  const vectors = await WordVectors.load(path);
  const [a, b, c] = words as [string, string, string];
  const answers = words.length === 0 ? undefined : vectors.analogy(a, b, c, count);
  const analogies = questions === undefined ? undefined : evaluateAnalogies(vectors, questions, flags.among);
  const judged = pairs === undefined ? undefined : evaluatePairs(vectors, pairs);
  if (json) {
    console.log(JSON.stringify(withoutUndefined({ answers, questions: analogies, pairs: judged }), null, 2));
    return 0;
  }
  if (answers !== undefined) console.log(formatTable(rowsOf(answers), { title: `${a} is to ${b} as ${c} is to` }));
  if (analogies !== undefined) {
    const rows = [...analogies.sections, analogies.total].map(({ section, right, asked, unknown }) => {
      const accuracy = asked === 0 ? "–" : `${((100 * right) / asked).toFixed(1)} %`;
      return { section, accuracy, right, asked, "unknown words": unknown };
    });
    console.log(formatTable(rows));
  }
  if (judged !== undefined) {
    const { spearman, pairs: known, unknown } = judged;
    console.log(`Spearman ${spearman.toFixed(4)} over ${known} pairs; ${unknown} with unknown words left out`);
  }
  return 0;
}
