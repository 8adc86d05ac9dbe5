// Held-out log loss of flotilla and PyTorch after one epoch over the same rows, seed by seed.

import { criteo, type Engine, openTrainer } from "./ctr-flotilla.ts";
import type { CtrFiles } from "./ctr-recipe.ts";
import { torchArguments } from "./ctr-torch.ts";
import { type Environment, Peer } from "./python.ts";
import { counted, say } from "./report.ts";

export interface Scores {
  readonly logLoss: number;
  readonly auc: number;
}

export interface LossFiles {
  readonly train: CtrFiles;
  readonly test: CtrFiles;
}

/** File order, as PyTorch reads; several threads take batches as they come. */
export async function flotillaScores(
  { train, test }: LossFiles,
  threads: number,
  engine: Engine,
  seeds: readonly number[],
): Promise<Scores[]> {
  const results: Scores[] = [];
  for (const seed of seeds) {
    const { job, trainer } = await openTrainer(threads, engine, seed);
    await trainer.fit(criteo(train.criteo).with({ order: "file" }), { progress: false });
    const { loss, auc } = await trainer.evaluate(criteo(test.criteo));
    await job.close();
    results.push({ logLoss: loss, auc });
    say(`  flotilla, ${counted(threads, "thread")}, seed ${seed}: log loss ${loss.toFixed(5)}, AUC ${auc.toFixed(5)}`);
  }
  return results;
}

export async function torchScores(
  python: string,
  environment: Environment,
  { train, test }: LossFiles,
  workers: number,
  seeds: readonly number[],
): Promise<Scores[]> {
  const args = ["quality", train.tensors, test.tensors, ...torchArguments(workers), "--seeds", ...seeds.map(String)];
  const peer = new Peer(python, "ctr_torch.py", args, environment);
  const results: Scores[] = [];
  for (let answer = await peer.next<Scores>(); answer !== undefined; answer = await peer.next<Scores>()) {
    results.push(answer);
    const [loss, auc] = [answer.logLoss.toFixed(5), answer.auc.toFixed(5)];
    say(
      `  PyTorch, ${counted(workers, "process", "es")}, seed ${seeds[results.length - 1]}: log loss ${loss}, AUC ${auc}`,
    );
  }
  return results;
}
