import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { evaluate } from "./evaluate.ts";
import * as e from "./expr.ts";
import type { ReduceKernel } from "./spec.ts";
import { broadcastIndex, numbers, runKernel, sizeOf } from "./testing.ts";

/** A reduction in float64, and the sum of magnitudes, to which rounding errors are proportional. */
function reference(
  { op, shape, inputs, axes }: ReduceKernel,
  expr: e.Expr,
  data: readonly Float32Array[],
): { value: number; magnitude: number }[] {
  const kept = shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
  const results = Array.from({ length: sizeOf(kept) }, () => ({ value: op === "sum" ? 0 : -Infinity, magnitude: 0 }));
  for (let at = 0; at < sizeOf(shape); at++) {
    const operand = (index: number): number => data[index]![broadcastIndex(inputs[index]!.shape, shape, at)]!;
    const value = evaluate(expr, operand, { counter: at });
    const result = results[broadcastIndex(kept, shape, at)]!;
    result.value = op === "sum" ? result.value + value : Math.max(result.value, value);
    result.magnitude = op === "sum" ? result.magnitude + Math.abs(value) : Math.abs(result.value);
  }
  return results;
}

function check(kernel: ReduceKernel, data: readonly Float32Array[], last?: number): void {
  const want = kernel.exprs.map((expr) => reference(kernel, expr, data));
  const options = last === undefined ? {} : { last };
  const lengths = want.map(({ length }) => length);
  const values = runKernel(kernel, data, lengths, options);
  for (const [k, numbers] of want.entries()) {
    for (const [i, { value, magnitude }] of numbers.entries()) {
      const actual = values[k]![i]!;
      const error = actual === value ? 0 : Math.abs(actual - value);
      if (!(error <= 1e-6 * magnitude + 1e-30)) {
        throw new Error(`element ${i} of output ${k} of ${JSON.stringify(kernel)} is ${actual}, not ${value}`);
      }
    }
  }
}

// No differences: an error of 1e-6 of the terms would be more of a difference.
const exprs = [
  e.input(0),
  e.mul(e.input(0), e.input(1)),
  e.add(e.mul(e.input(0), e.input(0)), e.exp(e.input(1))),
  e.log1p(e.abs(e.mul(e.input(0), e.input(1)))),
  e.add(e.uniform(e.constant(5), 1), e.abs(e.input(1))),
  e.constant(0.25),
];
const size = fc.oneof(fc.integer({ min: 1, max: 6 }), fc.constantFrom(16, 35, 70, 131));

describe("reduce kernels", () => {
  it("agree with float64 over random shapes, axes and broadcasts", () => {
    const problem = fc
      .array(size, { minLength: 1, maxLength: 5 })
      .filter((shape) => sizeOf(shape) < 20000)
      .chain((shape) =>
        fc.record({
          shape: fc.constant(shape),
          axes: fc.subarray(shape.map((_, axis) => axis)),
          ones: fc.subarray(shape.map((_, axis) => axis)),
          dropped: fc.nat(shape.length),
          exprs: fc.array(fc.constantFrom(...exprs), { minLength: 1, maxLength: 3 }),
          op: fc.constantFrom("sum" as const, "max" as const),
          seed: fc.integer(),
          last: fc.nat(2),
        }),
      );
    fc.assert(
      fc.property(problem, ({ shape, axes, ones, dropped, exprs, op, seed, last }) => {
        const part = shape.map((full, axis) => (ones.includes(axis) ? 1 : full)).slice(dropped);
        const data = [numbers(sizeOf(shape), seed, -2, 3), numbers(sizeOf(part), seed + 1, -2, 3)];
        check({ type: "reduce", op, exprs, shape, inputs: [{ shape }, { shape: part }], axes }, data, last);
      }),
      { numRuns: 400 },
    );
  });

  it.each([
    ["one long row", [300_001], [0]],
    ["a tall column", [120_003, 3], [0]],
    ["long rows", [3, 100_003], [1]],
    ["columns and rows at once", [400, 5, 301], [0, 2]],
    ["columns around a kept middle", [300, 7, 40], [0, 2]],
    ["a block of columns", [700, 41], [0]],
  ] as const)("keeps a relative error of 1e-6 over %s of equal-signed numbers", (_, shape, axes) => {
    const kernel = { type: "reduce", op: "sum", exprs: [e.input(0)], shape, inputs: [{ shape }], axes } as const;
    // A constant makes every rounding error point the same way.
    check(kernel, [new Float32Array(sizeOf(shape)).fill(0.1)]);
    check(kernel, [numbers(sizeOf(shape), 3, 0, 1)]);
  });

  it("answers 0 or -Infinity over nothing", () => {
    const over = (op: "sum" | "max", shape: number[], axes: number[], outputs: number): number[] => [
      ...runKernel(
        { type: "reduce", op, exprs: [e.input(0)], shape, inputs: [{ shape }], axes },
        [new Float32Array(0)],
        [outputs],
      )[0]!,
    ];
    expect(over("sum", [0, 3], [0], 3)).toEqual([0, 0, 0]);
    expect(over("max", [2, 0], [1], 2)).toEqual([-Infinity, -Infinity]);
    expect(over("sum", [0, 3], [1], 0)).toEqual([]);
  });

  it("lets NaN through a maximum, wherever it stands", () => {
    for (let at = 0; at < 37; at++) {
      const data = numbers(37, at, -1, 1);
      data[at] = Number.NaN;
      const kernel = {
        type: "reduce",
        op: "max",
        exprs: [e.input(0)],
        shape: [37],
        inputs: [{ shape: [37] }],
        axes: [0],
      } as const;
      expect(runKernel(kernel, [data], [1])[0]).toEqual(Float32Array.of(Number.NaN));
    }
  });
});
