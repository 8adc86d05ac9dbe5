// What the cost model chooses: few messages for small tensors, few bytes for large ones, little between groups that are far.
import { expect, test } from "vitest";
import {
  allReduceSeconds,
  fastestAllReduce,
  fastestBroadcast,
  type Links,
  type Situation,
  typicalLinks,
} from "./cost-model.ts";
import { decideCall } from "./decide.ts";

const network = (size: number, groupSize = size): Links => ({
  ...typicalLinks.tcp!,
  groupSize: Math.min(size, groupSize),
});
const situation = (size: number, bytes: number, rest: Partial<Situation> = {}): Situation => ({
  ...{ size, bytes, links: network(size), shared: false, halfWire: false },
  ...rest,
});

test("small tensors go in few messages, large ones in few bytes", () => {
  expect(allReduceSeconds("halving-doubling", situation(16, 1024))).toBeLessThan(
    allReduceSeconds("ring", situation(16, 1024)),
  );
  for (const bytes of [4, 1024, 16_384]) expect(fastestAllReduce(situation(8, bytes))).not.toBe("ring");
  // Folding the ranks beyond a power of two costs all bytes once more.
  const large = situation(6, 2 ** 26);
  expect(allReduceSeconds("ring", large)).toBeLessThan(allReduceSeconds("halving-doubling", large));
});

test("far groups: all-reduce by groups, and only where they are even", () => {
  const links: Links = {
    near: { alpha: 1e-5, beta: 1e-10 },
    far: { alpha: 1e-4, beta: 1e-8 },
    gamma: 1e-11,
    groupSize: 4,
  };
  expect(fastestAllReduce(situation(16, 2 ** 24, { links }))).toBe("hierarchical");
  expect(fastestAllReduce(situation(14, 2 ** 24, { links }))).not.toBe("hierarchical");
});

test("ranks that read each other's memory do so, unless half precision is asked for", () => {
  const links: Links = { ...typicalLinks.threads!, groupSize: 4 };
  expect(fastestAllReduce(situation(4, 2 ** 24, { links, shared: true }))).toBe("shared");
  expect(fastestAllReduce(situation(4, 2 ** 24, { links, shared: true, halfWire: true }))).not.toBe("shared");
});

test("a broadcast of a long tensor goes by chain", () => {
  expect(fastestBroadcast({ size: 8, bytes: 100, links: network(8) })).toBe("tree");
  expect(fastestBroadcast({ size: 8, bytes: 2 ** 26, links: network(8) })).toBe("chain");
});

test("a torus without a size takes the squarest", () => {
  const decide = (size: number): unknown =>
    decideCall(
      { collective: "all-reduce", algorithm: "torus", count: 1 },
      { size, links: network(size), shared: false },
    ).groupSize;
  expect([4, 6, 7, 8, 9, 12].map(decide)).toEqual([2, 2, 1, 2, 3, 3]);
});
