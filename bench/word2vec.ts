// Word vectors: words a second of one thread beside word2vec.c, pWord2Vec, fastText and gensim with the same settings on
// the same text in the same run, taking turns; two threads beside one; several workers beside a server.
import { createReadStream, existsSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { createGunzip } from "node:zlib";
import { word2vec } from "../src/word2vec/index.ts";
import { topicText } from "../src/word2vec/testing.ts";
import { replaceFile, scratchFile } from "./lib/paths.ts";
import { sharedData } from "./lib/real-data.ts";
import { atLeast, type BenchOptions, type BenchResult, say } from "./lib/report.ts";
import { geoScaling, overSlowNetwork } from "./lib/word2vec-jobs.ts";
import { type TrainingJob, type Word2VecPeer, word2vecPeers } from "./lib/word2vec-peers.ts";

/** Turns by dimension: each part ends within five minutes. */
const ROUNDS: Readonly<Record<number, number>> = { 100: 3, 300: 2 };
/** Bytes of Wikipedia's text: enough for a vocabulary that outgrows the second-level cache. */
const TEXT_BYTES = 12e6;
const PEER_BYTES = 8e6;
/** All of it: exchanges cost by the words of the vocabulary, so that long texts hide them. */
const GEO_BYTES = 100e6;
const QUICK_BYTES = 1e6;

const settings = { window: 5, negative: 5, subsample: 1e-4, minCount: 5 } as const;

/** How many times as fast as a peer, by dimension. */
const GOALS: readonly { readonly peer: string; readonly ratios: Readonly<Record<number, number>> }[] = [
  { peer: "word2vec.c", ratios: { 100: 8, 300: 5.5 } },
  { peer: "fastText", ratios: { 100: 12, 300: 12 } },
  { peer: "gensim", ratios: { 100: 5, 300: 3.5 } },
  { peer: "pWord2Vec, tuned OpenBLAS", ratios: { 100: 1, 300: 1 } },
];

/** One thread beside the peers, in turns. */
async function besidePeers(dim: number, quick: boolean): Promise<BenchResult> {
  const job = { text: await textFile(quick ? QUICK_BYTES : PEER_BYTES), dim, ...settings };
  const rates = await takeTurns(job, word2vecPeers(), quick ? 1 : ROUNDS[dim]!);
  return {
    rows: [...rates].map(([system, value]) => ({
      ...{ system, metric: `skip-gram, dim ${dim}, one thread`, value, unit: "k words/s" },
    })),
    goals: GOALS.flatMap(({ peer, ratios }) => {
      const rate = rates.get(peer);
      if (rate === undefined) return [];
      return [atLeast(`flotilla / ${peer}, dim ${dim}`, rates.get("flotilla")! / rate, ratios[dim]!)];
    }),
  };
}

const THREAD_ROUNDS = 3;
/** While the engine still optimises the kernel, threads are slow: a tenth of a second, which long trainings do not notice. */
const THREAD_EPOCHS = 3;

async function threads(quick: boolean): Promise<BenchResult> {
  const text = await textFile(quick ? QUICK_BYTES : TEXT_BYTES);
  const best = new Map<string, number>();
  for (let round = 0; round < (quick ? 1 : THREAD_ROUNDS); round++) {
    const measure = async (name: string, dim: number, options: FlotillaOptions): Promise<void> => {
      const rate = await flotilla({ text, dim, ...settings }, { epochs: quick ? 1 : THREAD_EPOCHS, ...options });
      best.set(name, Math.max(rate, best.get(name) ?? 0));
    };
    for (const dim of [100, 300]) {
      await measure(`skip-gram, dim ${dim}, one thread`, dim, { threads: 1 });
      await measure(`skip-gram, dim ${dim}, two threads`, dim, { threads: 2 });
    }
    await measure("CBOW, dim 100, one thread", 100, { threads: 1, cbow: true });
  }
  const ratio = (dim: number): number =>
    best.get(`skip-gram, dim ${dim}, two threads`)! / best.get(`skip-gram, dim ${dim}, one thread`)!;
  return {
    rows: [...best].map(([metric, value]) => ({ system: "flotilla", metric, value, unit: "k words/s" })),
    goals: [100, 300].map((dim) => atLeast(`two threads / one, dim ${dim}`, ratio(dim), 1.8)),
  };
}

/** As in long trainings: between two exchanges a worker trains on many words for each of the vocabulary. */
const GEO_WORDS = 2e6;
const GEO_EPOCHS = 3;

const jobOf = async (quick: boolean): Promise<Parameters<typeof geoScaling>[0]> => ({
  text: await textFile(quick ? QUICK_BYTES : GEO_BYTES),
  model: { dim: 100, epochs: GEO_EPOCHS, ...settings },
  options: { everyWords: quick ? 1e5 : GEO_WORDS },
});

const measures: Readonly<Record<string, (quick: boolean) => Promise<BenchResult>>> = {
  dim100: (quick) => besidePeers(100, quick),
  dim300: (quick) => besidePeers(300, quick),
  threads,
  geo: async (quick) => geoScaling(await jobOf(quick), quick ? 1 : 3),
  network: async (quick) => overSlowNetwork(await jobOf(quick)),
};

/** What `--only` picks from. */
export const parts: readonly string[] = Object.keys(measures);

/** Runs the benchmark and says which goals were met. */
export async function run({ quick = false, only = parts }: BenchOptions = {}): Promise<BenchResult> {
  const results: BenchResult[] = [];
  for (const [name, measure] of Object.entries(measures)) if (only.includes(name)) results.push(await measure(quick));
  return { rows: results.flatMap(({ rows }) => rows), goals: results.flatMap(({ goals }) => goals) };
}

/** The best of a few turns, as another process may take the core in any one. */
async function takeTurns(
  job: TrainingJob,
  peers: readonly Word2VecPeer[],
  rounds: number,
): Promise<Map<string, number>> {
  const best = new Map<string, number>();
  const keep = (name: string, rate: number): void => {
    best.set(name, Math.max(rate, best.get(name) ?? 0));
  };
  for (let round = 0; round < rounds; round++) {
    keep("flotilla", await flotilla(job, { threads: 1 }));
    for (const { name, train } of peers) {
      say(`dim ${job.dim}, round ${round + 1}/${rounds}: ${name}`);
      keep(name, train(job));
    }
  }
  return best;
}

interface FlotillaOptions {
  readonly threads: number;
  readonly epochs?: number;
  readonly cbow?: boolean;
}

/** Thousand words a second of all threads. */
async function flotilla(
  { text, ...options }: TrainingJob,
  { threads, epochs = 1, cbow = false }: FlotillaOptions,
): Promise<number> {
  const model = word2vec({ ...options, cbow, epochs });
  const { wordsPerSecond } = await model.train(text, { threads, progress: false, maxBytes: 2 ** 30 });
  return wordsPerSecond / 1000;
}

/** The beginning of Wikipedia's text where this machine has it, else a text that is made up. */
async function textFile(bytes: number): Promise<string> {
  const path = scratchFile(`word2vec-${bytes}.txt`);
  if (existsSync(path) && statSync(path).size === bytes) return path;
  const shared = sharedData();
  const packed = shared === undefined ? undefined : join(shared, "text/wiki8.gz");
  if (packed === undefined || !existsSync(packed)) {
    say("no text/wiki8.gz in the shared data: the text is made up");
    const made = scratchFile("word2vec-made.txt");
    replaceFile(made, (file) => writeSync(file, topicText({ topics: 500, words: 60, sentences: bytes / 80 })));
    return made;
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of createReadStream(packed).pipe(createGunzip()) as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size >= bytes) break;
  }
  replaceFile(path, (file) => writeSync(file, Buffer.concat(chunks).subarray(0, bytes)));
  return path;
}
