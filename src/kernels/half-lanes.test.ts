import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as e from "./expr.ts";
import { type FloatType, fromBf16Bits, roundTo, toBf16Bits } from "./half.ts";
import type { MapKernel } from "./spec.ts";
import { numbers, runKernel } from "./testing.ts";

const every16Bits = Uint16Array.from({ length: 2 ** 16 }, (_, i) => i);
const f16Numbers = Float32Array.from(new Float16Array(every16Bits.slice().buffer));
const halfTypes = ["bf16", "f16"] as const;

/** Every number of a half type: each is read, rounded to itself, and halfway to the next one lies a tie. */
const numbersOf = (type: FloatType): Float32Array =>
  type === "f16" ? f16Numbers : Float32Array.from(every16Bits, fromBf16Bits);
const bitsOf = (type: FloatType, data: Float32Array): Uint16Array =>
  type === "f16" ? new Uint16Array(Float16Array.from(data).buffer) : Uint16Array.from(data, toBf16Bits);

const unary = (expr: e.Expr, length: number, from: FloatType, to: FloatType): MapKernel => ({
  type: "map",
  exprs: [expr],
  shape: [length],
  inputs: [{ shape: [length], dtype: from }],
  dtypes: [to],
});

/** Float32Array of neighbours in the bit patterns: `by` steps from each number. */
const neighbours = (data: Float32Array, by: number): Float32Array =>
  new Float32Array(Int32Array.from(new Int32Array(data.slice().buffer), (bits) => bits + by).buffer);

describe.each(halfTypes)("%s in kernels", (type) => {
  const all = numbersOf(type);
  const rounded: e.Expr = { op: type, x: e.input(0) };

  it("reads every bit pattern as its number", () => {
    const [values] = runKernel(unary(e.input(0), 2 ** 16, type, "f32"), [every16Bits], [2 ** 16]);
    expect(values).toEqual(all);
  });

  it("rounds to the nearest, ties to even, around every number and every tie", () => {
    const ties = Float32Array.from(all, (x, i) => (x + (all[i + 1] ?? x)) / 2);
    for (const centre of [all, ties]) {
      for (const by of [-1, 0, 1]) {
        const data = neighbours(centre, by);
        const want = data.map((x) => roundTo(type, x));
        for (const [expr, to] of [
          [e.input(0), type],
          [rounded, "f32"],
          [rounded, type],
        ] as const) {
          const [values] = runKernel(unary(expr, data.length, "f32", to), [data], [data.length]);
          expect(values).toEqual(want);
        }
      }
    }
  });

  it("picks among numbers of every bit pattern, and NaN stays one", () => {
    const x = e.input(0);
    for (const [expr, pick] of [
      [e.max(x, 0), (v: number) => Math.max(v, 0)],
      [e.min(e.max(x, -1), 6), (v: number) => Math.min(Math.max(v, -1), 6)],
      [e.select(e.gt(x, 0.5), e.neg(x), 3), (v: number) => (v > 0.5 ? -v : 3)],
      [e.max(x, 0.3), (v: number) => roundTo(type, Math.max(v, Math.fround(0.3)))],
    ] as const) {
      const [values] = runKernel(unary(expr, 2 ** 16, type, type), [every16Bits], [2 ** 16]);
      for (const [i, v] of all.entries()) {
        const want = pick(v);
        // Of two zeros either may be the larger.
        if (values![i] !== want && !(Number.isNaN(want) && Number.isNaN(values![i]))) {
          throw new Error(`${JSON.stringify(expr)} of ${v} is ${values![i]}, not ${want}`);
        }
      }
    }
  });

  it("touches nothing beside operands of any length, and computes in place", () => {
    const cases = fc.record({ length: fc.integer({ min: 1, max: 70 }), seed: fc.integer(), last: fc.nat(1) });
    fc.assert(
      fc.property(cases, ({ length, seed, last }) => {
        const data = numbers(length, seed, -3, 3).map((x) => roundTo(type, x));
        const want = data.map((x) => roundTo(type, x * 1.7));
        const kernel = unary(e.mul(e.input(0), 1.7), length, type, type);
        for (const options of [{ last }, { over: [0] }]) {
          expect(runKernel(kernel, [bitsOf(type, data)], [length], options)).toEqual([want]);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("repeats one element, or a row", () => {
    const [x, scale, row] = [numbers(35, 1, -3, 3), Float32Array.of(1.5), numbers(7, 2, -3, 3)].map((data) =>
      data.map((number) => roundTo(type, number)),
    ) as [Float32Array, Float32Array, Float32Array];
    const kernel: MapKernel = {
      type: "map",
      exprs: [e.add(e.mul(e.input(0), e.input(1)), e.input(2))],
      shape: [5, 7],
      inputs: [[5, 7], [1, 1], [7]].map((shape) => ({ shape, dtype: type })),
    };
    const data = [x, scale, row].map((operand) => bitsOf(type, operand));
    const want = x.map((number, i) => Math.fround(number * scale[0]!) + row[i % 7]!);
    expect(runKernel(kernel, data, [35])).toEqual([want]);
  });

  it("sums in f32 what it reads", () => {
    const data = numbers(1003, 5, 0, 1).map((x) => roundTo(type, x));
    const inputs = [{ shape: [1003], dtype: type }];
    const kernel = { type: "reduce", op: "sum", exprs: [e.input(0)], shape: [1003], inputs, axes: [0] } as const;
    const sum = data.reduce((total, x) => total + x, 0);
    expect(Math.abs(runKernel(kernel, [bitsOf(type, data)], [1])[0]![0]! / sum - 1)).toBeLessThan(1e-6);
  });
});

it("bytes are read as the numbers 0 to 255, whatever the length", () => {
  for (const length of [1, 2, 3, 4, 5, 255, 256]) {
    const bytes = Uint8Array.from({ length }, (_, i) => 255 - i);
    const inputs = [
      { shape: [length], dtype: "u8" },
      { shape: [1], dtype: "u8" },
    ] as const;
    const kernel: MapKernel = { type: "map", exprs: [e.sub(e.input(0), e.input(1))], shape: [length], inputs };
    for (const last of [0, 1, 2]) {
      const [values] = runKernel(kernel, [bytes, bytes.slice(0, 1)], [length], { last });
      expect(values).toEqual(Float32Array.from({ length }, (_, i) => 0 - i));
    }
  }
});
