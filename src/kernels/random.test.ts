import { describe, expect, it } from "vitest";
import * as e from "./expr.ts";
import { uniformAt } from "./random.ts";
import { runKernel } from "./testing.ts";

const N = 1 << 16;
const draws = (seed: number, stream: number): number[] =>
  Array.from({ length: N }, (_, i) => uniformAt(seed, stream, i));

/** Pearson's statistic of counts against equal frequencies, in standard deviations from its mean. */
const chiSquareDeviation = (counts: readonly number[]): number => {
  const expected = counts.reduce((a, b) => a + b, 0) / counts.length;
  const statistic = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  return (statistic - (counts.length - 1)) / Math.sqrt(2 * (counts.length - 1));
};
const histogram = (bins: number, cells: Iterable<number>): number[] => {
  const counts = new Array<number>(bins).fill(0);
  for (const cell of cells) counts[cell]!++;
  return counts;
};
const correlation = (x: readonly number[], y: readonly number[]): number =>
  (12 * x.reduce((sum, value, i) => sum + (value - 0.5) * (y[i]! - 0.5), 0)) / x.length;

describe("uniform", () => {
  it("gives the same bits in kernels and in the reference", () => {
    for (const [seed, stream, shape] of [
      [0, 0, [1]],
      [1, 0, [37]],
      [2 ** 32 - 1, 5, [3, 5, 7]],
      [123456789, 2 ** 31, [9, 4]],
    ] as const) {
      const size = shape.reduce((a: number, b: number) => a * b, 1);
      const kernel = {
        type: "map",
        exprs: [e.uniform(e.input(0), stream), e.uniform(e.constant(seed), stream)],
        shape,
        inputs: [{ shape: [], dtype: "u32" }],
      } as const;
      const want = Float32Array.from({ length: size }, (_, i) => uniformAt(seed, stream, i));
      expect(runKernel(kernel, [Uint32Array.of(seed)], [size, size])).toEqual([want, want]);
    }
  });

  it("does not depend on how a shape is cut into rows", () => {
    const seed = Uint32Array.of(42);
    const row = numbersOf(30);
    const expr = e.add(e.uniform(e.input(0), 1), e.mul(e.input(1), 0));
    const run = (shape: number[], part: number[]): Float32Array =>
      runKernel(
        { type: "map", exprs: [expr], shape, inputs: [{ shape: [], dtype: "u32" }, { shape: part }] },
        [
          seed,
          row.subarray(
            0,
            part.reduce((a, b) => a * b, 1),
          ),
        ],
        [30],
      )[0]!;
    expect(run([5, 6], [5, 1])).toEqual(run([30], [30]));
    expect(run([2, 3, 5], [3, 1])).toEqual(run([30], [30]));
  });

  it("is uniform, for single numbers and for neighbours", () => {
    for (const seed of [0, 1, 2, 1000003]) {
      const x = draws(seed, 0);
      expect(
        Math.abs(
          chiSquareDeviation(
            histogram(
              256,
              x.map((u) => Math.floor(256 * u)),
            ),
          ),
        ),
      ).toBeLessThan(4.5);
      const low = x.map((u) => Math.floor(u * 2 ** 24) & 255);
      expect(Math.abs(chiSquareDeviation(histogram(256, low)))).toBeLessThan(4.5);
      for (const lag of [1, 2, 4, 256]) {
        const pairs = x.slice(lag).map((u, i) => 16 * Math.floor(16 * u) + Math.floor(16 * x[i]!));
        expect(Math.abs(chiSquareDeviation(histogram(256, pairs)))).toBeLessThan(4.5);
      }
    }
  });

  it("is independent between seeds and between streams", () => {
    const x = draws(7, 0);
    for (const other of [draws(8, 0), draws(7, 1), draws(7 + 2 ** 31, 0), draws(0, 7)]) {
      expect(Math.abs(correlation(x, other))).toBeLessThan(4.5 / Math.sqrt(N));
      const pairs = x.map((u, i) => 16 * Math.floor(16 * u) + Math.floor(16 * other[i]!));
      expect(Math.abs(chiSquareDeviation(histogram(256, pairs)))).toBeLessThan(4.5);
    }
    const firsts = Array.from({ length: N }, (_, seed) => Math.floor(256 * uniformAt(seed, 0, 0)));
    expect(Math.abs(chiSquareDeviation(histogram(256, firsts)))).toBeLessThan(4.5);
  });

  it("passes the birthday-spacing and the runs test", () => {
    const x = draws(99, 3);
    const above = x.map((u) => u >= 0.5);
    const runs = above.filter((side, i) => i === 0 || side !== above[i - 1]).length;
    expect(Math.abs(runs - N / 2)).toBeLessThan(4.5 * Math.sqrt(N / 4));
    // 512 birthdays in a year of 2^24 days: repeated spacings follow a Poisson law of mean 512³ / (4 · 2^24) = 2.
    let repeats = 0;
    for (let part = 0; part < 128; part++) {
      const days = x
        .slice(512 * part, 512 * (part + 1))
        .map((u) => u * 2 ** 24)
        .sort((a, b) => a - b);
      const spacings = days
        .slice(1)
        .map((day, i) => day - days[i]!)
        .sort((a, b) => a - b);
      repeats += spacings.filter((spacing, i) => i > 0 && spacing === spacings[i - 1]).length;
    }
    expect(Math.abs(repeats - 256)).toBeLessThan(4.5 * 16);
  });
});

function numbersOf(length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => i);
}
