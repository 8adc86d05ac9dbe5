// One rank of a measurement, as a process or a thread: times calls on buffers of several sizes. All ranks do the same calls.
import { isMainThread, parentPort, workerData } from "node:worker_threads";
import { Heap } from "../../memory/index.ts";
import { type Algorithm, algorithmsOf, type Collective, elementBytes } from "../call.ts";
import { Communicator } from "../communicator.ts";
import type { Links } from "../cost-model.ts";
import { openTransport, type TransportSpec } from "../open-transport.ts";

/** One line of a measurement. */
export interface TimedCall {
  readonly collective: Collective;
  /** Of f32 numbers. */
  readonly count: number;
  readonly algorithm: Algorithm | "auto";
  readonly groupSize?: number;
  readonly wire?: "f32" | "bf16" | "f16";
  /** Repetitions that count; one more comes before them. */
  readonly times: number;
}

export interface RankTask {
  readonly rank: number;
  readonly size: number;
  readonly transport: TransportSpec;
  readonly calls: readonly TimedCall[];
  readonly heapBytes: number;
  readonly links?: Links;
  /** Of a thread: the memory that it shares. */
  readonly memory?: WebAssembly.Memory;
}

export type RankReply =
  | {
      readonly type: "seconds";
      readonly seconds: readonly (readonly number[])[];
      readonly algorithms: readonly Algorithm[];
    }
  | { readonly type: "failed"; readonly message: string };

/** Of a thread; the worker's data holds it. */
export interface RankThread {
  readonly rankTask: RankTask;
}

function run(task: RankTask): RankReply {
  try {
    return timed(task);
  } catch (error) {
    return { type: "failed", message: (error as Error).message };
  }
}

function timed({ rank, size, transport: spec, calls, heapBytes, memory, links }: RankTask): RankReply {
  const heap = memory === undefined ? Heap.create({ maxBytes: heapBytes }) : Heap.attach(memory);
  const transport = openTransport(spec, { rank, size, heap });
  const communicator = new Communicator({ transport, heap, ...(links === undefined ? {} : { links }) });
  const most = Math.max(1, ...calls.map(({ count }) => count));
  const address = communicator.buffer?.address ?? heap.alloc(elementBytes.f32 * most);
  const spread = calls.some(({ collective }) => collective === "all-to-all");
  const output = spread ? heap.alloc(elementBytes.f32 * most) : address;
  const data = heap.f32(address, most);
  const barrier = communicator.prepare({ collective: "barrier" });
  const algorithms: Algorithm[] = [];
  const seconds = calls.map(({ times, ...options }) => {
    const reduces = algorithmsOf[options.collective].length > 2 || options.collective === "reduce-scatter";
    const call = communicator.prepare({ ...options, address, output, ...(reduces ? { op: "mean" } : {}) });
    algorithms.push(call.call.algorithm);
    data.fill(rank + 1);
    const measured: number[] = [];
    for (let i = 0; i <= times; i++) {
      communicator.run(barrier);
      const started = performance.now();
      communicator.run(call);
      if (i > 0) measured.push((performance.now() - started) / 1000);
    }
    // A mean of means stays what it is.
    const right =
      options.collective !== "all-reduce" || options.count === 0 || data[options.count - 1] === (size + 1) / 2;
    if (!right) throw new Error(`rank ${rank}: all-reduce by ${call.call.algorithm} gave ${data[options.count - 1]}`);
    return measured;
  });
  communicator.close();
  return { type: "seconds", seconds, algorithms };
}

if (isMainThread) {
  process.once("message", (task: RankTask) => process.send!(run(task), () => process.disconnect?.()));
} else {
  parentPort!.postMessage(run((workerData as RankThread).rankTask));
}
