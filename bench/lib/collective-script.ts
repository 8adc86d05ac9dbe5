// The script of the training part of the collective benchmark: one rank of a job. Writes what it measured.
import { mkdirSync, writeFileSync } from "node:fs";
import { Kind } from "../../src/fleet/collective/timeline.ts";
import { fleet } from "../../src/index.ts";
import { type TrainingModel, trainingRecipes } from "./collective-recipes.ts";

export interface CollectiveScript {
  readonly model: TrainingModel;
  readonly batch: number;
  readonly strategy: fleet.StrategyOptions;
  /** Steps before the first that counts, and those that count. */
  readonly warmUp: number;
  readonly steps: number;
  /** Where rank RANK writes its result: `PATH.RANK`. */
  readonly out: string;
}

export interface CollectiveMeasured {
  readonly secondsAStep: number;
  readonly rowsASecond: number;
  readonly bytesAStep: number;
  readonly denseBytesAStep: number;
  readonly hidden: number;
  readonly loss: number;
}

const { model, batch, strategy, warmUp, steps, out } = JSON.parse(process.argv[2]!) as CollectiveScript;
const recipe = trainingRecipes[model];
const job = await fleet.init({ threads: 1, maxBytes: 8 * 2 ** 30 });
const trainer = job.trainer(recipe.model(), { optimizer: recipe.optimizer, strategy });
const rows = recipe.rows(batch * (warmUp + steps), batch);
const folder = `${out}.run.${job.rank}`;
mkdirSync(folder, { recursive: true });
const run = await fleet.RunFolder.create(folder, { model });
const { collective } = await trainer.session(rows.layout);
const records: number[] = [];
const { communication } = await trainer.fit(rows, {
  ...{ split: false, trace: true, progress: false },
  run,
  onRecord: (record) => {
    if (record.type === "train") records.push(record.loss);
  },
});
const done = collective!.timeline.events().filter(({ kind }) => kind === Kind.step);
const endOf = (step: number): number => done[step - 1]!.end;
const seconds = (endOf(warmUp + steps) - endOf(warmUp)) / 1000 / steps;
const measured: CollectiveMeasured = {
  secondsAStep: seconds,
  rowsASecond: batch / seconds,
  bytesAStep: (communication?.sentBytes ?? 0) / (warmUp + steps),
  denseBytesAStep: (communication?.denseBytes ?? 0) / (warmUp + steps),
  hidden: communication?.hidden ?? 1,
  loss: records.at(-1) ?? Number.NaN,
};
writeFileSync(`${out}.${job.rank}`, JSON.stringify(measured));
await trainer.close();
await job.close();
