// The main thread's end of a communicator.
import { Worker } from "node:worker_threads";
import type { PipelineHandle } from "../../data/index.ts";
import { type Heap, moduleUrl } from "../../memory/index.ts";
import { COUNTER_BYTES, type CounterName, counters } from "./exchange.ts";
import type { PreparedLayout } from "./plan.ts";
import type { CommunicatorData, CommunicatorReply, CommunicatorRequest } from "./protocol.ts";
import { Ring, type RingHandle, waitedMs } from "./slots.ts";

/** What trainer threads take batches from and leave gradients in. */
export interface RunRings {
  readonly prepared: readonly RingHandle[];
  readonly gradients: readonly RingHandle[];
}

export interface CommunicatorOptions extends Omit<CommunicatorData, "memory" | "counters"> {
  readonly heap: Heap;
  /** Batches of each thread whose rows are pulled ahead. */
  readonly prefetch: number;
}

export type Traffic = Readonly<Record<CounterName, number>>;

export class CommunicatorHandle {
  readonly #options: CommunicatorOptions;
  readonly #worker: Worker;
  readonly #counters: Float64Array;
  readonly #pending = new Map<number, { resolve(): void; reject(error: Error): void }>();
  #next = 0;
  #failure: Error | undefined;

  constructor(options: CommunicatorOptions) {
    const { heap, prefetch: _, ...rest } = options;
    this.#options = options;
    const address = heap.alloc(COUNTER_BYTES);
    this.#counters = heap.f64(address, COUNTER_BYTES / 8);
    const data: CommunicatorData = { ...rest, memory: heap.memory, counters: address };
    this.#worker = new Worker(moduleUrl(import.meta.url, "communicator-thread"), { workerData: data });
    this.#worker.unref();
    this.#worker.on("message", ({ id, error }: CommunicatorReply) => {
      const pending = this.#pending.get(id);
      this.#pending.delete(id);
      if (this.#pending.size === 0) this.#worker.unref();
      if (error === undefined) pending?.resolve();
      else pending?.reject(Object.assign(new Error(error.message), { stack: error.stack }));
    });
    const fail = (error: Error): void => {
      this.#failure ??= error;
      for (const { reject } of this.#pending.values()) reject(error);
      this.#pending.clear();
    };
    this.#worker.on("error", (cause) => fail(new Error(`the communicator died: ${cause}`, { cause })));
    this.#worker.on("exit", (code) => fail(new Error(`the communicator ended with code ${code}`)));
  }

  /** What went over the network so far. */
  get traffic(): Traffic {
    const entries = Object.entries(counters).map(([name, at]) => [name, this.#counters[at]!]);
    return Object.fromEntries(entries) as Traffic;
  }

  /**
   * Lets trainers work: prepares what the pipeline reads and sends what they leave.
   * @param work starts the trainers and resolves when they have returned
   * @throws the error of the communicator, or else that of the trainers
   */
  async run(
    type: "train" | "score",
    pipeline: PipelineHandle,
    layout: PreparedLayout,
    work: (rings: RunRings) => Promise<void>,
  ): Promise<void> {
    const { heap, threads, prefetch, send, gradients } = this.#options;
    const rings = (slots: number, bytes: number): RingHandle[] =>
      Array.from({ length: threads }, () => Ring.create(heap, slots, bytes));
    const prepared = rings(prefetch + 1, layout.bytes);
    // In mode `geo` gradients stay with the trainers.
    const waiting = this.#options.geo === undefined ? Math.max(2, Math.ceil(send.sendQueueSize / threads)) : 1;
    const left = type === "train" ? rings(waiting, this.#options.geo === undefined ? gradients.bytes : 0) : [];
    try {
      const run = this.#ask({ type, pipeline, layout, prepared, gradients: left });
      // Awaited below: the trainers end where the communicator fails.
      run.catch(() => undefined);
      try {
        await work({ prepared, gradients: left });
        await this.#ask({ type: "finish" });
      } catch (error) {
        await this.#ask({ type: "stop", reason: STOPPED });
        const cause = await run.then(
          () => undefined,
          (reason: Error) => reason,
        );
        // Trainers that only stopped because the communicator failed say so.
        const own = cause === undefined || cause.message.endsWith(STOPPED);
        throw !own && String(error).includes(OTHER_FAILED) ? cause : error;
      }
      await run;
    } finally {
      for (const ring of [...prepared, ...left]) {
        if (type === "train") this.#counters[counters.waitedMs]! += waitedMs(heap, ring);
        heap.free(ring.address);
      }
    }
  }

  pullDense(): Promise<void> {
    return this.#ask({ type: "pullDense" });
  }

  async close(): Promise<void> {
    await this.#ask({ type: "close" }).catch(() => undefined);
    await this.#worker.terminate();
    this.#options.heap.free(this.#counters.byteOffset);
  }

  #ask(request: CommunicatorRequest): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const id = this.#next++;
    this.#worker.ref();
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#worker.postMessage({ id, request });
    });
  }
}

const OTHER_FAILED = "another trainer thread failed";
const STOPPED = "the trainers have stopped";
