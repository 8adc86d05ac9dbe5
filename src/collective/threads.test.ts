// The contract of transports between threads, and what only they have: memory that all of them read.
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { Heap, moduleUrl } from "../memory/index.ts";
import { highHeap } from "../memory/testing.ts";
import { type Outcome, type RunRanks, transportContract } from "./testing-contract.ts";
import type { CaseResult } from "./testing-scenarios.ts";
import type { ThreadRank } from "./testing-thread.ts";
import { createThreadGroup, freeThreadGroup, threadDied } from "./threads.ts";

const heap = Heap.create({ maxBytes: 2 ** 28 });

function runOn(on: Heap): RunRanks {
  return async (size, scenario, parameters = {}, options = {}) => {
    const before = on.liveBytes;
    const group = createThreadGroup(on, size);
    let died = false;
    const outcomes = await Promise.all(
      Array.from({ length: size }, async (_, rank): Promise<Outcome> => {
        const data: ThreadRank = { memory: on.memory, group, rank, scenario, parameters, ...options };
        const worker = new Worker(moduleUrl(import.meta.url, "./testing-thread"), { workerData: data });
        let outcome: Outcome = { died: true };
        worker.on("message", (message: Outcome) => {
          outcome = message;
        });
        await new Promise((resolve, reject) => worker.once("exit", resolve).once("error", reject));
        if ("died" in outcome) {
          died = true;
          threadDied(on, group, rank);
        }
        return outcome;
      }),
    );
    freeThreadGroup(on, group);
    if (!died && outcomes.every((outcome) => "result" in outcome) && scenario === "calls") {
      expect(on.liveBytes, "all memory was given back").toBe(before);
    }
    return outcomes;
  };
}

transportContract("threads", runOn(heap), { sizes: [1, 2, 3, 5, 8] });

test("on a heap with 64-bit addresses", async () => {
  const calls = ["shared", "ring"].map((algorithm) => ({ collective: "all-reduce", algorithm, count: 10_007 }));
  const outcomes = await runOn(highHeap())(3, "calls", { calls });
  for (const outcome of outcomes) {
    expect(outcome).not.toHaveProperty("error");
    for (const { error } of (outcome as { result: CaseResult[] }).result) expect(error).toBeLessThan(1e-6);
  }
});

test("shared memory: sum, mean and maximum of every length", async () => {
  const calls = [0, 1, 15, 16, 17, 63, 64, 65, 1000, 60_001].flatMap((count) =>
    (["sum", "mean", "max"] as const).map((op) => ({ collective: "all-reduce", algorithm: "shared", count, op })),
  );
  for (const size of [1, 2, 5]) {
    const outcomes = (await runOn(heap)(size, "calls", { calls })) as { result: CaseResult[] }[];
    for (const { result } of outcomes) {
      for (const [i, { error, hash, what }] of result.entries()) {
        expect(error, what).toBeLessThan(1e-6);
        expect(hash, what).toBe(outcomes[0]!.result[i]!.hash);
      }
    }
  }
});
