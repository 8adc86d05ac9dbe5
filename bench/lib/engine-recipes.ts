// The models of the engine benchmark, with their batches and optimizers; bench/peers/engine_models.py has the same,
// and bench/peers/engine-jax.ts and engine-tfjs.ts the first.
import * as data from "../../src/data/index.ts";
import * as models from "../../src/models/index.ts";
import { linear } from "../../src/nn/index.ts";
import * as optim from "../../src/optim/index.ts";
import { floats, integers } from "./random-rows.ts";

export interface EngineRecipe {
  readonly title: string;
  /** Rows of a step. */
  readonly batch: number;
  /** Steps of one measurement. */
  readonly steps: number;
  /** Measurements for one of another model: the machine's ups and downs are longer than short steps. */
  readonly repeats?: number;
  readonly model: () => models.Model;
  readonly optimizer: optim.Optimizer;
  /** Random rows, in batches of so many. */
  readonly rows: (count: number, batch: number) => data.Dataset;
}

const pictures = (count: number, batch: number): data.Dataset =>
  data.tensors(
    {
      label: { data: integers(count, 1000), shape: [count] },
      image: { data: floats(count * 224 * 224 * 3), shape: [count, 224, 224, 3] },
    },
    { batch },
  );

const mlp: models.Model = {
  name: "mlp",
  config: {},
  task: "classification",
  forward: ({ x }, ctx) => linear(ctx, "1", linear(ctx, "0", x!, 400, { activation: "relu" }), 10),
};

const SEQUENCE = 128;
const LSTM_SEQUENCE = 35;

export const engineRecipes = {
  mlp: {
    title: "MLP 400-400-10, batch 512",
    batch: 512,
    steps: 150,
    repeats: 3,
    model: () => mlp,
    optimizer: optim.sgd({ lr: 0.01 }),
    rows: (count, batch) =>
      data.tensors(
        {
          label: { data: integers(count, 10), shape: [count] },
          x: { data: floats(count * 400), shape: [count, 400] },
        },
        { batch },
      ),
  },
  resnet50: {
    title: "ResNet-50, batch 8",
    batch: 8,
    steps: 3,
    model: () => models.resNet50(),
    optimizer: optim.momentum({ lr: 0.01, momentum: 0.9, weightDecay: 1e-4 }),
    rows: pictures,
  },
  vgg16: {
    title: "VGG-16, batch 8",
    batch: 8,
    steps: 2,
    model: () => models.vgg16(),
    optimizer: optim.momentum({ lr: 0.01, momentum: 0.9, weightDecay: 5e-4 }),
    rows: pictures,
  },
  bert: {
    title: "BERT-base, sequences of 128, batch 8",
    batch: 8,
    steps: 2,
    model: () => models.bert(),
    optimizer: optim.adamw({ lr: 2e-5, weightDecay: 0.01 }),
    rows: (count, batch) =>
      data.tensors(
        {
          label: { data: integers(count, 2), shape: [count] },
          ids: { data: integers(count * SEQUENCE, 30522), shape: [count, SEQUENCE] },
        },
        { batch },
      ),
  },
  lstm: {
    title: "LSTM language model 2 × 650, sequences of 35, batch 20",
    batch: 20,
    steps: 4,
    model: () => models.lstmLanguageModel(),
    optimizer: optim.sgd({ lr: 1 }),
    rows: (count, batch) =>
      data.tensors(
        {
          label: { data: integers(count * LSTM_SEQUENCE, 10_000), shape: [count, LSTM_SEQUENCE] },
          ids: { data: integers(count * LSTM_SEQUENCE, 10_000), shape: [count, LSTM_SEQUENCE] },
        },
        { batch },
      ),
  },
} as const satisfies Readonly<Record<string, EngineRecipe>>;

export type EngineModel = keyof typeof engineRecipes;
