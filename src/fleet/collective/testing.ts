// For tests: several workers of a job in one process, each with a heap and trainer threads of its own, and what they learn.
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { Coordinator, type World } from "../../cluster/index.ts";
import type { Dataset } from "../../data/index.ts";
import type { Model } from "../../models/index.ts";
import { linear, mlp } from "../../nn/index.ts";
import { type InitOptions, init, type Job } from "../job.ts";
import { type ClickFile, clicks, writeLines } from "../testing.ts";

const HEAP = 2 ** 28;

/** Workers of a job side by side in one process. */
export class TestRanks implements AsyncDisposable {
  readonly jobs: readonly Job[];
  readonly #coordinator: Coordinator;

  private constructor(jobs: readonly Job[], coordinator: Coordinator) {
    this.jobs = jobs;
    this.#coordinator = coordinator;
  }

  /** @param network as if each were on a machine of its own */
  static async open(workers: number, folder: string, options: InitOptions = {}, network = false): Promise<TestRanks> {
    const coordinator = await Coordinator.start({ address: "tcp://127.0.0.1:0", workers, servers: 0 });
    const place = { job: "test", role: "worker", workers, servers: 0, attempt: 0 } as const;
    const sockets = mkdtempSync(join(folder, "s"));
    const reached = network ? ({ host: "127.0.0.1", trustedNetwork: true } as const) : {};
    const jobs = Array.from({ length: workers }, (_, rank) => {
      const world: World = { ...place, rank, coordinator: coordinator.address, folder: sockets, ...reached };
      return init({ maxBytes: HEAP, threads: 1, engine: "wasm", ...options, world });
    });
    return new TestRanks(await Promise.all(jobs), coordinator);
  }

  /** Runs a script in each, as its own process would; gives what each returned or threw. */
  settled<T>(script: (job: Job) => Promise<T>): Promise<PromiseSettledResult<T>[]> {
    return Promise.allSettled(this.jobs.map(script));
  }

  async all<T>(script: (job: Job) => Promise<T>): Promise<T[]> {
    const results = await this.settled(script);
    for (const result of results) if (result.status === "rejected") throw result.reason;
    return results.map((result) => (result as PromiseFulfilledResult<T>).value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.jobs.map((job) => job.close()));
    await this.#coordinator.close();
  }
}

/** A dense model of click data. */
export const perceptron: Model = {
  name: "perceptron",
  config: {},
  forward: (batch, ctx) => {
    const hidden = mlp(ctx, "deep", batch.dense!, batch.weight!, { hidden: [24, 16], activation: "tanh" });
    return linear(ctx, "output", hidden, 1);
  },
};

/** The same with batch norm. */
export const normalised: Model = {
  name: "normalised",
  config: {},
  forward: (batch, ctx) => {
    const options = { hidden: [24, 16], activation: "tanh", norm: "batch" } as const;
    return linear(ctx, "output", mlp(ctx, "deep", batch.dense!, batch.weight!, options), 1);
  },
};

/** The batches that worker `rank` of several takes, where all their threads take turns. */
export function shareOf(
  file: ClickFile,
  batch: number,
  place: { readonly rank: number; readonly workers: number; readonly threads?: number; readonly folder: string },
): Dataset {
  const { rank, workers, threads = 1, folder } = place;
  const path = join(mkdtempSync(join(folder, "share-")), "share.csv");
  writeLines(
    path,
    file.lines.filter((_, i) => Math.floor(i / batch / threads) % workers === rank),
  );
  return clicks(path, batch, { order: "file" });
}
