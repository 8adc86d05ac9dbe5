// What training costs in memory over time: nothing in the heap, next to nothing in garbage.
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { Worker } from "node:worker_threads";
import { afterAll, describe, expect, test } from "vitest";
import { deepFM } from "../models/index.ts";
import { adam } from "../optim/index.ts";
import { init, type Job } from "./job.ts";
import { clickColumns, clickFile, clicks, temporaryFolder } from "./testing.ts";
import type { Trainer } from "./trainer.ts";

const folder = temporaryFolder();
afterAll(() => folder.dispose());
const few = clickFile(folder.path, "few.csv", 400, 1);
const many = clickFile(folder.path, "many.csv", 24_000, 1);
const model = deepFM({ ...clickColumns, dim: 4, hidden: [8], dropout: 0.1, norm: "batch" });
const [batch, steps] = [8, 3000];

/** What `make` starts in threads. */
async function threadsOf(make: () => Promise<unknown>): Promise<Worker[]> {
  const workers: Worker[] = [];
  const onWorker = (message: unknown): void => void workers.push((message as { worker: Worker }).worker);
  subscribe("worker_threads", onWorker);
  await make();
  unsubscribe("worker_threads", onWorker);
  return workers;
}

/** JavaScript bytes that threads have ever allocated. */
async function allocated(workers: readonly Worker[]): Promise<number> {
  const all = await Promise.all(workers.map((worker) => worker.getHeapStatistics()));
  return all.reduce((sum, statistics) => sum + statistics.total_allocated_bytes, 0);
}

describe.each([
  ["async", 1],
  ["async", 2],
  ["sync", 2],
] as const)("%s with %i threads", (mode, threads) => {
  async function withTrainer(body: (trainer: Trainer, job: Job) => Promise<void>): Promise<void> {
    const job = await init({ threads, engine: "wasm", maxBytes: 2 ** 28 });
    await body(job.trainer(model, { strategy: { mode }, optimizer: adam() }), job);
    await job.close();
  }

  test("a step makes less than a kilobyte of garbage, of training and of scoring", async () => {
    await withTrainer(async (trainer) => {
      const [short, long] = [clicks(few.path, batch), clicks(many.path, batch)];
      const workers = await threadsOf(() => trainer.session(short.layout));
      expect(workers.length).toBe(threads);
      const cost = async (work: () => Promise<unknown>): Promise<number> => {
        const before = await allocated(workers);
        await work();
        return (await allocated(workers)) - before;
      };
      // Until the compiler has optimized a loop, every number in it is an object: the first rounds warm it up.
      const settled = async (work: (dataset: typeof short) => Promise<unknown>): Promise<number> => {
        let garbage = Number.POSITIVE_INFINITY;
        for (let round = 0; garbage >= 1024 && round < 10; round++) {
          const difference = (await cost(() => work(long))) - (await cost(() => work(short)));
          garbage = difference / (steps - few.lines.length / batch);
        }
        return garbage;
      };
      let epochs = 0;
      expect(await settled((data) => trainer.fit(data, { epochs: ++epochs, progress: false }))).toBeLessThan(1024);
      expect(await settled((data) => trainer.evaluate(data))).toBeLessThan(1024);
    });
  });

  test("the heap does not grow over thousands of steps", async () => {
    await withTrainer(async (trainer, job) => {
      const dataset = clicks(many.path, batch);
      await trainer.fit(dataset, { epochs: 1, progress: false });
      const [live, rows] = [job.heap.liveBytes, trainer.tableSizes];
      const fit = await trainer.fit(dataset, { epochs: 4, progress: false });
      expect(fit.steps).toBeGreaterThanOrEqual(3 * (mode === "sync" ? steps / threads : steps));
      expect(job.heap.liveBytes).toBe(live);
      expect(trainer.tableSizes).toEqual(rows);
    });
  });
});
