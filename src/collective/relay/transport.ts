// The transport for addresses that need an event loop: TLS between machines, and sockets of systems without the calls of
// `sockets`. Messages pass a window to a thread of their own, which sends them on.
import { Worker } from "node:worker_threads";
import { type Heap, moduleUrl } from "../../memory/index.ts";
import type { KeysOption } from "../../net/index.ts";
import { ChannelTransport } from "../channels.ts";
import { atomicSignal } from "../signal.ts";
import type { Transport } from "../transport.ts";
import { windowBytes } from "../window.ts";
import type { RelayTask } from "./relay-thread.ts";
import { Phase, RelayStatus, STATUS_BYTES } from "./status.ts";

export interface RelayOptions {
  readonly name: "tls" | "tcp" | "unix";
  readonly rank: number;
  readonly size: number;
  readonly addresses: readonly string[];
  readonly heap: Heap;
  /** The folder of certificates; tls needs it. */
  readonly keys?: KeysOption;
  readonly job?: string;
  readonly connectMs?: number;
  readonly stallMs?: number;
}

const CONNECT_MS = 60_000;
/** Beyond the time to connect, for the relay to say that it failed; and to send what is left when it closes. */
const GRACE_MS = 5000;

export function relayTransport(options: RelayOptions): Transport {
  const { name, rank, size, addresses, heap, keys, job = "", connectMs = CONNECT_MS, stallMs } = options;
  const window = heap.alloc(windowBytes(size));
  const at = heap.alloc(STATUS_BYTES);
  const status = new RelayStatus(heap, at);
  const task: RelayTask = {
    memory: heap.memory,
    window,
    status: at,
    rank,
    size,
    addresses,
    job,
    connectMs,
    ...(keys === undefined ? {} : { keys }),
  };
  const worker = new Worker(moduleUrl(import.meta.url, "./relay-thread"), { name: "relay", workerData: task });
  worker.on("error", (error) => status.fail(error as Error));
  const free = (): void => {
    heap.free(window);
    heap.free(at);
  };
  status.waitWhile(Phase.connecting, connectMs + GRACE_MS);
  if (status.phase !== Phase.open) {
    if (status.phase === Phase.connecting) status.fail(new Error(`rank ${rank}: the relay did not connect in time`));
    try {
      status.throwIfFailed();
    } finally {
      void worker.terminate().then(free);
    }
  }
  const words = heap.i32(window, windowBytes(size) / 4);
  const signal = atomicSignal(words);
  return new ChannelTransport({
    ...{ name, rank, size, heap, window, signal },
    ...(stallMs === undefined ? {} : { stallMs }),
    check: () => status.throwIfFailed(),
    onClose() {
      status.waitWhile(Phase.open, GRACE_MS);
      void worker.terminate().then(free);
    },
  });
}
