// How good vectors are: analogies (Mikolov et al. 2013) and similarities as people judge them (WordSim-353 and its like).
import { readFileSync } from "node:fs";
import { DataError, quoted } from "../data/errors.ts";
import type { Analogy, WordVectors } from "./vectors.ts";

export interface SectionScore {
  readonly section: string;
  readonly right: number;
  /** Questions of whose words all have vectors. */
  readonly asked: number;
  /** Questions with words that have none, which are left out. */
  readonly unknown: number;
}

export interface AnalogyScores {
  readonly sections: readonly SectionScore[];
  readonly total: SectionScore;
}

export interface PairScore {
  /** Spearman's rank correlation of cosines and judgements. */
  readonly spearman: number;
  readonly pairs: number;
  /** Pairs with a word that has no vector, which are left out. */
  readonly unknown: number;
}

/** As the original program: words are looked for among the most frequent ones. */
const AMONG = 30_000;

/**
 * Answers the questions of a file: lines "a b c d", sections headed by ": name".
 * @param among how many of the most frequent words may stand in questions and answers
 * @throws DataError
 */
export function evaluateAnalogies(vectors: WordVectors, path: string, among: number = AMONG): AnalogyScores {
  const sections: SectionScore[] = [];
  for (const { section, questions } of readQuestions(path)) {
    const known = questions.filter((words) => words.every((word) => isAmong(vectors, word, among)));
    const asked = known.map((words) => words.slice(0, 3) as unknown as Analogy);
    const answers = vectors.analogies(asked, { among });
    const right = answers.filter((answer, i) => answer[0]?.word === known[i]![3]).length;
    sections.push({ section, right, asked: known.length, unknown: questions.length - known.length });
  }
  const sum = (field: "right" | "asked" | "unknown"): number =>
    sections.reduce((total, section) => total + section[field], 0);
  return { sections, total: { section: "total", right: sum("right"), asked: sum("asked"), unknown: sum("unknown") } };
}

function isAmong(vectors: WordVectors, word: string, among: number): boolean {
  const number = vectors.numberOf(word);
  return number >= 0 && number < among;
}

/** Words are taken in lower case, as corpora of this kind have them. */
function readQuestions(path: string): { section: string; questions: string[][] }[] {
  const sections: { section: string; questions: string[][] }[] = [];
  for (const [i, line] of linesOf(path)) {
    if (line.startsWith(":")) {
      sections.push({ section: line.slice(1).trim(), questions: [] });
      continue;
    }
    const words = line.toLowerCase().split(/\s+/);
    if (words.length !== 4) {
      throw new DataError(`expected four words, or ": section", found ${quoted(line)}`, path, i);
    }
    if (sections.length === 0) sections.push({ section: "questions", questions: [] });
    sections.at(-1)!.questions.push(words);
  }
  if (sections.every(({ questions }) => questions.length === 0)) throw new DataError("holds no questions", path);
  return sections;
}

/**
 * Compares cosines with judgements: lines of two words and a number, separated by tabs or spaces; "#" begins a remark.
 * @throws DataError
 */
export function evaluatePairs(vectors: WordVectors, path: string): PairScore {
  const judged: number[] = [];
  const computed: number[] = [];
  let unknown = 0;
  for (const [i, line] of linesOf(path)) {
    if (line.startsWith("#")) continue;
    const [a = "", b = "", number, ...rest] = line
      .split(line.includes("\t") ? "\t" : /[\s,;]+/)
      .map((field) => field.trim());
    const judgement = Number(number);
    if (number === undefined || number === "" || rest.length > 0 || !Number.isFinite(judgement)) {
      throw new DataError(`expected two words and a number, found ${quoted(line)}`, path, i);
    }
    const [x, y] = [a.toLowerCase(), b.toLowerCase()];
    if (!vectors.has(x) || !vectors.has(y)) {
      unknown++;
      continue;
    }
    judged.push(judgement);
    computed.push(vectors.similarity(x, y));
  }
  if (judged.length + unknown === 0) throw new DataError("holds no pairs of words", path);
  return { spearman: spearman(judged, computed), pairs: judged.length, unknown };
}

/** Lines that are not blank, with their numbers from 1. */
function linesOf(path: string): [number, string][] {
  const text = readFileSync(path, "utf8");
  if (text.includes("\0")) throw new DataError("has a zero byte; is this a text file?", path);
  return text
    .split("\n")
    .map((line, i): [number, string] => [i + 1, line.trim()])
    .filter(([, line]) => line !== "");
}

/** The correlation of ranks; equal values share the mean of their ranks. NaN where there are none, or all are equal. */
export function spearman(a: readonly number[], b: readonly number[]): number {
  return correlation(ranks(a), ranks(b));
}

function ranks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((i, j) => values[i]! - values[j]!);
  const result = new Array<number>(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && values[order[to]!] === values[order[from]!]) to++;
    for (const place of order.slice(from, to)) result[place] = (from + to - 1) / 2;
    from = to;
  }
  return result;
}

function correlation(a: readonly number[], b: readonly number[]): number {
  const mean = (a.length - 1) / 2;
  const sum = (f: (i: number) => number): number => a.reduce((total, _, i) => total + f(i), 0);
  const product = sum((i) => (a[i]! - mean) * (b[i]! - mean));
  return product / Math.sqrt(sum((i) => (a[i]! - mean) ** 2) * sum((i) => (b[i]! - mean) ** 2));
}
