// For tests: a program on several ranks, each a thread with an arena of its own, over real collectives.
import { Worker } from "node:worker_threads";
import { createThreadGroup, freeThreadGroup, Group } from "../../collective/index.ts";
import { prepare, scratchBytes } from "../../engine/index.ts";
import { attachProvider, selectProvider } from "../../engine/providers/index.ts";
import { Heap, moduleUrl } from "../../memory/index.ts";
import { optimize } from "../../passes/index.ts";
import { type Program, plan } from "../../program/index.ts";
import type { ExchangeHandle, NamedCall } from "./handle.ts";
import { programCalls } from "./program-calls.ts";
import type { RankTask } from "./testing-program-thread.ts";
import { Timeline } from "./timeline.ts";

type Feed = Readonly<Record<string, ArrayLike<number>>>;

/** Outputs of each rank. @param feeds inputs of each rank */
export async function runRanks(program: Program, feeds: readonly Feed[]): Promise<Record<string, Float32Array>[]> {
  const heap = Heap.create({ maxBytes: 2 ** 27 });
  const description = selectProvider(heap, { prefer: "wasm" }).describe();
  const provider = attachProvider(heap, description);
  const prepared = prepare(plan(optimize(program), { scratch: (op) => scratchBytes(op, provider) }));
  const size = feeds.length;
  const threads = createThreadGroup(heap, size);
  const groups = await Promise.all(
    feeds.map((_, rank) => Group.open({ rank, size, heap, transport: { kind: "threads", group: threads } })),
  );
  const { inputs, outputs, arenaBytes } = prepared.plan;
  const arenas = await Promise.all(
    feeds.map(async (feed, rank) => {
      const arena = heap.alloc(arenaBytes);
      for (const [name, data] of Object.entries(feed)) heap.f32(arena + inputs[name]!.offset, data.length).set(data);
      const calls: Record<string, NamedCall> = {};
      for (const [name, call] of programCalls(prepared.plan, { arena, shared: 0, exchange: 0 })) {
        const { id, bytes } = groups[rank]!.prepare(call);
        calls[name] = { stream: 0, id, bytes };
      }
      const tickets = heap.alloc(4 * (Object.keys(calls).length + 1));
      const tally = { stream: 0, id: 0, bytes: 0, address: 0 };
      const queues = [groups[rank]!.queue.address];
      const timeline = Timeline.create(heap).address;
      const handle: ExchangeHandle = { rank, queues, calls, tickets, tally, timeline, batch: 1, rows: {} };
      const task: RankTask = { memory: heap.memory, prepared, provider: description, arena, handle };
      await new Promise((resolve, reject) =>
        new Worker(moduleUrl(import.meta.url, "./testing-program-thread"), { workerData: task })
          .once("message", resolve)
          .once("error", reject),
      );
      return arena;
    }),
  );
  const results = arenas.map((arena) =>
    Object.fromEntries(
      Object.entries(outputs).map(([name, { offset, shape }]) => [
        name,
        heap
          .f32(
            arena + offset,
            shape.reduce((a, b) => a * b, 1),
          )
          .slice(),
      ]),
    ),
  );
  await Promise.all(groups.map((group) => group.close()));
  freeThreadGroup(heap, threads);
  return results;
}
