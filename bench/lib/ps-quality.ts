// What the modes learn through servers, beside mode sync: AUC on held-out rows.
import { data, optim } from "../../src/index.ts";
import { recipe, writeCtrFiles } from "./ctr-recipe.ts";
import { type PsJob, runPsJob } from "./ps-job.ts";
import { realData } from "./real-data.ts";
import { datasets, recipes } from "./real-recipes.ts";
import { atMost, type BenchGoal, type BenchResult, type BenchRow, mean, say, standardError } from "./report.ts";

export const qualityData = ["generated", "flights", "movielens", "criteo"] as const;
export type QualityData = (typeof qualityData)[number];

/** Of one thread each, on one server of one partition. */
const WORKERS = 2;
const SERVERS = 1;
const TOLERANCE = 0.002;

interface Task extends Pick<PsJob, "train" | "model" | "epochs"> {
  readonly test: unknown;
  readonly optimizer: optim.Optimizer;
  /** Of SGD, for mode `geo` and what it is held against. */
  readonly sgdRate: number;
  /** Batches of a worker between two exchanges of mode `geo`. */
  readonly every: number;
  readonly seeds: readonly number[];
}

/** Rate of SGD and batches between two exchanges: what a few hundred batches can learn by. */
const apart = {
  flights: { sgdRate: 0.5, every: 5 },
  movielens: { sgdRate: 0.3, every: 10 },
  criteo: { sgdRate: 0.1, every: 10 },
} as const;

async function taskOf(name: QualityData, quick: boolean): Promise<Task> {
  const seeds = quick ? [1] : [1, 2, 3, 4, 5];
  if (name === "generated") {
    const { fields, numbers, dim, hidden, batch, learningRate } = recipe;
    const read = (part: string, rows: number, seed: number): unknown =>
      data.criteo(writeCtrFiles(part, quick ? 20_000 : rows, seed).criteo, { batch }).spec;
    return {
      train: read("ps-train", 400_000, 1),
      test: read("ps-test", 100_000, 2),
      model: { categorical: fields, dense: numbers, dim, hidden: [...hidden] },
      epochs: 1,
      optimizer: optim.adagrad({ lr: learningRate }),
      ...{ sgdRate: 0.05, every: 25, seeds: [1] },
    };
  }
  const { hidden, dropout, dim, epochs, learningRate } = recipes[name];
  const columns = { flights: [11, 1], movielens: [2, 0], criteo: [26, 13] }[name] as [number, number];
  const known = name === "flights" ? { standards: [{ mean: 700, scale: 550 }] } : await realData(name);
  const { train, test } = datasets(name, known);
  return {
    // Of the flights the last third before those held out, so that it stays within minutes.
    train: (name === "flights" ? train.where({ rows: { from: quick ? 0.87 : 0.6 } }) : train).spec,
    test: test.spec,
    model: { categorical: columns[0], dense: columns[1], dim, hidden: [...hidden], dropout },
    epochs,
    optimizer: optim.adagrad({ lr: learningRate }),
    ...apart[name],
    seeds,
  };
}

export async function psQuality(name: QualityData, quick: boolean): Promise<BenchResult> {
  let task: Task;
  try {
    task = await taskOf(name, quick);
  } catch (error) {
    say(`${name} left out: ${(error as Error).message}`);
    return { rows: [], goals: [] };
  }
  const { sgdRate, every, seeds, ...common } = task;
  const rows: BenchRow[] = [];
  const goals: BenchGoal[] = [];
  const learn = async (system: string, options: Pick<PsJob, "strategy"> & Partial<PsJob>): Promise<number> => {
    const scores: number[] = [];
    for (const seed of seeds) {
      // Waiting for a disk changes how late gradients come, not what they are.
      const strategy = { durability: "none", ...options.strategy } as const;
      const job = { ...common, workers: WORKERS, servers: SERVERS, threads: 1, ...options, strategy };
      const [first] = await runPsJob({ ...job, model: { ...common.model, seed } });
      scores.push(first!.auc);
    }
    rows.push({ system, metric: `${name} AUC`, value: mean(scores), unit: "" });
    // Which gradients meet which weights is left to chance in all modes but `sync`.
    if (scores.length > 1)
      rows.push({ system, metric: `${name} AUC, standard error`, value: standardError(scores), unit: "" });
    say(`${name}, ${system}: AUC ${scores.map((score) => score.toFixed(4)).join(", ")}`);
    return mean(scores);
  };
  const expect = (mode: string, auc: number, sync: number): void => {
    goals.push(atMost(`${name}: AUC of sync − AUC of ${mode}`, sync - auc, TOLERANCE));
  };
  const sync = await learn("sync", { strategy: { mode: "sync" } });
  for (const mode of ["half-async", "async"] as const) expect(mode, await learn(mode, { strategy: { mode } }), sync);
  const optimizer = optim.sgd({ lr: sgdRate });
  const plain = await learn("sync, SGD", { strategy: { mode: "sync" }, optimizer });
  expect("geo", await learn("geo, SGD", { strategy: { mode: "geo", geo: { every } }, optimizer }), plain);
  return { rows, goals };
}
