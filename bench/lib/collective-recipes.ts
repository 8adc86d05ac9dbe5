// Models of the training part of the collective benchmark, small enough that four ranks run on two cores.
import type { Dataset } from "../../src/data/index.ts";
import * as data from "../../src/data/index.ts";
import * as models from "../../src/models/index.ts";
import * as optim from "../../src/optim/index.ts";
import { floats, integers } from "./random-rows.ts";

export interface TrainingRecipe {
  readonly title: string;
  readonly model: () => models.Model;
  readonly optimizer: optim.Optimizer;
  /** Random rows, in batches of so many. */
  readonly rows: (count: number, batch: number) => Dataset;
}

/** Momentum serves all techniques: what they change is what is compared. */
const optimizer = optim.momentum({ lr: 1e-3, momentum: 0.9 });

const pictures = (side: number) => (count: number, batch: number) =>
  data.tensors(
    {
      label: { data: integers(count, 1000), shape: [count] },
      image: { data: floats(count * side * side * 3), shape: [count, side, side, 3] },
    },
    { batch },
  );

const sentences = (length: number, vocabulary: number) => (count: number, batch: number) =>
  data.tensors(
    {
      label: { data: integers(count, 2), shape: [count] },
      ids: { data: integers(count * length, vocabulary), shape: [count, length] },
    },
    { batch },
  );

export const trainingRecipes = {
  resnet50: {
    title: "ResNet-50, pictures of 64 × 64",
    model: () => models.resNet50(),
    optimizer,
    rows: pictures(64),
  },
  resnet50full: {
    title: "ResNet-50, pictures of 224 × 224",
    model: () => models.resNet50(),
    optimizer,
    rows: pictures(224),
  },
  bert: {
    // About the share of embeddings that BERT-base has.
    title: "BERT of 4 layers of 512 and 6000 words, sequences of 64",
    model: () => models.bert({ width: 512, layers: 4, heads: 8, inner: 2048, vocabulary: 6000 }),
    optimizer,
    rows: sentences(64, 6000),
  },
  bertbase: {
    title: "BERT-base, sequences of 128",
    model: () => models.bert(),
    optimizer,
    rows: sentences(128, 30522),
  },
} as const satisfies Readonly<Record<string, TrainingRecipe>>;

export type TrainingModel = keyof typeof trainingRecipes;
