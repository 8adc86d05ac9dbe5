// Measures collectives between ranks that it starts: threads of this process, or processes, on this machine or wherever a
// command in front of them puts them.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { Heap, moduleUrl } from "../../memory/index.ts";
import type { Algorithm, Collective } from "../call.ts";
import type { Links } from "../cost-model.ts";
import type { TransportSpec } from "../open-transport.ts";
import { listenOn } from "../sockets/address.ts";
import { libc } from "../sockets/libc.ts";
import { createThreadGroup } from "../threads.ts";
import type { RankReply, RankTask, RankThread, TimedCall } from "./rank.ts";

export type { TimedCall } from "./rank.ts";

export const measuredTransports = ["threads", "shared", "unix", "tcp"] as const;
export type MeasuredTransport = (typeof measuredTransports)[number];

export interface MeasureOptions {
  readonly ranks: number;
  readonly transport: MeasuredTransport;
  readonly calls: readonly TimedCall[];
  readonly links?: Links;
  /** Ranks on hosts of their own: the command in front of each, and its address. */
  readonly hosts?: readonly { readonly command: readonly string[]; readonly address: string }[];
}

export interface Measured {
  readonly call: TimedCall;
  /** What `auto` became. */
  readonly algorithm: Algorithm;
  /** Of each repetition, on the slowest rank. */
  readonly seconds: readonly number[];
}

/** Memory of a rank beside its buffers: windows, scratch, the heap's own. */
const SPARE_BYTES = 2 ** 27;

/** @throws with the first failure of a rank */
export async function measureCollectives(options: MeasureOptions): Promise<Measured[]> {
  const { ranks, transport, calls, links } = options;
  const most = 4 * Math.max(...calls.map(({ count }) => count));
  const common = { size: ranks, calls, ...(links === undefined ? {} : { links }) };
  const replies =
    transport === "threads"
      ? await runThreads({ ...common, heapBytes: 2.5 * ranks * most + SPARE_BYTES + ranks * ranks * 2 ** 20 })
      : await runProcesses(
          { ...common, heapBytes: (1.5 + ranks) * most + SPARE_BYTES + ranks * ranks * 2 ** 20 },
          transport,
          options.hosts,
        );
  const failed = replies.find((reply) => reply.type === "failed");
  if (failed !== undefined) throw new Error(failed.message);
  const done = replies.filter((reply) => reply.type === "seconds");
  return calls.map((call, i) => ({
    call,
    algorithm: done[0]!.algorithms[i]!,
    seconds: done[0]!.seconds[i]!.map((_, turn) => Math.max(...done.map(({ seconds }) => seconds[i]![turn]!))),
  }));
}

type Common = Omit<RankTask, "rank" | "transport">;

function runThreads(task: Common): Promise<RankReply[]> {
  const heap = Heap.create({ maxBytes: Math.ceil(task.heapBytes) });
  const group = createThreadGroup(heap, task.size);
  const transport: TransportSpec = { kind: "threads", group };
  return Promise.all(
    Array.from({ length: task.size }, (_, rank) => {
      const data: RankThread = { rankTask: { ...task, rank, transport, memory: heap.memory } };
      const worker = new Worker(moduleUrl(import.meta.url, "./rank"), { workerData: data });
      return new Promise<RankReply>((resolve, reject) => worker.once("message", resolve).once("error", reject));
    }),
  );
}

async function runProcesses(
  task: Common,
  kind: "shared" | "unix" | "tcp",
  hosts: MeasureOptions["hosts"],
): Promise<RankReply[]> {
  const folder = mkdtempSync(join(tmpdir(), "flotilla-bench-"));
  const script = fileURLToPath(moduleUrl(import.meta.url, "./rank"));
  const addresses =
    hosts?.map(({ address }) => address) ??
    Array.from({ length: task.size }, (_, rank) => (kind === "tcp" ? freeAddress() : `unix://${folder}/${rank}`));
  const bufferBytes = kind === "shared" ? 4 * Math.max(1, ...task.calls.map(({ count }) => count)) : 0;
  const transport: TransportSpec = { kind, addresses, trusted: hosts !== undefined, bufferBytes };
  try {
    return await Promise.all(
      addresses.map((_, rank) => {
        const words = [...(hosts?.[rank]?.command ?? []), process.execPath, script];
        const [command, ...args] = words as [string, ...string[]];
        const child = spawn(command, args, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
        child.send({ ...task, heapBytes: Math.ceil(task.heapBytes), rank, transport } satisfies RankTask);
        return new Promise<RankReply>((resolve) => {
          child.once("message", (reply) => resolve(reply as RankReply));
          child.once("error", ({ message }) => resolve({ type: "failed", message }));
          child.once("exit", (code) =>
            resolve({ type: "failed", message: `rank ${rank} ended with exit code ${code}` }),
          );
        });
      }),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A port of this machine that nobody listens at now. */
function freeAddress(): string {
  const { fd, address } = listenOn("tcp://127.0.0.1:0");
  libc().close(fd);
  return address;
}

/**
 * Bytes a second of the wire that a collective's algorithm bandwidth amounts to, as nccl-tests define it: comparable between
 * collectives and numbers of ranks.
 */
export function busFactor(collective: Collective, ranks: number): number {
  switch (collective) {
    case "all-reduce":
      return (2 * (ranks - 1)) / ranks;
    case "reduce-scatter":
    case "all-gather":
    case "all-to-all":
      return (ranks - 1) / ranks;
    case "broadcast":
      return 1;
    case "barrier":
      return 0;
    default:
      return collective satisfies never;
  }
}
