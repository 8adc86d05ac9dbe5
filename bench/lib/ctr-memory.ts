// Whether a trainer that runs for long keeps its memory, and how much garbage its steps leave to the collector.

import type { Worker } from "node:worker_threads";
import type { Flotilla } from "./ctr-flotilla.ts";
import { recipe } from "./ctr-recipe.ts";

export interface MemoryResult {
  readonly steps: number;
  /** Growth of the shared heap, bytes. */
  readonly heapGrowth: number;
  /** Growth of the process's resident memory, bytes. */
  readonly residentGrowth: number;
  /** JavaScript objects made by the trainer threads for each step, bytes; V8's own objects count. */
  readonly garbagePerStep: number;
}

const alive = new Set<Worker>();

/** Keeps track of worker threads; call it before any is started. */
export function watchWorkers(): void {
  process.on("worker", (worker: Worker) => {
    alive.add(worker);
    worker.once("exit", () => alive.delete(worker));
  });
}

/** The threads that are alive now: between two calls of `fit`, those of the trainers. */
export function liveWorkers(): readonly Worker[] {
  return [...alive];
}

/** Trains `steps` steps, after some that let buffers and caches reach their size. */
export async function measureMemory(
  flotilla: Flotilla,
  trainers: readonly Worker[],
  steps: number,
): Promise<MemoryResult> {
  await trainSteps(flotilla, Math.ceil(steps / 5));
  const before = await snapshot(flotilla, trainers);
  await trainSteps(flotilla, steps);
  const after = await snapshot(flotilla, trainers);
  const done = after.step - before.step;
  return {
    steps: done,
    heapGrowth: after.heap - before.heap,
    residentGrowth: after.resident - before.resident,
    garbagePerStep: (after.allocated - before.allocated) / done,
  };
}

async function trainSteps(flotilla: Flotilla, steps: number): Promise<void> {
  await flotilla.trainUntil((samples) => samples >= steps * recipe.batch);
}

async function snapshot(
  { job, trainer }: Flotilla,
  trainers: readonly Worker[],
): Promise<{ step: number; heap: number; resident: number; allocated: number }> {
  // Idle trainer threads do not keep the process alive, so that something else must while they answer.
  const alarm = setInterval(() => {}, 1000);
  const statistics = await Promise.all(trainers.map((worker) => worker.getHeapStatistics()));
  clearInterval(alarm);
  return {
    step: trainer.state.step,
    heap: job.heap.memory.buffer.byteLength,
    resident: process.memoryUsage.rss(),
    allocated: statistics.reduce((sum, { total_allocated_bytes }) => sum + total_allocated_bytes, 0),
  };
}
