// flotilla as a system of the CTR benchmark.

import type { Worker } from "node:worker_threads";
import * as data from "../../src/data/index.ts";
import * as fleet from "../../src/fleet/index.ts";
import * as models from "../../src/models/index.ts";
import * as optim from "../../src/optim/index.ts";
import { type CtrFiles, manyNames, recipe, type System, type Window } from "./ctr-recipe.ts";
import { counted } from "./report.ts";
import { liveWorkers } from "./workers.ts";

export type Engine = "onednn" | "wasm";

/** A job and a trainer of the benchmark's model. */
export async function openTrainer(
  threads: number,
  engine: Engine,
  seed: number,
): Promise<{ readonly job: fleet.Job; readonly trainer: fleet.Trainer }> {
  const { fields, numbers, dim, hidden, learningRate } = recipe;
  const job = await fleet.init({ threads, engine, maxBytes: 2 ** 31 });
  const model = models.deepFM({ categorical: fields, dense: numbers, dim, hidden: [...hidden], seed });
  return { job, trainer: job.trainer(model, { optimizer: optim.adagrad({ lr: learningRate }), seed }) };
}

export function criteo(paths: string | readonly string[]): data.Dataset {
  return data.criteo(paths, { batch: recipe.batch });
}

export class Flotilla implements System {
  readonly name: string;
  readonly threads: number;
  readonly job: fleet.Job;
  readonly trainer: fleet.Trainer;
  /** The trainer threads. */
  readonly workers: readonly Worker[];
  readonly #train: data.Dataset;

  private constructor(job: fleet.Job, trainer: fleet.Trainer, workers: readonly Worker[], train: data.Dataset) {
    this.name = `flotilla ${job.engine}, ${counted(job.threads, "thread")}`;
    this.threads = job.threads;
    this.job = job;
    this.trainer = trainer;
    this.workers = workers;
    this.#train = train;
  }

  /** Trains over a file of every id first, which gives the table all its rows and warms everything up. */
  static async open(threads: number, engine: Engine, files: CtrFiles, everyIdFile: string): Promise<Flotilla> {
    const others = new Set(liveWorkers());
    const { job, trainer } = await openTrainer(threads, engine, 1);
    await trainer.fit(criteo(everyIdFile), { progress: false });
    const rows = trainer.tableSizes.features ?? 0;
    if (rows !== recipe.vocabulary) {
      throw new Error(`ctr: the table has ${rows} rows after training on every one of ${recipe.vocabulary} ids`);
    }
    // Trainer threads start before readers do.
    const workers = liveWorkers().filter((worker) => !others.has(worker));
    return new Flotilla(job, trainer, workers.slice(0, threads), criteo(manyNames(files.criteo)));
  }

  /** Trains until `enough` says so of the samples and seconds since the first record, and returns the last ones. */
  async trainUntil(enough: (samples: number, seconds: number) => boolean): Promise<Window> {
    const stop = new AbortController();
    let first: { readonly samples: number; readonly at: number; readonly cpu: NodeJS.CpuUsage } | undefined;
    let result: Window | undefined;
    // From record to record, so that opening files and stopping threads do not count.
    await this.trainer.fit(this.#train, {
      epochs: Number.MAX_SAFE_INTEGER,
      progress: false,
      signal: stop.signal,
      onRecord: (record) => {
        if (result !== undefined) return;
        if (first === undefined) {
          first = { samples: record.samples, at: record.seconds, cpu: process.cpuUsage() };
          return;
        }
        const [samples, seconds] = [record.samples - first.samples, record.seconds - first.at];
        if (!enough(samples, seconds)) return;
        const { user, system } = process.cpuUsage(first.cpu);
        result = { samplesPerSecond: samples / seconds, cpu: (user + system) / 1e6 / seconds };
        stop.abort();
      },
    });
    if (result === undefined) throw new Error(`${this.name}: training ended before it was told to`);
    return result;
  }

  window(seconds: number): Promise<Window> {
    return this.trainUntil((_, elapsed) => elapsed >= seconds);
  }

  async close(): Promise<void> {
    await this.trainer.close();
    await this.job.close();
  }
}
