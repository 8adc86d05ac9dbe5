import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileKernels } from "./compile.ts";
import { evaluateRows } from "./evaluate.ts";
import * as e from "./expr.ts";
import { roundTo } from "./half.ts";
import { rowsScratch } from "./rows.ts";
import type { RowsKernel } from "./spec.ts";
import { broadcastIndex, numbers, runKernel, sizeOf } from "./testing.ts";

type Arithmetic = Pick<RowsKernel, "stages" | "exprs" | "rowExprs">;

const [x, y] = [e.input(0), e.input(1)];
/** The results of stages behind two inputs. */
const [first, second] = [e.input(2), e.input(3)];

/** Of inputs x [..,N] and y, which broadcasts to it. `n` is the length of a row. */
const cases: Readonly<Record<string, (n: number) => Arithmetic>> = {
  softmax: () => ({
    stages: [
      { op: "max", expr: x },
      { op: "sum", expr: e.exp(e.sub(x, first)) },
    ],
    exprs: [e.mul(e.exp(e.sub(x, first)), e.div(1, second))],
    rowExprs: [e.add(e.log(second), first)],
  }),
  "layer norm of a sum that costs": (n) => {
    const sum = e.add(e.mul(e.tanh(x), y), e.sigmoid(y));
    const centred = e.sub(sum, e.mul(first, 1 / n));
    const rstd = e.div(1, e.sqrt(e.add(e.mul(second, 1 / n), 0.5)));
    return {
      stages: [
        { op: "sum", expr: sum },
        { op: "sum", expr: e.mul(centred, centred) },
      ],
      exprs: [e.mul(centred, rstd), sum],
      rowExprs: [e.mul(first, 1 / n), rstd],
    };
  },
  "two sums at once": (n) => ({
    stages: [
      { op: "sum", expr: e.mul(x, y) },
      { op: "sum", expr: e.abs(x) },
    ],
    exprs: [e.mul(e.sub(e.mul(x, second), e.mul(y, first)), 1 / n)],
    rowExprs: [],
  }),
  "the element at an index, and nothing else": () => ({
    stages: [{ op: "sum", expr: e.select(e.eq(e.index(), 2), x, 0) }],
    exprs: [],
    rowExprs: [first],
  }),
  "indices and random numbers": (n) => ({
    stages: [{ op: "max", expr: e.add(e.index(), e.uniform(e.constant(7), 1)) }],
    exprs: [e.select(e.lt(e.index(), 0.5 * n), e.uniform(e.constant(7), 1), first)],
    rowExprs: [first],
  }),
};

const length = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom(33, 70, 131, 1025));
const problem = fc.record({
  name: fc.constantFrom(...Object.keys(cases)),
  lead: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 3 }),
  n: length,
  part: fc.constantFrom("full", "row", "column", "one"),
  seed: fc.integer(),
  last: fc.nat(3),
});

function kernelOf(name: string, shape: readonly number[], part: string): RowsKernel {
  const n = shape.at(-1)!;
  const second = { full: shape, row: [n], column: [...shape.slice(0, -1), 1], one: [] }[part]!;
  return { type: "rows", ...cases[name]!(n), shape, inputs: [{ shape }, { shape: second }] };
}

describe("rows kernels", () => {
  it("agree with float64 over random shapes and broadcasts, in place as well", () => {
    fc.assert(
      fc.property(problem, ({ name, lead, n, part, seed, last }) => {
        const kernel = kernelOf(name, [...lead, n], part);
        const { shape, inputs, exprs } = kernel;
        const data = inputs.map((input, i) => numbers(sizeOf(input.shape), seed + i, -2, 3));
        const want = evaluateRows(
          kernel,
          2,
          (flat) => (index) => data[index]![broadcastIndex(inputs[index]!.shape, shape, flat)]!,
        );
        const lengths = want.map((values) => values.length);
        const beside = runKernel(kernel, data, lengths, { last });
        for (const [k, values] of want.entries()) {
          for (const [i, value] of values.entries()) {
            const error = Math.abs(beside[k]![i]! - value);
            expect(error, `${name}: element ${i} of output ${k}`).toBeLessThan(2e-5 * Math.max(1, Math.abs(value)));
          }
        }
        if (exprs.length === 1) expect(runKernel(kernel, data, lengths, { over: [0] })).toEqual(beside);
      }),
      { numRuns: 200 },
    );
  });

  it("keep a relative error of 1e-6 over long rows of equal-signed numbers", () => {
    for (const n of [5000, 70_001]) {
      const shape = [2, n];
      const sum: RowsKernel = {
        type: "rows",
        stages: [{ op: "sum", expr: x }],
        exprs: [e.mul(x, e.input(1))],
        rowExprs: [e.input(1)],
        shape,
        inputs: [{ shape }],
      };
      const data = new Float32Array(2 * n).fill(0.1);
      const [, rows] = runKernel(sum, [data], [2 * n, 2]);
      for (const value of rows!) expect(Math.abs(value / (n * Math.fround(0.1)) - 1)).toBeLessThan(1e-6);
    }
  });

  it("read and write half precision", () => {
    const shape = [3, 13];
    const base = kernelOf("softmax", shape, "one");
    for (const dtype of ["bf16", "f16"] as const) {
      const kernel: RowsKernel = { ...base, inputs: [{ shape, dtype }, { shape: [] }], dtypes: [dtype] };
      const data = numbers(39, 4, -2, 3).map((value) => roundTo(dtype, value));
      const bits =
        dtype === "f16"
          ? new Uint16Array(Float16Array.from(data).buffer)
          : new Uint16Array(new Uint32Array(data.slice().buffer).length).map(
              (_, i) => new Uint32Array(data.slice().buffer)[i]! >>> 16,
            );
      const want = evaluateRows(kernel, 2, (flat) => (index) => (index === 0 ? data[flat]! : 0));
      const [tensor, rows] = runKernel(kernel, [bits, new Float32Array(1)], [39, 3]);
      // A number next to a tie may round to either side.
      for (const [i, value] of tensor!.entries()) {
        expect(roundTo(dtype, value)).toBe(value);
        expect(Math.abs(value / want[0]![i]! - 1)).toBeLessThan(dtype === "bf16" ? 2 ** -8 : 2 ** -10.9);
      }
      for (const [i, value] of rows!.entries()) expect(value).toBeCloseTo(want[1]![i]!, 5);
    }
  });

  it("let NaN through a maximum, and take the maximum of a masked row", () => {
    const shape = [2, 6];
    const kernel: RowsKernel = {
      type: "rows",
      stages: [{ op: "max", expr: x }],
      exprs: [],
      rowExprs: [e.input(1)],
      shape,
      inputs: [{ shape }],
    };
    const data = Float32Array.of(1, 2, Number.NaN, 4, 5, 6, ...new Array<number>(6).fill(-Infinity));
    expect([...runKernel(kernel, [data], [2])[0]!]).toEqual([Number.NaN, -Infinity]);
  });

  it("store what is dear and read again, and only that", () => {
    const scratchOf = (name: string): number => rowsScratch(kernelOf(name, [4, 18], "full"));
    expect(scratchOf("softmax")).toBe(80);
    expect(scratchOf("layer norm of a sum that costs")).toBe(80);
    expect(scratchOf("two sums at once")).toBe(0);
  });

  it.each<[string, Partial<RowsKernel>, string]>([
    [
      "a stage that reads itself",
      { stages: [{ op: "sum", expr: e.input(2) }] },
      "stage 0 of a rows kernel reads operand 2",
    ],
    [
      "row values that differ",
      { stages: [], rowExprs: [x], exprs: [] },
      "row expression 0 of a rows kernel differs along the row",
    ],
    ["a scalar", { shape: [], inputs: [] }, "needs a last axis"],
    [
      "an axis that is not there",
      { stages: [], exprs: [e.index(-3)], rowExprs: [] },
      "axis -3: it must be from -2 to -1",
    ],
  ])("refuse %s", (_, part, message) => {
    expect(() => compileKernels([{ ...kernelOf("softmax", [2, 3], "full"), ...part }])).toThrow(message);
  });
});
