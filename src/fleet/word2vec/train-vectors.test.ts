// Word vectors by several workers beside servers: as good as by one process, the same in all workers, and whole when one leaves.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Membership, WorkUnit } from "../../cluster/index.ts";
import { testServers } from "../../ps/testing-servers.ts";
import { type WordVectors, word2vec } from "../../word2vec/index.ts";
import { topicText } from "../../word2vec/testing.ts";
import { init, type Job } from "../job.ts";
import { temporaryFolder } from "../testing.ts";
import { asWorkers, HEAP } from "../testing-served.ts";
import { rowsOfTurn, shareOf, turnsOf } from "./exchange.ts";
import { type TrainVectorsOptions, type TrainVectorsResult, trainVectors } from "./train-vectors.ts";

const folder = temporaryFolder();
const SENTENCES = 4000;
const text = join(folder.path, "topics.txt");
writeFileSync(text, topicText({ topics: 4, words: 12, sentences: SENTENCES }));
const WORDS = 12 * SENTENCES;
const small = { dim: 18, minCount: 1, subsample: 0, epochs: 10 };
const quiet = { progress: false, maxBytes: 2 ** 28, threads: 1 };

/** The share of nearest words that are of the same topic. */
function purityOf(vectors: WordVectors): number {
  const topic = (word: string): string => word.split("w")[0]!;
  const found = vectors.words.flatMap((word) =>
    vectors.nearest(word, 5).map((other) => topic(other.word) === topic(word)),
  );
  return found.filter(Boolean).length / found.length;
}

const numbersOf = (vectors: WordVectors): number[] => vectors.words.flatMap((word) => [...vectors.vector(word)]);

const farthest = (a: WordVectors, b: WordVectors): number => {
  expect(a.words).toEqual(b.words);
  const [x, y] = [numbersOf(a), numbersOf(b)];
  return x.reduce((most, value, i) => Math.max(most, Math.abs(value - y[i]!)), 0);
};

async function train(
  workers: number,
  partitions: number,
  options: TrainVectorsOptions,
  run: (job: Job, options: TrainVectorsOptions) => Promise<TrainVectorsResult> = (job, own) =>
    trainVectors(job, word2vec(small), text, own),
): Promise<TrainVectorsResult[]> {
  await using servers = await testServers(partitions);
  const own = { ...quiet, ...options };
  return await asWorkers(workers, servers.addresses, { threads: 1, engine: "wasm" }, (job) => run(job, own));
}

test("one worker with one thread learns what one process does", async () => {
  const reference = await word2vec(small).train(text, quiet);
  const [served] = await train(1, 2, { everyWords: 50_000, wire: "f32" });
  expect(farthest(served!.vectors, reference.vectors)).toBeLessThan(1e-5);
  expect(served).toMatchObject({ words: 10 * WORDS, stopped: false, dropped: 0 });
  expect(served!.traffic.sentRows).toBeGreaterThan(2 * 48);
});

test.each([
  [2, 2, {}],
  [3, 1, { wire: "f32", everyWords: 20_000, threads: 2 }],
  [2, 1, { mode: "async" }],
] as const)("%d workers beside %d partitions, %j, learn as well and the same", async (workers, partitions, options) => {
  const results = await train(workers, partitions, options);
  const [first, ...others] = results.map(({ vectors }) => vectors);
  expect(purityOf(first!)).toBeGreaterThan(0.9);
  for (const other of others) expect(farthest(other, first!)).toBeLessThan(0.01);
  const words = results.reduce((sum, result) => sum + result.words, 0);
  expect(Math.abs(words / (10 * WORDS) - 1)).toBeLessThan(0.01);
  for (const { words } of results) expect(words * workers).toBeGreaterThan(9 * WORDS);
  for (const { traffic } of results) expect(traffic.receivedBytes).toBeGreaterThan(48 * 18 * 2);
});

test("the share of a worker that leaves goes to another, from where it was", async () => {
  const results = await train(2, 1, { everyWords: 40_000 }, async (job, options) => {
    if (job.rank === 0) return await trainVectors(job, word2vec(small), text, options);
    const stop = new AbortController();
    afterFirstNote(job.workers.member!, () => stop.abort());
    return await trainVectors(job, word2vec(small), text, { ...options, signal: stop.signal });
  });
  const [stayed, left] = results;
  expect(left!.stopped).toBe(true);
  expect(purityOf(stayed!.vectors)).toBeGreaterThan(0.9);
  expect(left!.words).toBeLessThan(3 * WORDS);
  // What the other had done before its note is not done again.
  expect(Math.abs((stayed!.words + left!.words) / (10 * WORDS) - 1)).toBeLessThan(0.2);
  expect(stayed!.words).toBeGreaterThan(7 * WORDS);
});

/** Calls back when a unit of work that the member holds has got its first note. */
function afterFirstNote(member: Membership, call: () => void): void {
  const lease = member.lease.bind(member);
  member.lease = async (key, items) => {
    const queue = await lease(key, items);
    const next = async (): Promise<WorkUnit | undefined> => {
      const unit = await queue.next();
      if (unit === undefined) return undefined;
      const progress = async (note: string): Promise<void> => {
        await unit.progress(note);
        call();
      };
      return { index: unit.index, item: unit.item, noted: unit.noted, progress, done: () => unit.done() };
    };
    return { next };
  };
}

test("wrong use is refused by name", async () => {
  const job = await init({ threads: 1, engine: "wasm", maxBytes: HEAP });
  const alone = await trainVectors(job, word2vec({ ...small, epochs: 1 }), text, quiet);
  expect(alone.traffic.sentBytes).toBe(0);
  const call = (options: object): Promise<unknown> =>
    trainVectors(job, word2vec(small), text, { ...quiet, ...options } as TrainVectorsOptions);
  await expect(call({ mode: "sync" })).rejects.toThrow(/word2vec: [\s\S]*mode/);
  await expect(call({ mode: "async", everyWords: 5 })).rejects.toThrow('everyWords is for mode "geo"');
  await expect(call({ window: 5 })).rejects.toThrow('Unrecognized key: "window"');
  await job.close();
});

test("workers find the same phrases", async () => {
  const phrased = join(folder.path, "phrased.txt");
  writeFileSync(phrased, readFileSync(text, "utf8").replace(/\bt0w0\b/g, "new york"));
  const model = { ...small, epochs: 1, phrases: { threshold: 20 } };
  const results = await train(2, 1, {}, (job, own) => trainVectors(job, word2vec(model), phrased, own));
  const [first, second] = results.map(({ vectors }) => vectors);
  expect(second!.words).toEqual(first!.words);
  expect(first!.words.filter((word) => word.includes("_"))).toEqual(["new_york"]);
});

test("frequent words are exchanged more often, and added up less", () => {
  const rows = 1000;
  const sent = Array.from({ length: 32 }, (_, i) => rowsOfTurn(i + 1, rows));
  expect(sent.slice(0, 8)).toEqual([64, 128, 64, 252, 64, 128, 64, 500]);
  expect([sent[15], sent[31]]).toEqual([rows, rows]);
  for (const row of [0, 60, 63, 200, 400, 999]) {
    expect(sent.filter((upTo) => row < upTo).length).toBeGreaterThanOrEqual(32 / turnsOf(row, rows));
  }
  expect(shareOf(0, 4)).toBe(1);
  expect(shareOf(1e9, 4)).toBeCloseTo(1 / 4, 6);
  expect(shareOf(300, 2)).toBeCloseTo(2 / 3, 6);
});

test("another text is refused: its rows would be other words", async () => {
  const other = join(folder.path, "other.txt");
  writeFileSync(other, topicText({ topics: 4, words: 13, sentences: 1000 }));
  await using servers = await testServers(1);
  const make = async (path: string): Promise<void> => {
    const job = await init({ threads: 1, engine: "wasm", maxBytes: HEAP, servers: servers.addresses });
    try {
      await trainVectors(job, word2vec({ ...small, epochs: 1 }), path, quiet);
    } finally {
      await job.close();
    }
  };
  await make(text);
  await expect(make(other)).rejects.toThrow(/another model/);
});
