// Word vectors: words a second of one thread beside word2vec.c, pWord2Vec, fastText and gensim with the same settings on
// the same text in the same run, taking turns; reading of text; two threads beside one.
import { createReadStream, existsSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { createGunzip } from "node:zlib";
import { word2vec } from "../src/word2vec/index.ts";
import { topicText } from "../src/word2vec/testing.ts";
import { replaceFile, scratchFile } from "./lib/paths.ts";
import { sharedData } from "./lib/real-data.ts";
import { atLeast, type BenchGoal, type BenchOptions, type BenchResult, type BenchRow, say } from "./lib/report.ts";
import { type TrainingJob, type Word2VecPeer, word2vecPeers } from "./lib/word2vec-peers.ts";

const ROUNDS = 3;
/** Bytes of Wikipedia's text: enough for a vocabulary that outgrows the second-level cache. */
const TEXT_BYTES = 12e6;
const QUICK_BYTES = 1e6;

const settings = { window: 5, negative: 5, subsample: 1e-4, minCount: 5 } as const;

/** How many times as fast as a peer, by dimension. */
const GOALS: readonly { readonly peer: string; readonly ratios: Readonly<Record<number, number>> }[] = [
  { peer: "word2vec.c", ratios: { 100: 8, 300: 5.5 } },
  { peer: "fastText", ratios: { 100: 12, 300: 12 } },
  { peer: "gensim", ratios: { 100: 5, 300: 3.5 } },
  { peer: "pWord2Vec, tuned OpenBLAS", ratios: { 100: 1, 300: 1 } },
];

/** Runs the benchmark and says which goals were met. */
export async function run({ quick = false }: BenchOptions = {}): Promise<BenchResult> {
  const rows: BenchRow[] = [];
  const goals: BenchGoal[] = [];
  const text = await textFile(quick ? QUICK_BYTES : TEXT_BYTES);
  const peers = word2vecPeers();
  for (const dim of [100, 300]) {
    const job = { text, dim, ...settings };
    const rates = await takeTurns(job, peers, quick ? 1 : ROUNDS);
    for (const [system, rate] of rates)
      rows.push({ system, metric: `skip-gram, dim ${dim}, one thread`, value: rate, unit: "k words/s" });
    for (const { peer, ratios } of GOALS) {
      const rate = rates.get(peer);
      if (rate !== undefined)
        goals.push(atLeast(`flotilla / ${peer}, dim ${dim}`, rates.get("flotilla")! / rate, ratios[dim]!));
    }
  }
  const one = rows.find(({ system }) => system === "flotilla")!.value;
  const two = await flotilla({ text, dim: 100, ...settings }, 2);
  rows.push({ system: "flotilla", metric: "skip-gram, dim 100, two threads", value: two, unit: "k words/s" });
  rows.push({ system: "flotilla", metric: "two threads / one", value: two / one, unit: "×" });
  rows.push({
    system: "flotilla",
    metric: "CBOW, dim 100, one thread",
    value: await flotilla({ text, dim: 100, ...settings }, 1, true),
    unit: "k words/s",
  });
  return { rows, goals };
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
