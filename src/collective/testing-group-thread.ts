// For tests: a trainer thread that starts and awaits a call which another thread prepared.
import { parentPort, workerData } from "node:worker_threads";
import { Heap } from "../memory/index.ts";
import { CallQueue } from "./call-queue.ts";

export interface StarterData {
  readonly memory: WebAssembly.Memory;
  readonly queue: number;
  readonly call: number;
  readonly times: number;
}

const { memory, queue: address, call, times } = workerData as StarterData;
const queue = new CallQueue(Heap.attach(memory), address);
for (let i = 0; i < times; i++) queue.wait(queue.start(call));
parentPort!.postMessage("done");
