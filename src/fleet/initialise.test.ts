// Start values: their distributions, determinism by name and seed, and what shapes make of the scales.
import { describe, expect, it } from "vitest";
import type { Init } from "../program/index.ts";
import { initialise } from "./initialise.ts";

const size = 200_000;

function draw(init: Init, shape: readonly number[] = [size], name = "weight", seed = 1): Float32Array {
  const values = new Float32Array(shape.reduce((n, d) => n * d, 1));
  initialise(values, shape, init, name, seed);
  return values;
}

/** Mean, standard deviation and fourth standardised moment. */
function moments(values: Float32Array): { mean: number; deviation: number; kurtosis: number } {
  const average = (of: (x: number) => number): number => values.reduce((sum, x) => sum + of(x), 0) / values.length;
  const mean = average((x) => x);
  const variance = average((x) => (x - mean) ** 2);
  return { mean, deviation: Math.sqrt(variance), kurtosis: average((x) => (x - mean) ** 4) / variance ** 2 };
}

/** Of the normal distribution, by numeric integration of its density. */
function normalShare(limit: number): number {
  const steps = 20_000;
  let sum = 0;
  for (let i = 0; i < steps; i++) sum += Math.exp(-0.5 * (((i + 0.5) * limit) / steps) ** 2);
  return (2 * sum * limit) / steps / Math.sqrt(2 * Math.PI);
}

describe("distributions", () => {
  // Four standard errors of an estimate from `size` numbers.
  const error = 4 / Math.sqrt(size);

  it("uniform fills its range evenly", () => {
    const values = draw({ kind: "uniform", scale: 0.3 });
    const buckets = new Array(10).fill(0);
    for (const x of values) buckets[Math.min(9, Math.floor(((x / 0.3 + 1) / 2) * 10))]++;
    for (const count of buckets) expect(Math.abs(count / size - 0.1)).toBeLessThan(0.3 * error);
    expect(Math.max(...values.subarray(0, 10_000).map(Math.abs))).toBeLessThanOrEqual(Math.fround(0.3));
  });

  it("normal has the moments of the normal distribution, and as much between any limits", () => {
    const values = draw({ kind: "normal", scale: 2 });
    const { mean, deviation, kurtosis } = moments(values);
    expect(Math.abs(mean / 2)).toBeLessThan(error);
    expect(Math.abs(deviation / 2 - 1)).toBeLessThan(error);
    expect(Math.abs(kurtosis - 3)).toBeLessThan(5 * error);
    for (const limit of [0.1, 0.5, 1, 2, 3, 3.4426, 4]) {
      const expected = normalShare(limit);
      const share = values.reduce((count, x) => count + (Math.abs(x) <= 2 * limit ? 1 : 0), 0) / size;
      const spread = Math.sqrt((expected * (1 - expected)) / size);
      expect(Math.abs(share - expected), `within ${limit}`).toBeLessThan(4 * spread + 1 / size);
    }
  });

  it("truncated normal is the normal distribution within two deviations", () => {
    const values = draw({ kind: "truncated-normal", scale: 0.02 });
    const { mean, deviation } = moments(values);
    expect(values.every((x) => Math.abs(x) <= Math.fround(0.04))).toBe(true);
    expect(Math.abs(mean / 0.02)).toBeLessThan(error);
    // 1 − 2·2·φ(2) / (2Φ(2) − 1).
    const density = Math.exp(-2) / Math.sqrt(2 * Math.PI);
    expect(deviation / 0.02).toBeCloseTo(Math.sqrt(1 - (4 * density) / normalShare(2)), 2);
  });

  it.each([
    [5, 3],
    [3, 5],
    [4, 4],
    [1, 6],
    [40, 64],
  ])("orthogonal %i×%i has orthonormal rows or columns", (rows, columns) => {
    const values = draw({ kind: "orthogonal", scale: 2 }, [rows, columns]);
    const wide = rows < columns;
    const [count, length] = wide ? [rows, columns] : [columns, rows];
    const at = (vector: number, element: number): number =>
      values[wide ? vector * columns + element : element * columns + vector]!;
    for (let i = 0; i < count; i++) {
      for (let k = 0; k <= i; k++) {
        let product = 0;
        for (let j = 0; j < length; j++) product += at(i, j) * at(k, j);
        expect(product).toBeCloseTo(i === k ? 4 : 0, 5);
      }
    }
  });
});

describe("scales by shape", () => {
  const deviation = (init: Init, shape: readonly number[]): number => moments(draw(init, shape)).deviation;

  it("of a matrix [I, O]", () => {
    expect(deviation({ kind: "he-normal" }, [200, 400])).toBeCloseTo(Math.sqrt(2 / 200), 2);
    expect(deviation({ kind: "he-uniform" }, [200, 400])).toBeCloseTo(Math.sqrt(2 / 200), 2);
    expect(deviation({ kind: "fan-in-uniform" }, [100, 900])).toBeCloseTo(Math.sqrt(1 / 300), 3);
    expect(deviation({ kind: "glorot-normal" }, [100, 900])).toBeCloseTo(Math.sqrt(2 / 1000), 2);
    expect(deviation({ kind: "glorot-uniform" }, [100, 900])).toBeCloseTo(Math.sqrt(2 / 1000), 2);
  });

  it("of convolution weights [KH, KW, I, O]: the window counts on both sides", () => {
    const shape = [3, 5, 8, 40];
    expect(deviation({ kind: "he-normal" }, shape)).toBeCloseTo(Math.sqrt(2 / (15 * 8)), 2);
    expect(deviation({ kind: "glorot-normal" }, shape)).toBeCloseTo(Math.sqrt(2 / (15 * 48)), 2);
  });

  it("of fans that are given", () => {
    expect(deviation({ kind: "he-normal", fanIn: 8 }, [200, 400])).toBeCloseTo(0.5, 2);
    expect(deviation({ kind: "glorot-normal", fanIn: 3, fanOut: 5 }, [200, 400])).toBeCloseTo(0.5, 2);
  });
});

it("the same name and seed give the same numbers; another name or seed gives others", () => {
  for (const kind of ["uniform", "normal"] as const) {
    const init: Init = { kind, scale: 1 };
    expect(draw(init, [100])).toEqual(draw(init, [100]));
    expect(draw(init, [100], "bias")).not.toEqual(draw(init, [100]));
    expect(draw(init, [100], "weight", 2)).not.toEqual(draw(init, [100]));
  }
});

it("a copy must be resolved by the caller", () => {
  expect(() => draw({ kind: "copy", of: "other" })).toThrow(/starts as other does/);
});
