// Whether a trainer that runs for long keeps its memory, and how much garbage its steps leave to the collector.

import type { Flotilla } from "./ctr-flotilla.ts";
import { recipe } from "./ctr-recipe.ts";

export interface MemoryResult {
  readonly steps: number;
  /** Growth of what is allocated in the shared heap, bytes. */
  readonly heapGrowth: number;
  /** Growth of the process's resident memory, bytes. */
  readonly residentGrowth: number;
  /** JavaScript objects made by the trainer threads for each step, bytes; V8's own objects count. */
  readonly garbagePerStep: number;
}

/** Trains `steps` steps, after some that let buffers and caches reach their size. */
export async function measureMemory(flotilla: Flotilla, steps: number): Promise<MemoryResult> {
  await trainSteps(flotilla, Math.ceil(steps / 5));
  const before = await snapshot(flotilla);
  await trainSteps(flotilla, steps);
  const after = await snapshot(flotilla);
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

async function snapshot({
  job,
  trainer,
  workers,
}: Flotilla): Promise<{ step: number; heap: number; resident: number; allocated: number }> {
  // Idle trainer threads do not keep the process alive, so that something else must while they answer.
  const alarm = setInterval(() => {}, 1000);
  const statistics = await Promise.all(workers.map((worker) => worker.getHeapStatistics()));
  clearInterval(alarm);
  return {
    step: trainer.state.step,
    heap: job.heap.liveBytes,
    resident: process.memoryUsage.rss(),
    allocated: statistics.reduce((sum, { total_allocated_bytes }) => sum + total_allocated_bytes, 0),
  };
}
