// Neighbours, analogies and scores against plain arithmetic.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { temporaryFolder } from "../data/testing.ts";
import { Heap } from "../memory/index.ts";
import { randomFrom } from "../program/testing-random.ts";
import { evaluateAnalogies, evaluatePairs, spearman } from "./evaluate.ts";
import { strideOf } from "./matrices.ts";
import { UnknownWordError, WordVectors } from "./vectors.ts";

const folder = temporaryFolder();
afterAll(() => folder.dispose());
const heap = Heap.create({ maxBytes: 2 ** 26 });

function vectorsOf(rows: Readonly<Record<string, readonly number[]>>): WordVectors {
  const words = Object.keys(rows);
  const dim = rows[words[0]!]!.length;
  const stride = strideOf(dim);
  const address = heap.alloc(4 * stride * words.length);
  for (const [i, word] of words.entries()) heap.f32(address + 4 * stride * i, dim).set(rows[word]!);
  return new WordVectors(heap, words, { rows: words.length, dim, stride, address });
}

function randomRows(count: number, dim: number, seed: number): Record<string, number[]> {
  const random = randomFrom(seed);
  const row = (): number[] => Array.from({ length: dim }, () => Math.fround(random() - 0.5));
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`w${i}`, row()]));
}

const length = (x: readonly number[]): number => Math.hypot(...x);
const dot = (x: readonly number[], y: readonly number[]): number => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
const unit = (x: readonly number[]): number[] => x.map((value) => value / length(x));

test("nearest words and analogies are those of plain arithmetic", () => {
  fc.assert(
    fc.property(fc.integer({ min: 4, max: 60 }), fc.integer({ min: 1, max: 40 }), fc.nat(9999), (count, dim, seed) => {
      const rows = randomRows(count, dim, seed);
      const vectors = vectorsOf(rows);
      const ranked = (query: readonly number[], without: readonly string[]): [string, number][] =>
        Object.entries(rows)
          .filter(([word]) => !without.includes(word))
          .map(([word, row]): [string, number] => [word, dot(query, unit(row))])
          .sort(([, x], [, y]) => y - x);
      const check = (
        found: { word: string; similarity: number }[],
        expected: [string, number][],
        most = expected.length,
      ): void => {
        expect(found.length).toBe(Math.min(most, expected.length));
        // Scores that are equal but for rounding may stand in another order.
        for (const [i, { word, similarity }] of found.entries()) {
          expect(similarity).toBeCloseTo(expected[i]![1], 5);
          expect(similarity).toBeCloseTo(expected.find(([known]) => known === word)![1], 5);
        }
      };
      check(vectors.nearest("w0", 3), ranked(unit(rows.w0!), ["w0"]), 3);
      check(vectors.nearest("w1", 1000), ranked(unit(rows.w1!), ["w1"]));
      const [a, b, c] = [unit(rows.w0!), unit(rows.w1!), unit(rows.w2!)];
      const target = unit(b.map((value, i) => value - a[i]! + c[i]!));
      check(vectors.analogy("w0", "w1", "w2", 2), ranked(target, ["w0", "w1", "w2"]), 2);
      expect(vectors.similarity("w0", "w2")).toBeCloseTo(dot(a, c), 5);
    }),
    { numRuns: 60 },
  );
});

test("many analogies are answered as one by one, among the first words alone if wanted", () => {
  const vectors = vectorsOf(randomRows(50, 12, 1));
  const questions = Array.from({ length: 21 }, (_, i) => [`w${i}`, `w${i + 1}`, `w${i + 2}`] as const);
  const all = vectors.analogies(questions, { count: 2 });
  for (const [i, [a, b, c]] of questions.entries()) expect(all[i]).toEqual(vectors.analogy(a, b, c, 2));
  for (const [best] of vectors.analogies(questions, { among: 10 })) {
    expect(Number(best!.word.slice(1))).toBeLessThan(10);
  }
});

test("a word without a vector is named, with the one that may be meant", () => {
  const vectors = vectorsOf({ king: [1, 0], queen: [0, 1] });
  expect(() => vectors.nearest("King")).toThrow(UnknownWordError);
  expect(() => vectors.nearest("King")).toThrow('"King" is not in the vocabulary; did you mean king?');
  expect(() => vectors.vector("prince")).toThrow(/"prince" is not in the vocabulary$/);
  expect(() => vectors.nearest("king", 0)).toThrow("count must be a positive integer, got 0");
  expect([vectors.has("king"), vectors.has("toString"), vectors.numberOf("queen")]).toEqual([true, false, 1]);
});

test("a vector of zeros is near to nothing, and breaks nothing", () => {
  const vectors = vectorsOf({ zero: [0, 0], one: [1, 0], two: [1, 1] });
  expect(vectors.nearest("zero").map(({ similarity }) => similarity)).toEqual([0, 0]);
  expect(vectors.similarity("zero", "one")).toBe(0);
});

describe("Spearman's correlation", () => {
  test("is 1 of any rising function and −1 of a falling one", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: -1000, max: 1000 }), { minLength: 2, maxLength: 50 }), (values) => {
        expect(
          spearman(
            values,
            values.map((x) => x ** 3),
          ),
        ).toBeCloseTo(1, 10);
        expect(
          spearman(
            values,
            values.map((x) => -x),
          ),
        ).toBeCloseTo(-1, 10);
      }),
    );
  });

  test("shares ranks among equals", () => {
    // Ranks 0, 1.5, 1.5, 3 against 0, 1, 2, 3.
    expect(spearman([1, 2, 2, 3], [1, 2, 3, 4])).toBeCloseTo(4.5 / Math.sqrt(4.5 * 5), 10);
    expect(spearman([1, 1], [1, 2])).toBeNaN();
    expect(spearman([], [])).toBeNaN();
  });
});

describe("scores", () => {
  const vectors = vectorsOf({
    man: [1, 0, 0],
    woman: [1, 1, 0],
    king: [1, 0, 1],
    queen: [1, 1, 1],
    apple: [-1, 0.2, 0],
  });
  const file = (name: string, text: string): string => {
    const path = join(folder.path, name);
    writeFileSync(path, text);
    return path;
  };

  test("of analogies are counted by section", () => {
    const text =
      ": family\nMan Woman King Queen\nman king woman apple\nman woman prince princess\n\n: other\nking queen man woman\n";
    const { sections, total } = evaluateAnalogies(vectors, file("questions.txt", text));
    expect(sections).toEqual([
      { section: "family", right: 1, asked: 2, unknown: 1 },
      { section: "other", right: 1, asked: 1, unknown: 0 },
    ]);
    expect(total).toEqual({ section: "total", right: 2, asked: 3, unknown: 1 });
    expect(evaluateAnalogies(vectors, file("questions.txt", text), 3).total.asked).toBe(0);
  });

  test("of pairs are rank correlations", () => {
    const text = "# a remark\nman\tking\t9\nMan\tapple\t1\nman\twoman\t8\nman\tnobody\t5\n";
    const { spearman: score, pairs, unknown } = evaluatePairs(vectors, file("pairs.tsv", text));
    expect([pairs, unknown]).toEqual([3, 1]);
    // King and woman are as near to man as each other.
    expect(score).toBeCloseTo(spearman([9, 1, 8], [1, 0, 1]), 10);
    expect(evaluatePairs(vectors, file("pairs.txt", "man king 9\nman, woman, 8\n")).pairs).toBe(2);
  });

  test.each([
    ["three words a line", "a b c\n", /q:1: expected four words, or ": section", found "a b c"/],
    ["no questions", ": family\n", /q: holds no questions/],
    ["zero bytes", "a\0b", /q: has a zero byte/],
  ])("of analogies need a file of questions: %s", (_, text, message) => {
    expect(() => evaluateAnalogies(vectors, file("q", text))).toThrow(message);
  });

  test.each([
    ["no number", "man king\n", /p:1: expected two words and a number, found "man king"/],
    ["text for a number", "man\tking\t9\nman\tking\tnine\n", /p:2: expected two words and a number/],
    ["nothing", "# nothing\n", /p: holds no pairs of words/],
  ])("of pairs need a file of judgements: %s", (_, text, message) => {
    expect(() => evaluatePairs(vectors, file("p", text))).toThrow(message);
  });
});
