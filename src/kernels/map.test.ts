import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { evaluate } from "./evaluate.ts";
import * as e from "./expr.ts";
import type { MapKernel } from "./spec.ts";
import { bounds, broadcastIndex, numbers, runKernel, sizeOf } from "./testing.ts";

const INPUTS = 3;
const unaryOps = [
  e.neg,
  e.abs,
  e.sqrt,
  e.exp,
  e.log,
  e.log1p,
  e.tanh,
  e.sigmoid,
  e.erf,
  e.floor,
  e.round,
  e.sign,
  e.bf16,
  e.f16,
];
const binaryOps = [e.add, e.sub, e.mul, e.div, e.min, e.max, e.gt, e.ge, e.lt, e.le, e.eq];
const constants = [-2, -1, 0, 0.5, 1, 2, 3.25];
const exponents = [-2, -1, -0.5, 0, 0.5, 1, 2, 3, 5, 1.7];

const expression = fc.letrec<{ any: e.Expr }>((tie) => ({
  any: fc.oneof(
    { depthSize: "small", maxDepth: 5 },
    fc.nat(INPUTS - 1).map(e.input),
    fc.constantFrom(...constants).map(e.constant),
    fc.tuple(fc.constantFrom(...unaryOps), tie("any")).map(([op, x]) => op(x)),
    fc.tuple(fc.constantFrom(...binaryOps), tie("any"), tie("any")).map(([op, x, y]) => op(x, y)),
    fc.tuple(tie("any"), fc.constantFrom(...exponents)).map(([x, y]) => e.pow(x, y)),
    fc.tuple(tie("any"), tie("any"), tie("any")).map(([test, x, y]) => e.select(test, x, y)),
    fc.nat(3).map((stream) => e.uniform(e.input(INPUTS), stream)),
    fc.constantFrom(-1, -2).map(e.index),
  ),
})).any;

const shape = fc
  .array(
    fc.oneof(
      fc.nat(6).map((n) => n + 1),
      fc.constantFrom(16, 37),
    ),
    { minLength: 2, maxLength: 4 },
  )
  .filter((sizes) => sizeOf(sizes) <= 3000);
/** A shape that broadcasts to `to`: some dimensions 1, some leading ones missing. */
const partOf = (to: readonly number[]): fc.Arbitrary<number[]> =>
  fc
    .tuple(fc.array(fc.boolean(), { minLength: to.length, maxLength: to.length }), fc.nat(to.length))
    .map(([ones, dropped]) => to.map((size, axis) => (ones[axis] ? 1 : size)).slice(dropped));
const problem = shape.chain((to) =>
  fc.record({
    to: fc.constant(to),
    parts: fc.tuple(...Array.from({ length: INPUTS }, () => fc.oneof(partOf(to), fc.constant(to)))),
    exprs: fc.array(expression, { minLength: 1, maxLength: 3 }),
    seed: fc.integer(),
    last: fc.nat(INPUTS + 1),
  }),
);

const inputsOf = (shapes: readonly (readonly number[])[], seed: number): Float32Array[] =>
  shapes.map((part, i) => numbers(sizeOf(part), seed + 977 * i, -3, 3));

describe("map kernels", () => {
  it("agree with the float64 reference for random expressions, shapes and broadcasts", () => {
    let decided = 0;
    let all = 0;
    fc.assert(
      fc.property(problem, ({ to, parts, exprs, seed, last }) => {
        const data = inputsOf(parts, seed);
        const kernel: MapKernel = {
          type: "map",
          exprs,
          shape: to,
          inputs: [...parts.map((part) => ({ shape: part })), { shape: [], dtype: "u32" }],
        };
        const outputs = runKernel(
          kernel,
          [...data, Uint32Array.of(seed)],
          exprs.map(() => sizeOf(to)),
          { last },
        );
        for (const [i, expr] of exprs.entries()) {
          for (let at = 0; at < sizeOf(to); at++) {
            const operand = (index: number): number =>
              index === INPUTS ? seed : data[index]![broadcastIndex(parts[index]!, to, at)]!;
            const allowed = bounds(expr, operand, at, to);
            all++;
            if (!allowed) continue;
            decided++;
            const value = outputs[i]![at]!;
            if (!(value >= allowed[0] && value <= allowed[1])) {
              throw new Error(`element ${at} of ${JSON.stringify(expr)} is ${value}, not in [${allowed}]`);
            }
          }
        }
      }),
      { numRuns: 300 },
    );
    expect(decided / all).toBeGreaterThan(0.5);
  });

  it("give the same bits in place as beside their inputs", () => {
    const cases = problem.filter(({ exprs }) => exprs.length >= 2);
    fc.assert(
      fc.property(cases, ({ to, exprs, seed }) => {
        const shapes = Array.from({ length: INPUTS }, () => to);
        const inputs = [...inputsOf(shapes, seed), Uint32Array.of(seed)];
        const kernel: MapKernel = {
          type: "map",
          exprs,
          shape: to,
          inputs: [...shapes.map((full) => ({ shape: full })), { shape: [], dtype: "u32" }],
        };
        const lengths = exprs.map(() => sizeOf(to));
        const beside = runKernel(kernel, inputs, lengths);
        const inPlace = runKernel(kernel, inputs, lengths, { over: [2, 0, 1].slice(0, exprs.length) });
        expect(inPlace).toEqual(beside);
      }),
      { numRuns: 100 },
    );
  });

  it("handles every length around the width of vectors and unrolled turns", () => {
    for (let n = 0; n <= 70; n++) {
      const data = numbers(n, n, -3, 3);
      const kernel: MapKernel = { type: "map", exprs: [e.mul(e.input(0), 2)], shape: [n], inputs: [{ shape: [n] }] };
      for (const last of [0, 1]) expect(runKernel(kernel, [data], [n], { last })[0]).toEqual(data.map((x) => 2 * x));
    }
  });

  it("turns integer operands into numbers", () => {
    const kernel: MapKernel = {
      type: "map",
      exprs: [e.input(0), e.input(1)],
      shape: [5],
      inputs: [
        { shape: [5], dtype: "i32" },
        { shape: [5], dtype: "u32" },
      ],
    };
    const signed = Int32Array.of(-5, 0, 7, 2 ** 24, -(2 ** 31));
    const unsigned = Uint32Array.of(0, 1, 2 ** 31, 2 ** 32 - 256, 9);
    const [first, second] = runKernel(kernel, [signed, unsigned], [5, 5]);
    expect([...first!]).toEqual([...signed]);
    expect([...second!]).toEqual([...unsigned]);
  });

  it("gives special values their IEEE meaning in every op", () => {
    const special = [
      0,
      -0,
      1,
      -1,
      0.5,
      -0.5,
      1.5,
      2.5,
      -2.5,
      2,
      3,
      -3,
      100,
      -100,
      1e-40,
      -1e-40,
      3e38,
      -3e38,
      2 ** 24 + 1,
      Infinity,
      -Infinity,
      Number.NaN,
    ].map(Math.fround);
    const pairs = special.flatMap((x) => special.map((y) => [x, y] as const));
    const data = [0, 1].map((side) => Float32Array.from(pairs, (pair) => pair[side]!));
    const powers = [e.pow, ...exponents.filter((p) => p !== 0.5 && p !== -0.5).map((p) => (x: e.Expr) => e.pow(x, p))];
    const exprs = [...unaryOps, ...binaryOps, ...powers, (x: e.Expr) => e.max(x, 0), (x: e.Expr) => e.min(1, x)].map(
      (op) => op(e.input(0), e.input(1)),
    );
    exprs.push(e.select(e.input(0), e.input(1), 7), e.select(e.lt(e.input(0), e.input(1)), 1, 2));
    const inputs = [{ shape: [pairs.length] }, { shape: [pairs.length] }];
    const outputs = runKernel(
      { type: "map", exprs, shape: [pairs.length], inputs },
      data,
      exprs.map(() => pairs.length),
    );
    for (const [i, expr] of exprs.entries()) {
      for (const [at, pair] of pairs.entries()) {
        const want = Math.fround(evaluate(expr, (index) => pair[index]!, { counter: 0 }));
        const value = outputs[i]![at]!;
        const growth = expr.op === "pow" ? 100 : 3;
        const close = Math.abs(value - want) <= growth * (2 ** -23 * Math.abs(want) + 2 ** -149);
        const flushed = expr.op === "sigmoid" && value === 0 && want < 2 ** -126;
        if (!Object.is(value, want) && !close && !flushed) {
          throw new Error(`${JSON.stringify(expr)} of ${pair} is ${value}, not ${want}`);
        }
      }
    }
  });
});
