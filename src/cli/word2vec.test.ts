// The real command, from text to vectors to answers.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { topicText } from "../word2vec/testing.ts";
import { type Outcome, Workplace } from "./testing.ts";

const place = new Workplace();
afterAll(() => place.dispose());

let trained: Outcome;
const small = ["--dim", "16", "--min-count", "1", "--subsample", "0", "--threads", "2"];
beforeAll(async () => {
  place.write("topics.txt", topicText({ topics: 3, words: 8, sentences: 3000 }));
  trained = await place.run("word2vec", "train", "topics.txt", "-o", "topics.vec", "--epochs", "6", ...small);
}, 60_000);

describe("flotilla word2vec train", () => {
  it("shows its progress and writes vectors", () => {
    expect(trained).toMatchObject({ code: 0 });
    expect(trained.stderr).toMatch(/^epoch 6\/6 +100 % +216 k\/216 k +[\d.]+ ?[kM]?\/s$/m);
    expect(trained.stdout).toMatch(/^24 vectors of 16 numbers from 216 k words in .* → topics.vec\n$/);
    expect(place.read("topics.vec")).toMatch(/^24 16\nt\dw\d -?[\d.]/);
  });

  it("writes binary files and phrases, quietly", async () => {
    place.write(
      "city.txt",
      `${"he went to new york today and saw them all there ".repeat(60)}\n${topicText({ topics: 4, words: 8, sentences: 500 })}`,
    );
    const flags = ["--phrases", "1", "--phrase-threshold", "20", "--quiet", "--cbow", "--epochs", "1"];
    const { code, stderr, stdout } = await place.run("word2vec", "train", "city.txt", ...small, ...flags);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/→ vectors.bin$/m);
    expect(place.read("vectors.bin")).toContain("new_york ");
  });

  it("trains by the workers of a job; the first one saves", async () => {
    const job = ["launch", "--servers", "1", "--workers", "2", "--threads", "1", "flotilla"];
    const words = ["word2vec", "train", "topics.txt", "-o", "job.vec", "--epochs", "8", "--every", "50000"];
    const flags = ["--dim", "16", "--min-count", "1", "--subsample", "0", "--wire", "f32", "--quiet"];
    const { code, stdout, stderr } = await place.run(...job, ...words, ...flags);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stdout.match(/24 vectors of 16 numbers from 14\d k words/g)).toHaveLength(1);
    const near = JSON.parse((await place.run("word2vec", "nearest", "job.vec", "t0w0", "-n", "3", "--json")).stdout);
    expect(near.t0w0.map(({ word }: { word: string }) => word.slice(0, 2))).toEqual(["t0", "t0", "t0"]);
    const alone = await place.run("word2vec", "train", "topics.txt", "--every", "5");
    expect(alone).toMatchObject({ code: 2, stderr: expect.stringContaining("--every is for several workers") });
  });

  it("saves what it has on Ctrl-C", async () => {
    const child = place.start("word2vec", "train", "topics.txt", "-o", "half.bin", "--epochs", "10000", ...small);
    await child.until(() => /epoch \d+\/10000/.test(child.stderr));
    child.process.kill("SIGINT");
    const { code, stderr } = await child.outcome;
    expect(code).toBe(130);
    expect(stderr).toMatch(/stopping and saving[\s\S]*interrupted after/);
    expect((await place.run("word2vec", "nearest", "half.bin", "t0w0", "-n", "1")).code).toBe(0);
  });

  it("says what is wrong with its input", async () => {
    place.write("zeros.txt", Buffer.from("a\0b"));
    const [missing, zeros, rare, folder, threshold] = await Promise.all([
      place.run("word2vec", "train", "nothing.txt"),
      place.run("word2vec", "train", "zeros.txt", "--threads", "1"),
      place.run("word2vec", "train", "topics.txt", "--min-count", "1000000", "--threads", "1", "--quiet"),
      place.run("word2vec", "train", "topics.txt", "-o", "no/such/folder.bin"),
      place.run("word2vec", "train", "topics.txt", "--phrase-threshold", "3"),
    ]);
    expect(missing).toMatchObject({ code: 1, stderr: expect.stringContaining('no file matches "nothing.txt"') });
    expect(zeros).toMatchObject({ code: 1, stderr: expect.stringContaining("zeros.txt: has a zero byte at byte 1") });
    expect(rare).toMatchObject({ code: 1, stderr: expect.stringContaining("no word occurs 1000000 times") });
    expect(folder).toMatchObject({ code: 2, stderr: expect.stringContaining("there is no folder no/such") });
    expect(threshold).toMatchObject({ code: 2, stderr: expect.stringContaining("--phrase-threshold needs --phrases") });
    expect(place.has("vectors.bin.tmp")).toBe(false);
  });
});

describe("flotilla word2vec nearest and analogy", () => {
  it("find words of the same topic", async () => {
    const [table, json] = await Promise.all([
      place.run("word2vec", "nearest", "topics.vec", "t0w0", "t1w3", "--count", "4"),
      place.run("word2vec", "nearest", "topics.vec", "t0w0", "--json"),
    ]);
    expect(table.code).toBe(0);
    expect(table.stdout).toMatch(/^t0w0\n┌─+┬─+┐\n│ word +│ similarity │/);
    expect(table.stdout.match(/│ t1w\d/g)?.length).toBeGreaterThan(2);
    const found = JSON.parse(json.stdout) as { t0w0: { word: string; similarity: number }[] };
    expect(found.t0w0.length).toBe(10);
    expect(found.t0w0[0]!.word).toMatch(/^t0/);
  });

  it("answer and score", async () => {
    place.write("questions.txt", ": within\nt0w0 t0w1 t0w2 t0w3\nt1w0 t1w1 t1w2 nobody\n");
    place.write("pairs.tsv", "t0w0\tt0w1\t9\nt0w0\tt1w1\t1\nt2w0\tt2w1\t8\nt2w0\tt1w1\t2\n");
    const [words, scores, json] = await Promise.all([
      place.run("word2vec", "analogy", "topics.vec", "t0w0", "t0w1", "t1w0"),
      place.run("word2vec", "analogy", "topics.vec", "--questions", "questions.txt", "--pairs", "pairs.tsv"),
      place.run("word2vec", "analogy", "topics.vec", "--pairs", "pairs.tsv", "--json"),
    ]);
    expect(words.stdout).toMatch(/^t0w0 is to t0w1 as t1w0 is to\n┌/);
    expect(scores.stdout).toMatch(/│ within +│ +[\d.]+ % +│ +\d │ +1 │ +1 │/);
    expect(scores.stdout).toMatch(/^Spearman [01]\.\d+ over 4 pairs; 0 with unknown words left out$/m);
    const { pairs } = JSON.parse(json.stdout) as { pairs: { spearman: number; pairs: number } };
    expect(pairs.pairs).toBe(4);
    expect(pairs.spearman).toBeGreaterThan(0.5);
  });

  it("name what is wrong", async () => {
    const [unknown, file, words, help] = await Promise.all([
      place.run("word2vec", "nearest", "topics.vec", "T0w0"),
      place.run("word2vec", "nearest", "topics.txt", "t0w0"),
      place.run("word2vec", "analogy", "topics.vec", "t0w0"),
      place.run("word2vec", "train", "--help"),
    ]);
    expect(unknown).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('"T0w0" is not in the vocabulary; did you mean t0w0?'),
    });
    expect(file).toMatchObject({ code: 1, stderr: expect.stringContaining("topics.txt: is no file of word vectors") });
    expect(words).toMatchObject({ code: 2, stderr: expect.stringContaining("analogy takes three words") });
    expect(help).toMatchObject({ code: 0, stdout: expect.stringContaining("--phrases 2") });
  });
});
