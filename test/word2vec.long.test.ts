// Word vectors of Wikipedia's text beside those of the original C program with the same settings: similarities and analogies.
// The program is taken from the folder that FLOTILLA_WORD2VEC_C names; without it, its scores as measured before stand in.
import { spawnSync } from "node:child_process";
import { createReadStream, createWriteStream, existsSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { sharedData } from "../bench/lib/real-data.ts";
import { temporaryFolder } from "../src/data/testing.ts";
import { asWorkers } from "../src/fleet/testing-served.ts";
import { trainVectors } from "../src/fleet/word2vec/train-vectors.ts";
import { testServers } from "../src/ps/testing-servers.ts";
import { evaluateAnalogies, evaluatePairs, WordVectors, word2vec } from "../src/word2vec/index.ts";

const shared = sharedData();
const text = shared === undefined ? undefined : join(shared, "text");
const absent = text === undefined || !existsSync(join(text, "wiki8.gz")) ? "no ../shared/data/text" : undefined;
const source = process.env.FLOTILLA_WORD2VEC_C;

const folder = temporaryFolder();
afterAll(() => folder.dispose());

interface Scores {
  readonly wordSim: number;
  readonly analogies: number;
}

function scoresOf(vectors: WordVectors): Scores {
  const { right, asked } = evaluateAnalogies(vectors, join(text!, "questions-words.txt")).total;
  return { wordSim: evaluatePairs(vectors, join(text!, "wordsim353.tsv")).spearman, analogies: right / asked };
}

/** Of one epoch, skip-gram, 100 numbers, window 5, 5 negatives, subsampling 1e-4, one thread, built with -O3. */
const MEASURED: Scores = { wordSim: 0.426, analogies: 0.101 };

async function original(): Promise<Scores> {
  if (source === undefined) return MEASURED;
  const [program, plain, vectors] = ["word2vec", "wiki8", "vectors.bin"].map((name) => join(folder.path, name)) as [
    string,
    string,
    string,
  ];
  const build = ["-O3", "-march=native", join(source, "src/word2vec.c"), "-o", program, "-lm", "-lpthread"];
  expect(spawnSync("gcc", build).status).toBe(0);
  await pipeline(createReadStream(join(text!, "wiki8.gz")), createGunzip(), createWriteStream(plain));
  const files = ["-train", plain, "-output", vectors, "-binary", "1", "-threads", "2", "-iter", "1"];
  const settings = ["-size", "100", "-window", "5", "-negative", "5", "-sample", "1e-4", "-cbow", "0", "-hs", "0"];
  expect(spawnSync(program, [...files, ...settings, "-min-count", "5"], { stdio: "ignore" }).status).toBe(0);
  return scoresOf(await WordVectors.load(vectors));
}

/** What seeds and thread timings change. */
const NOISE: Scores = { wordSim: 0.03, analogies: 0.015 };

describe.skipIf(absent)(`Wikipedia's text${absent ? ` (skipped: ${absent})` : ""}`, () => {
  const settings = { dim: 100, window: 5, negative: 5, subsample: 1e-4, minCount: 5 };
  const train = (options: Parameters<typeof word2vec>[0], threads: number) =>
    word2vec({ ...settings, ...options }).train(join(text!, "wiki8.gz"), { threads, progress: false });

  test.each([1, 2])(
    "one epoch by %i threads is as good as the original's, and survives both formats",
    async (threads) => {
      const { vectors, words } = await train({ epochs: 1 }, threads);
      expect(vectors.words.length).toBeGreaterThan(60_000);
      expect(words).toBeGreaterThan(16e6);
      const [own, reference] = [scoresOf(vectors), await original()];
      console.log({ threads, own, reference });
      expect(own.wordSim).toBeGreaterThan(reference.wordSim - NOISE.wordSim);
      expect(own.analogies).toBeGreaterThan(reference.analogies - NOISE.analogies);
      for (const name of ["wiki.bin", "wiki.vec"]) {
        await vectors.save(join(folder.path, name));
        expect(scoresOf(await WordVectors.load(join(folder.path, name)))).toEqual(own);
      }
    },
  );

  test("two workers of Geo-SGD are about as good", async () => {
    await using servers = await testServers(1);
    const plain = join(folder.path, "wiki8.txt");
    await pipeline(createReadStream(join(text!, "wiki8.gz")), createGunzip(), createWriteStream(plain));
    const options = { threads: 1, progress: false, maxBytes: 2 ** 30 };
    const [first] = await asWorkers(2, servers.addresses, { threads: 1, engine: "wasm" }, (job) =>
      trainVectors(job, word2vec({ ...settings, epochs: 1 }), plain, options),
    );
    const own = scoresOf(first!.vectors);
    console.log({ workers: 2, own });
    expect(own.wordSim).toBeGreaterThan(MEASURED.wordSim - NOISE.wordSim);
    expect(own.analogies).toBeGreaterThan(MEASURED.analogies - 2 * NOISE.analogies);
  });

  test("three epochs reach 0.6 and a quarter of the analogies", async () => {
    const own = scoresOf((await train({ epochs: 3 }, 2)).vectors);
    console.log({ epochs: 3, own });
    expect(own.wordSim).toBeGreaterThan(0.6);
    expect(own.analogies).toBeGreaterThan(0.25);
  });

  test("CBOW learns, and phrases are found", async () => {
    const { vectors } = await train({ epochs: 1, cbow: true, phrases: true }, 2);
    for (const phrase of ["los_angeles", "prime_minister", "united_kingdom"]) expect(vectors.words).toContain(phrase);
    expect(scoresOf(vectors).wordSim).toBeGreaterThan(0.35);
  });
});
