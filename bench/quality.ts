// AUC and log loss on real click-like data: DeepFM and logistic regression of flotilla, of PyTorch with the same
// hyperparameters, and scikit-learn's logistic regression. No goal is about speed.

import * as fleet from "../src/fleet/index.ts";
import * as models from "../src/models/index.ts";
import * as optim from "../src/optim/index.ts";
import { scratchFile } from "./lib/paths.ts";
import { findPython, Peer } from "./lib/python.ts";
import { type RealData, type RealDataName, realData, realDataNames } from "./lib/real-data.ts";
import { datasets, type Recipe, recipes } from "./lib/real-recipes.ts";
import {
  atLeast,
  type BenchGoal,
  type BenchOptions,
  type BenchResult,
  type BenchRow,
  mean,
  say,
} from "./lib/report.ts";
import { writeClickRows } from "./lib/tensor-file.ts";

/** A model of flotilla may be this much below the same model in PyTorch: twice what chance does to a mean of three seeds. */
const TOLERANCE = 0.005;

interface Scores {
  readonly auc: number;
  readonly logLoss: number;
}

type ModelName = "DeepFM" | "logistic regression";

export async function run(options: BenchOptions = {}): Promise<BenchResult> {
  const rows: BenchRow[] = [];
  const goals: BenchGoal[] = [];
  const python = findPython(["torch", "sklearn", "scipy"]);
  if ("missing" in python) say(`peers left out: ${python.missing}`);
  for (const name of options.quick ? (["census"] as const) : realDataNames) {
    let real: RealData;
    try {
      real = await realData(name);
    } catch (error) {
      say(`${name} left out: ${(error as Error).message}`);
      continue;
    }
    const recipe = options.quick ? { ...recipes[name], seeds: [1], epochs: 2 } : recipes[name];
    const report = (system: string, scores: readonly Scores[]): number => {
      const auc = mean(scores.map((score) => score.auc));
      const logLoss = mean(scores.map((score) => score.logLoss));
      rows.push({ system, metric: `${name} AUC`, value: auc, unit: "" });
      rows.push({ system, metric: `${name} log loss`, value: logLoss, unit: "" });
      say(`  ${name}, ${system}: AUC ${auc.toFixed(4)}, log loss ${logLoss.toFixed(4)}`);
      return auc;
    };
    const peers = "path" in python ? peersOn(python.path, name, real, recipe) : undefined;
    for (const model of ["DeepFM", "logistic regression"] as const) {
      const ours = report(`flotilla ${model}, 1 thread`, await train(name, real, recipe, model, 1));
      const hogwild = report(`flotilla ${model}, 2 threads`, await train(name, real, recipe, model, 2));
      if (peers === undefined) continue;
      const theirs = report(`PyTorch ${model}`, await peers.torch(model));
      goals.push(atLeast(`${name}, ${model}: AUC beside PyTorch's`, ours, theirs - TOLERANCE));
      goals.push(atLeast(`${name}, ${model}, two Hogwild threads: AUC beside PyTorch's`, hogwild, theirs - TOLERANCE));
    }
    if (peers !== undefined) report("scikit-learn logistic regression", await peers.sklearn());
  }
  return { rows, goals };
}

/** flotilla's scores, one a seed. */
async function train(
  name: RealDataName,
  real: RealData,
  recipe: Recipe,
  modelName: ModelName,
  threads: number,
): Promise<Scores[]> {
  const { dim, hidden, dropout, epochs, learningRate, logisticRate } = recipe;
  const columns = { categorical: real.train.fields, dense: real.train.numbers };
  const { train, test } = datasets(name, real);
  const scores: Scores[] = [];
  for (const seed of modelName === "DeepFM" ? recipe.seeds : [1]) {
    const job = await fleet.init({ threads, maxBytes: 2 ** 30 });
    const model =
      modelName === "DeepFM"
        ? models.deepFM({ ...columns, dim, hidden: [...hidden], dropout, seed })
        : models.logisticRegression({ ...columns, seed });
    const optimizer = optim.adagrad({ lr: modelName === "DeepFM" ? learningRate : logisticRate });
    const trainer = job.trainer(model, { optimizer, seed });
    await trainer.fit(train, { epochs, progress: false });
    const { auc, loss, samples } = await trainer.evaluate(test);
    if (samples !== real.test.rows)
      throw new Error(`${name}: ${samples} held-out rows, the peers have ${real.test.rows}`);
    await job.close();
    scores.push({ auc, logLoss: loss });
  }
  return scores;
}

interface Peers {
  torch(model: ModelName): Promise<Scores[]>;
  sklearn(): Promise<Scores[]>;
}

function peersOn(python: string, name: RealDataName, real: RealData, recipe: Recipe): Peers {
  const files = (["train", "test"] as const).map((part) => {
    const path = scratchFile(`${name}-${part}.bin`);
    writeClickRows(path, real[part], { vocabulary: String(real.vocabulary) });
    return path;
  });
  const { dim, hidden, dropout, batch, epochs, seeds, learningRate, logisticRate, logisticC } = recipe;
  const ask = async (...args: (string | number)[]): Promise<(Scores & { readonly epoch?: number })[]> =>
    new Peer(python, "quality_torch.py", [...files, ...args.map(String)]).all();
  const last = (scores: readonly (Scores & { readonly epoch?: number })[]): Scores[] =>
    scores.filter(({ epoch }) => epoch === epochs);
  const schedule = ["--batch", batch, "--epochs", epochs];
  return {
    torch: async (model) =>
      model === "DeepFM"
        ? last(
            await ask(
              ...["--model", "deepfm", "--dim", dim, "--hidden", ...hidden, "--dropout", dropout],
              ...["--lr", learningRate, "--seeds", ...seeds, ...schedule],
            ),
          )
        : last(await ask("--model", "lr", "--lr", logisticRate, "--seeds", 1, ...schedule)),
    sklearn: () => ask("--model", "sklearn", "--inverse-strength", logisticC),
  };
}
