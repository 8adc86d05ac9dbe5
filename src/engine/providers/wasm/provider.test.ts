// What the WASM provider promises beyond the contract: special values, and no scratch for products of vectors.
import { describe, expect, test } from "vitest";
import { Heap } from "../../../memory/index.ts";
import { shapeOf } from "../contract.ts";
import { wasmProvider } from "./provider.ts";

const heap = Heap.create({ maxBytes: 2 ** 24 });
const provider = wasmProvider(heap);

/** act(x · I) through the register tile and through the edge tile, which have an epilogue each. */
function activated(activation: "relu" | "sigmoid" | "tanh", values: readonly number[]): number[][] {
  return [16, 3].map((n) => {
    const [m, k] = [values.length, 2];
    const shape = shapeOf({ m, n, k, activation });
    const [a, b, c] = [heap.alloc(m * k * 4), heap.alloc(k * n * 4), heap.alloc(m * n * 4)];
    const scratchBytes = provider.scratchBytes(shape);
    values.forEach((value, i) => {
      heap.f32(a, m * k)[i * k] = value;
    });
    heap.f32(b, n).fill(1);
    provider.matmul({ ...shape, a, b, c, scratch: heap.alloc(scratchBytes), scratchBytes })();
    return values.map((_, i) => heap.f32(c, m * n)[i * n]!);
  });
}

describe("activations", () => {
  const values = [-100, -20, -1, -1e-4, 0, 1e-4, 0.624, 0.626, 1, 20, 100];

  test.each([
    ["relu", (x: number) => Math.max(x, 0)],
    ["sigmoid", (x: number) => 1 / (1 + Math.exp(-x))],
    ["tanh", Math.tanh],
  ] as const)("%s is right over its range", (activation, exact) => {
    for (const results of activated(activation, values)) {
      results.forEach((got, i) => {
        const wanted = exact(values[i]!);
        expect(Math.abs(got - wanted)).toBeLessThanOrEqual(3e-7 * Math.abs(wanted) + 1e-37);
      });
    }
  });

  test.each(["relu", "sigmoid", "tanh"] as const)("%s passes a NaN on", (activation) => {
    for (const [result] of activated(activation, [Number.NaN])) expect(result).toBeNaN();
  });
});

test("products of vectors need no scratch, others little more than their packed blocks", () => {
  const base = { transposeA: false, transposeB: false };
  expect(provider.scratchBytes({ m: 512, n: 1, k: 400, ...base })).toBe(0);
  expect(provider.scratchBytes({ m: 1, n: 400, k: 400, ...base })).toBe(0);
  expect(provider.scratchBytes({ m: 512, n: 400, k: 1, ...base })).toBe(0);
  expect(provider.scratchBytes({ m: 512, n: 400, k: 400, ...base })).toBeLessThan(1_100_000);
  expect(provider.scratchBytes({ m: 1e5, n: 1e4, k: 1e4, ...base })).toBeLessThan(1_600_000);
});
