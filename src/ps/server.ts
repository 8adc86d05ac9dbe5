// The partitions of a server process, each in a thread of its own with its own memory and socket.
import { Worker } from "node:worker_threads";
import { moduleUrl } from "../memory/index.ts";
import type { KeysOption } from "../net/index.ts";
import type { Restored } from "./durable.ts";
import type { PartitionStatistics } from "./requests.ts";

export interface ThreadOptions {
  /** Among those of all servers. */
  readonly partition: number;
  /** Where it listens: as RpcServer takes it. */
  readonly address: string;
  readonly keys?: KeysOption;
  /** For its snapshot, its journal, and rows that memory has no room for. What is there from before is taken up. */
  readonly folder: string;
  /** Default 4 GiB of address space. */
  readonly heapBytes?: number;
}

export type ThreadRequest =
  | { readonly type: "workers"; readonly ranks: readonly number[] }
  | { readonly type: "statistics" }
  | { readonly type: "close" };

/** `failed`: the partition must not go on; `note`: for the log. */
export type ThreadMessage =
  | { readonly type: "ready"; readonly address: string; readonly restored?: Restored }
  | { readonly type: "failed"; readonly message: string }
  | { readonly type: "note"; readonly message: string }
  | { readonly type: "statistics"; readonly statistics: PartitionStatistics };

export interface ThreadEvents {
  readonly onFailure?: (error: Error) => void;
  readonly onNote?: (message: string) => void;
}

/** A partition that serves. */
export interface PartitionThread {
  readonly partition: number;
  readonly address: string;
  /** What it took up from disk. */
  readonly restored: Restored | undefined;
  /** Whom mode `sync` waits for from now on. */
  setWorkers(ranks: readonly number[]): void;
  statistics(): Promise<PartitionStatistics>;
  close(): Promise<void>;
}

/** @throws Error when its files are damaged, or it cannot listen */
export async function startThread(options: ThreadOptions, events: ThreadEvents = {}): Promise<PartitionThread> {
  const worker = new Worker(moduleUrl(import.meta.url, "./server-thread"), {
    workerData: options,
    name: `partition ${options.partition}`,
  });
  const ended = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
  const waiting: ((statistics: PartitionStatistics) => void)[] = [];
  let closing = false;
  const fail = (message: string): void => events.onFailure?.(new Error(`partition ${options.partition}: ${message}`));
  const ready = await new Promise<ThreadMessage & { type: "ready" }>((resolve, reject) => {
    worker.on("message", (message: ThreadMessage) => {
      if (message.type === "ready") resolve(message);
      else if (message.type === "note") events.onNote?.(message.message);
      else if (message.type === "statistics") waiting.shift()?.(message.statistics);
      else fail(message.message);
    });
    worker.on("error", (error: Error) => {
      reject(error);
      fail(error.message);
    });
    worker.on("exit", () => {
      if (!closing) fail("its thread has ended");
    });
  });
  return {
    partition: options.partition,
    address: ready.address,
    restored: ready.restored,
    setWorkers: (ranks) => worker.postMessage({ type: "workers", ranks } satisfies ThreadRequest),
    statistics: () =>
      new Promise((resolve) => {
        waiting.push(resolve);
        worker.postMessage({ type: "statistics" } satisfies ThreadRequest);
      }),
    async close() {
      closing = true;
      worker.postMessage({ type: "close" } satisfies ThreadRequest);
      await ended;
    },
  };
}
