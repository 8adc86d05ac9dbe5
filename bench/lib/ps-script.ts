// The script of the training parts of the ps benchmark: one worker of a job, or the whole of it. Writes what it measured.
import { writeFileSync } from "node:fs";
import { data, fleet, models, type optim } from "../../src/index.ts";

export interface PsScript {
  /** Specs of datasets. */
  readonly train: unknown;
  /** Without one nothing is evaluated. */
  readonly test?: unknown;
  readonly model: models.ClickModelOptions<"deepFM">;
  readonly optimizer: optim.Optimizer;
  readonly threads: number;
  readonly strategy: fleet.StrategyOptions;
  readonly epochs: number;
  /** Epochs before the clock starts: rows are made, and code is compiled. Default 0. */
  readonly warmUp?: number;
  /** Where worker RANK writes its result: `PATH.RANK`. */
  readonly out: string;
}

export interface PsMeasured {
  readonly samples: number;
  readonly seconds: number;
  /** Of the processor, while it trained. */
  readonly cpuSeconds: number;
  readonly auc: number;
  readonly traffic: Readonly<Record<string, number>> | undefined;
}

const script = JSON.parse(process.argv[2]!) as PsScript;
const { model, optimizer, threads, strategy, epochs, warmUp = 0, out } = script;
const job = await fleet.init({ threads });
const trainer = job.trainer(models.deepFM(model), { optimizer, strategy });
const rows = data.Dataset.from(script.train);
// Threads, plans and connections are there before the clock starts.
const session = await trainer.session(rows.layout);
if (warmUp > 0) await trainer.fit(rows, { epochs: warmUp, progress: false });
await job.servers?.meet("ready");
const trafficBefore = session.served?.traffic;
const before = process.cpuUsage();
const { samples, seconds } = await trainer.fit(rows, { epochs: warmUp + epochs, progress: false });
const { user, system } = process.cpuUsage(before);
const cpuSeconds = (user + system) / 1e6;
const trafficAfter = session.served?.traffic;
const traffic =
  trafficAfter &&
  Object.fromEntries(
    Object.entries(trafficAfter).map(([name, n]) => [name, n - (trafficBefore as Record<string, number>)[name]!]),
  );
const metrics = script.test === undefined ? undefined : await trainer.evaluate(data.Dataset.from(script.test));
const measured: PsMeasured = { samples, seconds, cpuSeconds, auc: metrics?.auc ?? Number.NaN, traffic };
writeFileSync(`${out}.${job.rank}`, JSON.stringify(measured));
await job.close();
