// The script of the training part of the ps benchmark: one worker of a job, or the whole of it. Prints what it measured.
import { writeFileSync } from "node:fs";
import { data, fleet, models, optim } from "../../src/index.ts";
import { recipe } from "./ctr-recipe.ts";

export interface PsScript {
  readonly train: string;
  readonly test: string;
  readonly threads: number;
  readonly strategy: fleet.StrategyOptions;
  readonly optimizer?: "adagrad" | "sgd";
  readonly epochs: number;
  /** Where worker RANK writes its result: `PATH.RANK`. */
  readonly out: string;
}

export interface PsMeasured {
  readonly samples: number;
  readonly seconds: number;
  readonly auc: number;
  readonly loss: number;
  readonly traffic: Readonly<Record<string, number>> | undefined;
}

const { train, test, threads, strategy, optimizer = "adagrad", epochs, out } = JSON.parse(process.argv[2]!) as PsScript;
const { fields, numbers, dim, hidden, batch, learningRate } = recipe;
const job = await fleet.init({ threads });
const trainer = job.trainer(models.deepFM({ categorical: fields, dense: numbers, dim, hidden: [...hidden] }), {
  optimizer: optimizer === "sgd" ? optim.sgd({ lr: 0.05 }) : optim.adagrad({ lr: learningRate }),
  strategy,
});
const rows = data.criteo(train, { batch });
// Threads, plans and connections are there before the clock starts.
const session = await trainer.session(rows.layout);
await job.servers?.meet("ready");
const { samples, seconds } = await trainer.fit(rows, { epochs, progress: false });
const { auc, loss } = await trainer.evaluate(data.criteo(test, { batch }));
const measured: PsMeasured = { samples, seconds, auc, loss, traffic: session.served?.traffic };
writeFileSync(`${out}.${job.rank}`, JSON.stringify(measured));
await job.close();
