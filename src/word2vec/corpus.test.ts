// The vocabulary against a plain count, phrases against a plain search, and what is no text.
import { readSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { temporaryFolder } from "../data/testing.ts";
import { Heap } from "../memory/index.ts";
import { randomFrom } from "../program/testing-random.ts";
import { type Corpus, findPhrases, readCorpus, ScratchFile, textFiles, textUnits } from "./corpus.ts";
import { Word2VecPool } from "./pool.ts";
import { BLOCK_WORDS, CHUNK_WORDS } from "./protocol.ts";
import { NO_WORD, SENTENCE_END, UNKNOWN } from "./word-table.ts";

const folder = temporaryFolder();
afterAll(() => folder.dispose());
const heap = Heap.create({ maxBytes: 2 ** 28 });

interface Options {
  readonly threads?: number;
  readonly minCount?: number;
  readonly shard?: { rank: number; worldSize: number };
  readonly phrases?: { passes: number; threshold: number; minCount: number };
}

/** Reads texts and gives back the vocabulary and the words as they stand in the token file, null for the end of a sentence. */
async function read(
  paths: readonly string[],
  options: Options = {},
): Promise<{ corpus: Corpus; words: (string | null)[] }> {
  const { threads = 1, minCount = 1, shard = { rank: 0, worldSize: 1 }, phrases } = options;
  using scratch = new ScratchFile(folder.path);
  await using pool = new Word2VecPool(heap, threads, scratch.fd);
  const progress = heap.alloc(8 * threads);
  const all = phrases !== undefined && shard.worldSize > 1;
  let corpus = await readCorpus(heap, pool, textFiles(paths), { shard, minCount, all, progress });
  if (phrases !== undefined) corpus = await findPhrases(heap, pool, corpus, phrases);
  heap.free(progress);
  const ids = new Uint32Array(CHUNK_WORDS);
  const words: (string | null)[] = [];
  for (const chunk of corpus.chunks) {
    readSync(scratch.fd, ids, 0, ids.byteLength, ids.byteLength * chunk);
    for (const id of ids) {
      if (id === SENTENCE_END) words.push(null);
      else if (id !== UNKNOWN && id !== NO_WORD) words.push(corpus.vocabulary.words[id]!);
    }
  }
  return { corpus, words };
}

function plainCount(text: string, minCount: number): [string, number][] {
  const counts = new Map<string, number>();
  for (const word of text.split(/[\t\n\v\f\r ]+/)) if (word !== "") counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].filter(([, count]) => count >= minCount).sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
}

const pairs = ({ vocabulary }: Corpus): [string, number][] =>
  vocabulary.words.map((word, i) => [word, vocabulary.counts[i]!]);

function write(name: string, text: string | Uint8Array): string {
  const path = join(folder.path, name);
  writeFileSync(path, text);
  return path;
}

describe("the vocabulary", () => {
  test("is that of a plain count, in the order of counts, of any text", async () => {
    const word = fc.string({
      unit: fc.constantFrom("a", "b", "é", "語", "😀", "x".repeat(20)),
      minLength: 1,
      maxLength: 4,
    });
    const gap = fc.constantFrom(" ", "\n", "\t", "  ", " \r\n", "\v\f");
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(word, gap), { minLength: 1, maxLength: 200 }),
        fc.integer({ min: 1, max: 3 }),
        async (list, minCount) => {
          const text = list.map(([a, b]) => a + b).join("");
          const expected = plainCount(text, minCount);
          fc.pre(expected.length > 0);
          const { corpus, words } = await read([write("any.txt", text)], { minCount });
          expect(pairs(corpus)).toEqual(expected);
          const kept = new Set(expected.map(([known]) => known));
          const inOrder = text.split(/[\t\n\v\f\r ]+/).filter((known) => kept.has(known));
          expect(words.filter((known) => known !== null)).toEqual(inOrder);
        },
      ),
      { numRuns: 6 },
    );
  });

  test("does not depend on threads, pieces or compression", async () => {
    // More than one piece, words across their borders, and one line.
    const random = randomFrom(4);
    const list = Array.from({ length: 110_000 }, () => `w${Math.floor(9000 * random() ** 3)}-${"long".repeat(10)}`);
    const text = list.join(" ");
    expect(text.length).toBeGreaterThan(4 * 2 ** 20);
    const path = write("long.txt", text);
    const packed = write("long.gz", gzipSync(text, { level: 1 }));
    const expected = plainCount(text, 20);
    const one = await read([path], { minCount: 20 });
    expect(pairs(one.corpus)).toEqual(expected);
    const kept = new Set(expected.map(([word]) => word));
    expect(one.words.filter((word) => word !== null)).toEqual(list.filter((word) => kept.has(word)));
    expect(textUnits(textFiles([path]), { rank: 0, worldSize: 1 }).length).toBeGreaterThan(1);
    const [three, gzip] = [await read([path], { minCount: 20, threads: 3 }), await read([packed], { minCount: 20 })];
    expect(pairs(three.corpus)).toEqual(expected);
    expect(three.words.filter((word) => word !== null).length).toBe(one.words.filter((word) => word !== null).length);
    expect(gzip.words).toEqual([...one.words.filter((word) => word !== null), null, null]);
    // Workers share the text, and all know all of its words.
    const shares = await Promise.all(
      [0, 1].map((rank) => read([path], { minCount: 20, shard: { rank, worldSize: 2 } })),
    );
    for (const share of shares) expect(pairs(share.corpus)).toEqual(expected);
    const parts = shares.map(({ words }) => words.filter((word) => word !== null).length);
    expect(parts[0]! + parts[1]!).toBe(one.words.filter((word) => word !== null).length);
    expect(Math.min(...parts)).toBeGreaterThan(0);
  });

  test("ends sentences at line breaks and leaves out what is too long or no UTF-8", async () => {
    const bytes = Buffer.concat([
      Buffer.from(`one two\nthree ${"z".repeat(255)} ${"y".repeat(256)} ${"y".repeat(300_000)} four\n\n`),
      Buffer.from([0xff, 0xfe, 0x20]),
      Buffer.from("five"),
    ]);
    const { corpus, words } = await read([write("odd.txt", bytes)]);
    expect(words).toEqual(["one", "two", null, "three", "z".repeat(255), "four", null, null, "five", null]);
    expect(corpus.dropped).toBe(3);
  });

  test("is the same where the tables must grow many times", async () => {
    const list = Array.from({ length: 200_000 }, (_, i) => `${i}-${"pad".repeat(i % 30)}`);
    const { corpus } = await read([write("distinct.txt", `${list.join(" ")} ${list.join("\n")}`)], { threads: 2 });
    expect(corpus.vocabulary.words.length).toBe(200_000);
    expect(new Set(corpus.vocabulary.words)).toEqual(new Set(list));
    expect(corpus.vocabulary.counts.every((count) => count === 2)).toBe(true);
  });
});

/** word2phrase, plainly. */
function plainPhrases(sentences: readonly string[][], minCount: number, threshold: number): string[][] {
  const count = (lists: readonly string[][]): Map<string, number> => {
    const counts = new Map<string, number>();
    for (const list of lists) for (const word of list) counts.set(word, (counts.get(word) ?? 0) + 1);
    return counts;
  };
  const singles = count(sentences);
  const total = [...singles.values()].reduce((a, b) => a + b, 0);
  const couples = count(sentences.map((words) => words.slice(1).map((word, i) => `${words[i]!} ${word}`)));
  return sentences.map((words) => {
    const joined: string[] = [];
    for (let i = 0; i < words.length; i++) {
      const [a, b] = [words[i]!, words[i + 1] ?? ""];
      const score = (((couples.get(`${a} ${b}`) ?? 0) - minCount) * total) / (singles.get(a)! * (singles.get(b) ?? 1));
      if (score > threshold) i++;
      joined.push(score > threshold ? `${a}_${b}` : a);
    }
    return joined;
  });
}

describe("phrases", () => {
  const random = randomFrom(9);
  const sentences = Array.from({ length: 600 }, () =>
    Array.from({ length: 12 }, () =>
      random() < 0.15 ? ["new", "york", "city"] : [`w${Math.floor(30 * random() ** 2)}`],
    ).flat(),
  );
  const path = write("phrases.txt", sentences.map((words) => words.join(" ")).join("\n"));
  const flat = (lists: readonly string[][]): string[] => lists.flat();

  test.each([1, 2])("are those of a plain search, %i passes", async (passes) => {
    const phrases = { passes, threshold: 4, minCount: 3 };
    const { corpus, words } = await read([path], { threads: 2, phrases });
    let expected = plainPhrases(sentences, 3, 4);
    if (passes === 2) expected = plainPhrases(expected, 3, 4);
    expect(words.filter((word) => word !== null)).toEqual(flat(expected));
    expect(corpus.vocabulary.words).toContain(passes === 1 ? "new_york" : "new_york_city");
    expect(pairs(corpus)).toEqual(plainCount(flat(expected).join(" "), 1));
  });

  test("are the same in all workers, whose shares hold each of them once", async () => {
    const phrases = { passes: 2, threshold: 4, minCount: 3 };
    const workers = await Promise.all(
      [1, 3].map((threads, rank) => read([path], { threads, phrases, shard: { rank, worldSize: 2 } })),
    );
    const [first, second] = workers.map(({ corpus }) => pairs(corpus));
    expect(second).toEqual(first);
    const words = workers.flatMap((worker) => worker.words.filter((word) => word !== null));
    expect(first).toEqual(plainCount(words.join(" "), 1));
    expect(first!.map(([word]) => word)).toContain("new_york_city");
    for (const worker of workers) expect(worker.words).toContain("new_york_city");
  });

  test("need a score: none where the threshold is too high", async () => {
    const { corpus } = await read([path], { phrases: { passes: 3, threshold: 1e9, minCount: 1 } });
    expect(corpus.vocabulary.words.filter((word) => word.includes("_"))).toEqual([]);
  });

  test("with the text of a word of the corpus are that word", async () => {
    const text = `${"a b c d e f g h ".repeat(40)}\n${"a_b x y z ".repeat(30)}`;
    const { corpus, words } = await read([write("double.txt", text)], {
      phrases: { passes: 1, threshold: 1, minCount: 1 },
    });
    const known = pairs(corpus).filter(([word]) => word === "a_b");
    expect(known).toEqual([["a_b", words.filter((word) => word === "a_b").length]]);
    expect(known[0]![1]).toBeGreaterThan(30);
  });
});

describe("what is no text is refused by name", () => {
  test.each([
    ["empty.txt", "", /empty.txt: is empty/],
    ["spaces.txt", " \n\t ", /spaces.txt: holds no words/],
    ["zeros.bin", Buffer.from("some words\0and more"), /zeros.bin: has a zero byte at byte 10.*text file/],
    ["latin.txt", Buffer.from([0xe9, 0x20, 0xe9, 0x20]), /latin.txt: holds no words in UTF-8/],
    ["cut.gz", gzipSync("some words ".repeat(5000)).subarray(0, 40), /cut.gz: is a damaged or cut off gzip file/],
  ])("%s", async (name, content, message) => {
    await expect(read([write(name, content)], { threads: 2 })).rejects.toThrow(message);
  });

  test("rare words, with what would help", async () => {
    await expect(read([write("rare.txt", "a b c a")], { minCount: 5 })).rejects.toThrow(
      /rare.txt: no word occurs 5 times, the most frequent of 3 words 2 times; lower minCount or give more text/,
    );
  });

  test("a file that is not there", () => {
    expect(() => textFiles([join(folder.path, "nothing.txt")])).toThrow(/no file matches/);
  });
});

test("a block of the token file holds whole chunks", () => {
  expect(BLOCK_WORDS % CHUNK_WORDS).toBe(0);
});
