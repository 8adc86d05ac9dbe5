// Training from files to vectors: what is near, threads, stopping, the place where others plug in, and wrong options.
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { temporaryFolder } from "../data/testing.ts";
import { type SharedEmbeddings, type Word2VecResult, word2vec } from "./index.ts";
import { topicText } from "./testing.ts";

const folder = temporaryFolder();
afterAll(() => folder.dispose());
const small = { dim: 20, minCount: 1, subsample: 0, epochs: 8 };
const quiet = { progress: false, maxBytes: 2 ** 28, scratch: folder.path };

const path = join(folder.path, "topics.txt");
writeFileSync(path, topicText({ topics: 4, words: 12, sentences: 4000 }));

/** The share of nearest words that are of the same topic. */
function purity({ vectors }: Word2VecResult): number {
  const topic = (word: string): string => word.split("w")[0]!;
  const found = vectors.words.flatMap((word) =>
    vectors.nearest(word, 5).map((near) => topic(near.word) === topic(word)),
  );
  return found.filter(Boolean).length / found.length;
}

describe("words of a topic come near to each other", () => {
  test.each([
    ["skip-gram", {}, 1],
    ["skip-gram by two threads", {}, 2],
    ["CBOW", { cbow: true, epochs: 15 }, 1],
    ["CBOW by two threads", { cbow: true, epochs: 15 }, 2],
    ["many negatives, an odd dimension", { negative: 12, dim: 13 }, 2],
    ["subsampling", { subsample: 0.01, epochs: 12 }, 2],
  ])("%s", async (_, options, threads) => {
    const result = await word2vec({ ...small, ...options }).train(path, { ...quiet, threads });
    expect(purity(result)).toBeGreaterThan(0.9);
    expect(result).toMatchObject({ stopped: false, dropped: 0 });
    expect(result.words).toBe(4000 * 12 * (("epochs" in options ? options.epochs : small.epochs) as number));
    expect(result.vectors.words.length).toBe(48);
  });
});

test("one thread repeats itself; another seed does not; gzip is the same text", async () => {
  const packed = join(folder.path, "topics.gz");
  writeFileSync(packed, gzipSync(topicText({ topics: 4, words: 12, sentences: 4000 })));
  const train = async (file: string, seed = 1): Promise<number[]> => {
    const { vectors } = await word2vec({ ...small, epochs: 1, seed }).train(file, { ...quiet, threads: 1 });
    return [...vectors.vector("t0w0")];
  };
  const first = await train(path);
  expect(await train(path)).toEqual(first);
  expect(await train(path, 2)).not.toEqual(first);
  expect(await train(packed)).toEqual(first);
});

test("several files and globs are one text", async () => {
  for (const i of [0, 1, 2]) writeFileSync(join(folder.path, `part-${i}.txt`), `a${i} b${i} a${i}\n`);
  const { vectors } = await word2vec({ ...small, epochs: 1 }).train(join(folder.path, "part-*.txt"), quiet);
  expect([...vectors.words].sort()).toEqual(["a0", "a1", "a2", "b0", "b1", "b2"]);
});

test("a signal stops the training and leaves vectors; nothing lies around", async () => {
  const controller = new AbortController();
  const training = word2vec({ ...small, epochs: 10_000 }).train(path, {
    ...quiet,
    threads: 2,
    signal: controller.signal,
    synchronise: { everyWords: 100_000, run: () => controller.abort() },
  });
  const result = await training;
  expect(result.stopped).toBe(true);
  expect(result.words).toBeLessThan(4000 * 12 * 10_000);
  expect(result.vectors.vector("t0w0").every(Number.isFinite)).toBe(true);
  expect(readdirSync(folder.path).filter((name) => name.includes("word2vec"))).toEqual([]);
  await expect(word2vec(small).train(path, { ...quiet, signal: AbortSignal.abort() })).rejects.toThrow(/abort/);
});

describe("synchronise", () => {
  test("sees the matrices and the rows that have changed, while training and at the end", async () => {
    const seen = { calls: 0, input: new Set<number>(), output: new Set<number>() };
    let atOnce = 0;
    let shapes: Pick<SharedEmbeddings, "rows" | "dim" | "stride"> | undefined;
    const { vectors } = await word2vec({ ...small, dim: 10 }).train(path, {
      ...quiet,
      threads: 2,
      synchronise: {
        everyWords: 20_000,
        async run(embeddings) {
          expect(++atOnce).toBe(1);
          shapes = embeddings;
          for (const matrix of ["input", "output"] as const) {
            const rows = embeddings.takeTouched(matrix);
            expect(new Set(rows).size).toBe(rows.length);
            for (const row of rows) seen[matrix].add(row);
          }
          seen.calls++;
          await new Promise(setImmediate);
          atOnce--;
        },
      },
    });
    expect(seen.calls).toBeGreaterThan(2);
    expect([seen.input.size, seen.output.size]).toEqual([48, 48]);
    expect(shapes).toMatchObject({ rows: 48, dim: 10, stride: 16 });
    expect(vectors.dim).toBe(10);
  });

  test("may write: what it adds to a row stays", async () => {
    const { vectors } = await word2vec({ ...small, epochs: 1, lr: 1e-9 }).train(path, {
      ...quiet,
      threads: 1,
      synchronise: {
        everyWords: 1e9,
        run: ({ matrices, stride, takeTouched }) => {
          for (const row of takeTouched("input")) matrices.input[row * stride] = 7;
        },
      },
    });
    expect(vectors.words.every((word) => vectors.vector(word)[0] === 7)).toBe(true);
  });

  test("that fails ends the training with its error", async () => {
    const failing = { everyWords: 1000, run: () => Promise.reject(new Error("the server is gone")) };
    await expect(
      word2vec({ ...small, epochs: 10_000 }).train(path, { ...quiet, threads: 2, synchronise: failing }),
    ).rejects.toThrow("the server is gone");
  });
});

describe("wrong use is refused by name", () => {
  test.each([
    [{ dim: 0 }, /word2vec: option dim: .*\(got 0\)/],
    [{ window: 1.5 }, /option window/],
    [{ subsample: 2 }, /option subsample/],
    [{ phrases: { passes: 9 } }, /option phrases.passes/],
    [{ negatives: 5 }, /Unrecognized key: "negatives"/],
  ])("%j", (options, message) => {
    expect(() => word2vec(options as object)).toThrow(message);
  });

  test.each([
    [{ threads: 0 }, /word2vec.train: option threads/],
    [{ shard: { rank: 2, worldSize: 2 } }, /option shard: rank must lie below worldSize/],
    [{ signal: "stop" }, /option signal: expected an AbortSignal/],
    [{ synchronise: { everyWords: 5, run: 3 } }, /option synchronise.run: expected a function/],
  ])("%j", async (options, message) => {
    await expect(word2vec(small).train(path, options as object)).rejects.toThrow(message);
  });

  test("a heap that is too small says so", async () => {
    const tight = { ...quiet, maxBytes: 2 ** 24, threads: 1 };
    await expect(
      word2vec({ ...small, dim: 4096, negative: 100 }).train(path, { ...tight, threads: 40 }),
    ).rejects.toThrow(/the heap is full/);
  });

  test("a rate that is too high is found out", async () => {
    await expect(word2vec({ ...small, lr: 10, epochs: 60, cbow: true }).train(path, quiet)).rejects.toThrow(
      /not finite any more: a learning rate of 10 is too high/,
    );
  });
});
