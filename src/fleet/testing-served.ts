// For tests: training against servers of partitions, through real sockets, beside training in one process.
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { Coordinator, type World } from "../cluster/index.ts";
import { models, optim } from "../index.ts";
import { type InitOptions, init, type Job } from "./job.ts";
import type { StrategyOptions } from "./strategy.ts";
import { clickColumns, clickFile, clicks, learnt, type Numbers, temporaryFolder, writeLines } from "./testing.ts";
import type { Trainer } from "./trainer.ts";

export const folder = temporaryFolder();
// Smooth, so that a rounding changes a little, not a lot.
export const model = (): ReturnType<typeof models.deepFM> =>
  models.deepFM({ ...clickColumns, dim: 4, hidden: [16, 8], activation: "tanh", embeddingScale: 0.1 });
export const HEAP = 2 ** 28;

/** Everything that the servers hold of a trainer, in the form of `learnt`. */
export async function served(trainer: Trainer, dataset: ReturnType<typeof clicks>): Promise<Numbers> {
  const { served: session } = await trainer.session(dataset.layout);
  const { state, names } = session!;
  const result = new Map<string, readonly number[]>();
  for (const [dense, name] of names.entries()) {
    result.set(name, [...(await state.dense(dense))]);
    for (const [slot, { name: own }] of state.slots(dense).entries()) {
      result.set(`${name}/${own}`, [...(await state.dense(dense, slot))]);
    }
  }
  for (const table of state.model.tables.keys()) {
    const { name, columns, chunks } = await state.table(table);
    for await (const { keys, columns: data } of chunks()) {
      for (const [row, key] of Array.from(keys).entries()) {
        for (const [i, { name: column, width }] of columns.entries()) {
          result.set(`${name}/${column}[${key}]`, [...data[i]!.subarray(row * width, (row + 1) * width)]);
        }
      }
    }
  }
  return result;
}

/** Runs workers of a job side by side, each as its own script would. */
export async function asWorkers<T>(
  workers: number,
  addresses: readonly string[],
  options: InitOptions,
  script: (job: Job) => Promise<T>,
): Promise<T[]> {
  const servers = addresses.length;
  const coordinator = await Coordinator.start({ address: "tcp://127.0.0.1:0", workers, servers });
  const place = {
    job: "test",
    role: "worker",
    workers,
    servers,
    attempt: 0,
    coordinator: coordinator.address,
  } as const;
  try {
    return await Promise.all(
      Array.from({ length: workers }, async (_, rank) => {
        const world: World = { ...place, rank };
        const job = await init({ maxBytes: HEAP, ...options, world, servers: addresses });
        try {
          return await script(job);
        } finally {
          await job.close();
        }
      }),
    );
  } finally {
    await coordinator.close();
  }
}

export const BATCH = 32;
const file = clickFile(folder.path, "all.csv", 23 * BATCH - 5, 1);
export const data = clicks(file.path, BATCH, { order: "file" });

/** The batches of worker `rank`, taken in turns, as the threads of one process take them. */
export function shareOf(rank: number, workers: number): ReturnType<typeof clicks> {
  const path = join(mkdtempSync(join(folder.path, "share-")), "share.csv");
  const lines = file.lines.filter((_, i) => Math.floor(i / BATCH) % workers === rank);
  writeLines(path, lines);
  return clicks(path, BATCH, { order: "file" });
}

export async function inOneProcess(
  threads: number,
  strategy: StrategyOptions,
  optimizer = optim.adagrad({ lr: 0.1 }),
  dataset = data,
): Promise<{ numbers: Numbers; auc: number }> {
  const job = await init({ threads, maxBytes: HEAP });
  const trainer = job.trainer(model(), { optimizer, strategy });
  await trainer.fit(dataset, { epochs: 2, progress: false });
  const { auc } = await trainer.evaluate(dataset);
  const numbers = await learnt(trainer, dataset);
  await job.close();
  return { numbers, auc };
}
