// Word vectors from a text that is made up: sentences about people and about cities, in which some words are used alike.
import { mkdirSync, writeFileSync } from "node:fs";
import { models, report } from "../src/index.ts";

const folder = "runs/examples/word2vec";
mkdirSync(folder, { recursive: true });

let state = 1;
const pick = (words: readonly string[]): string => {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return words[Math.floor((state / 2 ** 32) * words.length)]!;
};
const people = ["anna", "ben", "carla", "david"];
const meals = ["bread", "soup", "rice", "fish"];
const cities = ["oslo", "rome", "paris", "lima"];
const sentences = Array.from({ length: 20_000 }, () =>
  pick(["meal", "trip"]) === "meal"
    ? `${pick(people)} ${pick(["eats", "cooks"])} ${pick(meals)} with ${pick(meals)}`
    : `the train from ${pick(cities)} ${pick(["arrives", "stops"])} in ${pick(cities)}`,
);
writeFileSync(`${folder}/text.txt`, sentences.join("\n"));

const model = models.word2vec({ dim: 16, window: 3, subsample: 0, epochs: 5 });
const { vectors, wordsPerSecond } = await model.train(`${folder}/text.txt`, { threads: 2, progress: false });
await vectors.save(`${folder}/vectors.vec`);

const loaded = await models.WordVectors.load(`${folder}/vectors.vec`);
const rows = ["rome", "soup", "anna"].map((word) => ({
  word,
  nearest: loaded
    .nearest(word, 3)
    .map((near) => near.word)
    .join(", "),
}));
console.log(report.formatTable(rows));
console.log(`words a second: ${report.formatRate(wordsPerSecond)}`);
