// GFLOP/s of a provider on given shapes, with one or several threads at once.
import { Worker } from "node:worker_threads";
import { moduleUrl } from "../../memory/index.ts";
import type { ConvShape } from "../provider.ts";
import type { MatmulCase } from "../providers/contract.ts";
import type { ProviderDescription } from "../providers/index.ts";

/** Work, or the WASM register tile alone on operands that lie in L1: the bound of the `wasm` provider. */
export type SpeedCase = MatmulCase | ConvShape | "micro-kernel";

export interface SpeedTask {
  readonly provider: ProviderDescription;
  readonly cases: readonly SpeedCase[];
  /** Time for each case. */
  readonly milliseconds: number;
}

/** Of all threads together, in 10^9 multiplications and additions a second. */
export interface Speed {
  readonly mean: number;
  /** Of the fastest tenth of the time, for comparisons on a machine that others use too. */
  readonly best: number;
}

/** What a thread is started with. */
export interface SpeedThreadData extends SpeedTask {
  /** Where the threads meet before each case. */
  readonly barrier: SharedArrayBuffer;
  readonly threads: number;
}

/** Runs the cases one after the other, each on all threads at once. @throws when the provider cannot be had. */
export async function measureSpeed(task: SpeedTask, threads: number): Promise<Speed[]> {
  const workerData: SpeedThreadData = { ...task, threads, barrier: new SharedArrayBuffer(16) };
  const perThread = await Promise.all(Array.from({ length: threads }, () => runThread(workerData)));
  return task.cases.map((_, i) => ({
    mean: perThread.reduce((sum, speeds) => sum + speeds[i]!.mean, 0),
    best: perThread.reduce((sum, speeds) => sum + speeds[i]!.best, 0),
  }));
}

function runThread(workerData: SpeedThreadData): Promise<Speed[]> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(moduleUrl(import.meta.url, "speed-thread"), { workerData });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}
