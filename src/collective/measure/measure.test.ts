// Measurements end with one time for each repetition, over threads and processes, and say why a rank failed.
import { expect, test } from "vitest";
import { busFactor, measureCollectives, type TimedCall } from "./measure.ts";

const calls: TimedCall[] = [
  { collective: "all-reduce", count: 1000, algorithm: "ring", times: 3 },
  { collective: "all-reduce", count: 1000, algorithm: "auto", wire: "bf16", times: 2 },
  { collective: "broadcast", count: 7, algorithm: "auto", times: 1 },
  { collective: "all-to-all", count: 8, algorithm: "auto", times: 1 },
  { collective: "barrier", count: 0, algorithm: "auto", times: 1 },
];

test.each(["threads", "shared", "tcp"] as const)("over %s", async (transport) => {
  const measured = await measureCollectives({ ranks: 2, transport, calls });
  expect(measured.map(({ seconds }) => seconds.length)).toEqual([3, 2, 1, 1, 1]);
  expect(measured[0]!.algorithm).toBe("ring");
  for (const { seconds, algorithm } of measured) {
    expect(algorithm).not.toBe("auto");
    for (const time of seconds) expect(time).toBeGreaterThan(0);
  }
});

test("what cannot be done is said", async () => {
  const odd: TimedCall[] = [{ collective: "all-reduce", count: 10, algorithm: "torus", groupSize: 2, times: 1 }];
  await expect(measureCollectives({ ranks: 3, transport: "threads", calls: odd })).rejects.toThrow(/groups of 2 ranks/);
});

test("bus bandwidth as nccl-tests define it", () => {
  expect(busFactor("all-reduce", 4)).toBe(1.5);
  expect(busFactor("all-gather", 4)).toBe(0.75);
  expect(busFactor("broadcast", 4)).toBe(1);
});
