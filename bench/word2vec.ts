// Word vectors: words a second of one thread beside word2vec.c, pWord2Vec, fastText and gensim with the same settings on
// the same text in the same run, taking turns; two threads beside one; several workers beside a server.
import { createReadStream, existsSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { createGunzip } from "node:zlib";
import { word2vec } from "../src/word2vec/index.ts";
import { topicText } from "../src/word2vec/testing.ts";
import { replaceFile, scratchFile } from "./lib/paths.ts";
import { sharedData } from "./lib/real-data.ts";
import { atLeast, type BenchOptions, type BenchResult, type BenchRow, say } from "./lib/report.ts";
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

async function threads(quick: boolean): Promise<BenchResult> {
  const job = { text: await textFile(quick ? QUICK_BYTES : TEXT_BYTES), dim: 100, ...settings };
  const rates = { one: 0, two: 0, cbow: 0 };
  for (let round = 0; round < (quick ? 1 : 3); round++) {
    rates.one = Math.max(rates.one, await flotilla(job, 1));
    rates.two = Math.max(rates.two, await flotilla(job, 2));
    rates.cbow = Math.max(rates.cbow, await flotilla(job, 1, true));
  }
  const row = (metric: string, value: number, unit = "k words/s"): BenchRow => ({
    ...{ system: "flotilla", metric, value, unit },
  });
  return {
    rows: [
      row("skip-gram, dim 100, one thread", rates.one),
      row("skip-gram, dim 100, two threads", rates.two),
      row("two threads / one", rates.two / rates.one, "×"),
      row("CBOW, dim 100, one thread", rates.cbow),
    ],
    goals: [],
  };
}

/** As in long trainings: between two exchanges a worker trains on many words for each of the vocabulary. */
const GEO_WORDS = 2e6;
const GEO_EPOCHS = 2;

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
    keep("flotilla", await flotilla(job, 1));
    for (const { name, train } of peers) {
      say(`dim ${job.dim}, round ${round + 1}/${rounds}: ${name}`);
      keep(name, train(job));
    }
  }
  return best;
}

/** Thousand words a second, a thread or of all. */
async function flotilla({ text, ...options }: TrainingJob, threads: number, cbow = false): Promise<number> {
  const model = word2vec({ ...options, cbow, epochs: 1 });
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
