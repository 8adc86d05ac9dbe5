// Short rows side by side in lanes: which kernels are computed so, and that they answer what rows one by one answer.
import { describe, expect, it } from "vitest";
import { evaluateRows } from "./evaluate.ts";
import * as e from "./expr.ts";
import { rowsScratch } from "./rows.ts";
import { shortRowsOf } from "./short-rows.ts";
import type { KernelInput, RowsKernel } from "./spec.ts";
import { broadcastIndex, numbers, runKernel, sizeOf } from "./testing.ts";

const [x, label, top, sum, own] = [e.input(0), e.input(1), e.input(2), e.input(3), e.input(4)];

/** Softmax cross-entropy: probabilities, Σ e^(x − top) and the label's logit less the top. */
const crossEntropy = (
  shape: readonly number[],
  inputs: readonly KernelInput[] = [{ shape }, { shape: [...shape.slice(0, -1), 1], dtype: "i32" }],
): RowsKernel => ({
  type: "rows",
  stages: [
    { op: "max", expr: x },
    { op: "sum", expr: e.exp(e.sub(x, top)) },
    { op: "sum", expr: e.select(e.eq(e.index(), label), e.sub(x, top), 0) },
  ],
  exprs: [e.mul(e.exp(e.sub(x, top)), e.div(1, sum))],
  rowExprs: [sum, own],
  shape,
  inputs,
});

describe("short rows", () => {
  it.each([
    [4, 10],
    [5, 1],
    [6, 2],
    [7, 13],
    [2, 3, 16],
    [129, 10],
  ])("of %i × %i agree with float64, in place as well", (...sizes) => {
    const shape = sizes.filter((size) => size !== undefined);
    const kernel = crossEntropy(shape);
    expect(shortRowsOf(kernel)).toBeDefined();
    expect(rowsScratch(kernel)).toBe(0);
    const [columns, rows] = [shape.at(-1)!, sizeOf(shape.slice(0, -1))];
    const logits = numbers(sizeOf(shape), 3, -5, 5);
    const labels = Int32Array.from({ length: rows }, (_, row) => (7 * row) % columns);
    const data = [logits, labels];
    const want = evaluateRows(
      kernel,
      2,
      (flat) => (index) => data[index]![broadcastIndex(kernel.inputs[index]!.shape, shape, flat)]!,
    );
    const lengths = [sizeOf(shape), rows, rows];
    for (const last of [0, 1, 2, 3]) {
      for (const [k, values] of runKernel(kernel, data, lengths, { last }).entries()) {
        for (const [i, value] of values.entries()) expect(value, `output ${k}[${i}]`).toBeCloseTo(want[k]![i]!, 5);
      }
    }
    expect(runKernel(kernel, data, lengths, { over: [0] })).toEqual(runKernel(kernel, data, lengths));
  });

  it("let NaN through a maximum, wherever it stands, in its own row alone", () => {
    const shape = [6, 5];
    for (const maximum of [
      { ...crossEntropy(shape, [{ shape }]), stages: [{ op: "max", expr: x }], exprs: [], rowExprs: [e.input(1)] },
      { type: "reduce", op: "max", exprs: [x], shape, inputs: [{ shape }], axes: [1] },
    ] as const) {
      for (let at = 0; at < 30; at++) {
        const data = numbers(30, at, -1, 1);
        const rows = Array.from({ length: 6 }, (_, row) => Math.max(...data.subarray(5 * row, 5 * row + 5)));
        data[at] = Number.NaN;
        expect([...runKernel(maximum, [data], [6])[0]!]).toEqual(rows.with(Math.floor(at / 5), Number.NaN));
      }
    }
  });

  it("sum up what rows, columns and single numbers give", () => {
    const shape = [9, 3];
    const inputs = [{ shape }, { shape: [9, 1] }, { shape: [3] }, { shape: [] }] as const;
    const expr = e.add(e.mul(e.input(0), e.input(1)), e.mul(e.input(2), e.input(3)));
    const kernel = { type: "reduce", op: "sum", exprs: [expr], shape, inputs, axes: [1] } as const;
    const data = inputs.map((input, i) => numbers(sizeOf(input.shape), i, 0, 1));
    const [sums] = runKernel(kernel, data, [9]);
    for (const [row, value] of sums!.entries()) {
      const terms = [0, 1, 2].map((c) => data[0]![3 * row + c]! * data[1]![row]! + data[2]![c]! * data[3]![0]!);
      expect(value).toBeCloseTo(terms[0]! + terms[1]! + terms[2]!, 5);
    }
  });

  it.each<[string, RowsKernel]>([
    ["long rows", crossEntropy([64, 17])],
    ["fewer rows than lanes", crossEntropy([3, 10])],
    ["half precision", { ...crossEntropy([64, 10]), dtypes: ["bf16"] }],
    ["operands of 16 bits", crossEntropy([64, 10], [{ shape: [64, 10], dtype: "f16" }, { shape: [] }])],
    ["random numbers", { ...crossEntropy([64, 10]), exprs: [e.uniform(e.constant(1), 0)] }],
    ["the number of a row", { ...crossEntropy([64, 10]), exprs: [e.index(-2)] }],
    ["operands of several loops", crossEntropy([8, 8, 10], [{ shape: [8, 8, 10] }, { shape: [8, 1] }])],
  ])("are not %s", (_, kernel) => {
    expect(shortRowsOf(kernel)).toBeUndefined();
  });
});
