// Schedules alone: every algorithm for 1 to 8 ranks and lengths that they do not divide, against plain sums; and the steps
// and bytes of its formula, counted.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { partOf, type Schedule, type ScheduleRequest } from "../schedule.ts";
import { simulate } from "../testing-simulate.ts";
import { allToAll } from "./all-to-all.ts";
import { barrier } from "./barrier.ts";
import { broadcastChain, broadcastTree } from "./broadcast.ts";
import { direct } from "./direct.ts";
import { allGather, reduceScatter } from "./gather-scatter.ts";
import { hierarchical, torus } from "./grid.ts";
import { halvingDoubling } from "./halving-doubling.ts";
import { ring } from "./ring.ts";

type Make = (request: ScheduleRequest) => Schedule;
const UNCUT = 1e9;

const plan = (make: Make, size: number, count: number, segment = UNCUT): Schedule[] =>
  Array.from({ length: size }, (_, rank) => make({ rank, size, count, segment }));
/** Distinct powers of two and small numbers: sums are exact, and a rank that counts twice shows. */
const inputs = (size: number, count: number): number[][] =>
  Array.from({ length: size }, (_, rank) => Array.from({ length: count }, (_, i) => 2 ** (rank * 3) * (1 + (i % 5))));
const sums = (data: number[][]): number[] => data[0]!.map((_, i) => data.reduce((sum, row) => sum + row[i]!, 0));
const divisors = (size: number): number[] => [1, 2, 3, 4, 5, 6, 7, 8].filter((d) => size % d === 0);

const allReduces: Record<string, Make> = { ring, "halving-doubling": halvingDoubling, direct };

describe.each(Object.entries(allReduces))("all-reduce by %s", (_, make) => {
  test("equals the plain sum, finished once, for 1 to 8 ranks", () => {
    for (let size = 1; size <= 8; size++) {
      for (const count of [0, 1, 2, 3, 7, 16, 61, 240]) {
        for (const segment of [1, 5, UNCUT]) {
          const data = inputs(size, count);
          const expected = sums(data).map((x) => x * 0.5);
          const result = simulate(plan(make, size, count, segment), data, 0.5);
          for (const row of result.data) expect(row, `${size} ranks, ${count} elements, ${segment}`).toEqual(expected);
        }
      }
    }
  });

  test("random sizes and segments", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 17 }),
        fc.nat(100),
        fc.integer({ min: 1, max: 30 }),
        (size, count, segment) => {
          const data = inputs(size, count).map((row) => row.map((x) => x % 1009));
          const { data: reduced } = simulate(plan(make, size, count, segment), data);
          for (const row of reduced) expect(row).toEqual(sums(data));
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("steps and bytes", () => {
  const volume = (size: number, count: number): number => (2 * count * (size - 1)) / size;

  test("ring: 2(P - 1) steps, 2S(P - 1)/P", () => {
    for (let size = 1; size <= 8; size++) {
      for (const counted of simulate(plan(ring, size, 840), inputs(size, 840)).counted) {
        expect(counted).toMatchObject({ steps: 2 * (size - 1), sent: volume(size, 840), received: volume(size, 840) });
      }
    }
  });

  test("halving-doubling: 2·log2 P steps, 2S(P - 1)/P; folding costs two steps and S each way", () => {
    for (const size of [1, 2, 4, 8]) {
      for (const counted of simulate(plan(halvingDoubling, size, 840), inputs(size, 840)).counted) {
        expect(counted).toMatchObject({ steps: 2 * Math.log2(size), sent: volume(size, 840) });
      }
    }
    const { counted } = simulate(plan(halvingDoubling, 6, 840), inputs(6, 840));
    expect(counted[0]).toMatchObject({ steps: 2, sent: 840, received: 840 });
    expect(counted[1]).toMatchObject({ steps: 2 * Math.log2(4) + 2, sent: volume(4, 840) + 840 });
    expect(counted[5]).toMatchObject({ steps: 2 * Math.log2(4), sent: volume(4, 840) });
  });

  test("direct: 2 steps, 2(P - 1) messages, 2S(P - 1)/P", () => {
    for (let size = 2; size <= 8; size++) {
      for (const counted of simulate(plan(direct, size, 840), inputs(size, 840)).counted) {
        expect(counted).toMatchObject({ steps: 2, messages: 2 * (size - 1), sent: volume(size, 840) });
      }
    }
  });

  test("torus: 2(C - 1) + 2(R - 1) steps; both grids: 2S(C - 1)/C + 2(S/C)(R - 1)/R", () => {
    for (const [rows, columns] of [
      [2, 2],
      [2, 3],
      [4, 2],
      [1, 4],
      [3, 1],
    ] as const) {
      const size = rows * columns;
      const sent = volume(columns, 840) + volume(rows, 840 / columns);
      const steps = 2 * (columns - 1) + 2 * (rows - 1);
      for (const make of [torus, hierarchical]) {
        const schedules = plan((request) => make({ ...request, columns }), size, 840);
        for (const counted of simulate(schedules, inputs(size, 840)).counted) expect(counted.sent).toBe(sent);
        if (make === torus) expect(simulate(schedules, inputs(size, 840)).counted[0]!.steps).toBe(steps);
      }
    }
  });

  test("hierarchical: only 2(S/C)(R - 1)/R of each rank leaves its group", () => {
    const columns = 4;
    for (const [rank, schedule] of plan((r) => hierarchical({ ...r, columns }), 8, 840).entries()) {
      const outside = schedule.steps.flatMap(({ sends }) => sends).filter(({ peer }) => peer >> 2 !== rank >> 2);
      expect(outside.reduce((sum, { count }) => sum + count, 0)).toBe(volume(2, 840 / columns));
    }
  });
});

describe.each([
  ["torus", torus],
  ["hierarchical", hierarchical],
] as const)("all-reduce by %s", (_, make) => {
  test("equals the plain sum for every group size", () => {
    for (let size = 1; size <= 8; size++) {
      for (const columns of divisors(size)) {
        for (const [count, segment] of [
          [0, 4],
          [1, 4],
          [61, 4],
          [61, UNCUT],
        ] as const) {
          const data = inputs(size, count);
          const result = simulate(
            plan((r) => make({ ...r, columns }), size, count, segment),
            data,
            0.25,
          );
          for (const row of result.data) expect(row).toEqual(sums(data).map((x) => x / 4));
        }
      }
    }
  });

  test("a group size that does not divide the world is refused", () => {
    expect(() => make({ rank: 0, size: 6, count: 8, segment: 4, columns: 4 })).toThrow(
      /groups of 4 ranks do not divide a world of 6/,
    );
    expect(() => make({ rank: 0, size: 6, count: 8, segment: 4, columns: 0 })).toThrow(RangeError);
  });
});

describe("the other collectives", () => {
  const cases = [1, 2, 3, 4, 5, 6, 7, 8].flatMap((size) => [0, 1, 13, 64].map((count) => ({ size, count })));

  test.each([
    ["chain", broadcastChain],
    ["tree", broadcastTree],
  ] as const)("broadcast by %s from every root", (_, make) => {
    for (const { size, count } of cases) {
      for (let root = 0; root < size; root++) {
        const data = inputs(size, count);
        const result = simulate(
          plan((r) => make({ ...r, root }), size, count, 5),
          data,
        );
        for (const row of result.data) expect(row).toEqual(data[root]);
        expect(Math.max(...result.counted.map(({ received }) => received))).toBe(size === 1 ? 0 : count);
      }
    }
  });

  test("a tree takes no more than ⌈log2 P⌉ steps", () => {
    for (let size = 1; size <= 8; size++) {
      const { counted } = simulate(
        plan((r) => broadcastTree({ ...r, root: 0 }), size, 9),
        inputs(size, 9),
      );
      expect(Math.max(...counted.map(({ steps }) => steps))).toBe(Math.ceil(Math.log2(size)));
    }
  });

  test.each(["ring", "direct"] as const)("reduce-scatter and all-gather by %s", (algorithm) => {
    for (const { size, count } of cases) {
      const data = inputs(size, count);
      const reduced = simulate(
        plan((r) => reduceScatter(r, algorithm), size, count, 5),
        data,
        2,
      );
      for (const [rank, row] of reduced.data.entries()) {
        const { start, count: own } = partOf({ start: 0, count }, size, rank);
        expect(row.slice(start, start + own)).toEqual(
          sums(data)
            .map((x) => 2 * x)
            .slice(start, start + own),
        );
      }
      const gathered = simulate(
        plan((r) => allGather(r, algorithm), size, count, 5),
        data,
      );
      const expected = data[0]!.map((_, i) => data.find((_, r) => isIn(partOf({ start: 0, count }, size, r), i))![i]);
      for (const row of gathered.data) expect(row).toEqual(expected);
      const sent = (count * (size - 1)) / size;
      if (Number.isInteger(count / size)) for (const c of gathered.counted) expect(c.sent).toBe(sent);
    }
  });

  test("all-to-all transposes blocks and sends S(P - 1)/P", () => {
    for (let size = 1; size <= 8; size++) {
      const data = inputs(size, 6 * size);
      const { output, counted } = simulate(plan(allToAll, size, 6 * size, 4), data);
      for (const [rank, row] of output.entries()) {
        expect(row).toEqual(data.flatMap((from) => from.slice(6 * rank, 6 * rank + 6)));
      }
      for (const { sent } of counted) expect(sent).toBe(6 * (size - 1));
    }
    expect(() => allToAll({ rank: 0, size: 4, count: 6, segment: 4 })).toThrow(/6 elements are no 4 equal blocks/);
  });

  test("a barrier: ⌈log2 P⌉ steps, after which each rank has heard of all", () => {
    for (let size = 1; size <= 8; size++) {
      const schedules = Array.from({ length: size }, (_, rank) => barrier({ rank, size }));
      const heard = schedules.map((_, rank) => new Set([rank]));
      for (let step = 0; step < Math.ceil(Math.log2(size)); step++) {
        const before = heard.map((set) => [...set]);
        for (const [rank, { steps }] of schedules.entries()) {
          for (const { peer } of steps[step]!.receives) for (const known of before[peer]!) heard[rank]!.add(known);
        }
      }
      for (const set of heard) expect(set.size).toBe(size);
      expect(simulate(schedules, inputs(size, 0)).counted[0]!.steps).toBe(Math.ceil(Math.log2(size)));
    }
  });
});

const isIn = ({ start, count }: { start: number; count: number }, i: number): boolean =>
  i >= start && i < start + count;
