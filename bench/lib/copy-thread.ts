// A thread that copies a buffer again and again, all threads at once: what memory allows for an all-reduce between threads,
// which reads and writes the same number of bytes.
import { parentPort, workerData } from "node:worker_threads";
import { Communicator, type ThreadGroup, threadTransport } from "../../src/collective/index.ts";
import { reduction } from "../../src/collective/reduction.ts";
import { Heap } from "../../src/memory/index.ts";

export interface CopyTask {
  readonly memory: WebAssembly.Memory;
  readonly group: ThreadGroup;
  readonly rank: number;
  readonly bytes: number;
  readonly times: number;
}

const { memory, group, rank, bytes, times } = workerData as CopyTask;
const heap = Heap.attach(memory);
const communicator = new Communicator({ transport: threadTransport({ heap, group, rank }), heap });
const [from, to] = [heap.alloc(bytes), heap.alloc(bytes)];
heap.u8(from, bytes).fill(1);
const barrier = communicator.prepare({ collective: "barrier" });
const seconds: number[] = [];
for (let i = 0; i <= times; i++) {
  communicator.run(barrier);
  const started = performance.now();
  reduction(heap).copyBytes(to, from, bytes);
  communicator.run(barrier);
  if (i > 0) seconds.push((performance.now() - started) / 1000);
}
communicator.close();
parentPort!.postMessage(seconds);
