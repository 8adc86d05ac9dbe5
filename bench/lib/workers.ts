// Which worker threads this process has started, so that a benchmark can ask them for their statistics.

import type { Worker } from "node:worker_threads";

const alive = new Set<Worker>();

process.on("worker", (worker: Worker) => {
  alive.add(worker);
  worker.once("exit", () => alive.delete(worker));
});

/** Worker threads started since this module was loaded that are still alive, in the order of their start. */
export function liveWorkers(): readonly Worker[] {
  return [...alive];
}
