// For tests: a rank in a thread.
import { parentPort, workerData } from "node:worker_threads";
import { Heap } from "../memory/index.ts";
import { Communicator } from "./communicator.ts";
import { scenarios } from "./testing-scenarios.ts";
import { type ThreadGroup, threadTransport } from "./threads.ts";

export interface ThreadRank {
  readonly memory: WebAssembly.Memory;
  readonly group: ThreadGroup;
  readonly rank: number;
  readonly scenario: string;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly stallMs?: number;
}

const { memory, group, rank, scenario, parameters, ...options } = workerData as ThreadRank;
const heap = Heap.attach(memory);
const communicator = new Communicator({
  transport: threadTransport({ heap, group, rank, ...options }),
  heap,
  segmentBytes: 16_384,
});
try {
  parentPort!.postMessage({ result: scenarios[scenario]!({ communicator, heap, parameters }) ?? null });
} catch (error) {
  const { name, message, rank: culprit } = error as Error & { rank?: number };
  parentPort!.postMessage({ error: { name, message, rank: culprit } });
}
communicator.close();
