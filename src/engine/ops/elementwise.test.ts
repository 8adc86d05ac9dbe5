// How map, reduce and update reach the kernel compiler, against the reference; the compiler's own suite has the breadth.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { add, exp, input, max, mul, neg, sigmoid, sub } from "../../kernels/expr.ts";
import { roundTo } from "../../kernels/half.ts";
import { runOp, tensor } from "../testing.ts";
import { expectReference, extentOrZero, tensors } from "./against-reference.ts";

const square = mul(input(0), input(0));

/** A shape of rank 0 to 3 and a second one that broadcasts to it. */
const shapePair = fc
  .array(extentOrZero, { maxLength: 3 })
  .filter((shape) => shape.reduce((a, b) => a * b, 1) <= 5000)
  .chain((shape) =>
    fc.tuple(
      fc.constant(shape),
      fc
        .tuple(fc.nat(shape.length), fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }))
        .map(([drop, ones]) => shape.map((extent, axis) => (ones[axis] ? 1 : extent)).slice(drop)),
    ),
  );

describe("elementwise instructions", () => {
  test("map with broadcast inputs and two outputs", () => {
    const cases = shapePair.chain((shapes) => tensors(...shapes));
    const exprs = [add(mul(input(0), 2), input(1)), sigmoid(sub(input(1), input(0)))];
    fc.assert(
      fc.property(cases, (inputs) => void expectReference({ kind: "map", inputs, attrs: { exprs } }, 2e-6)),
      { numRuns: 60 },
    );
  });

  test("reduce over any axes, of an expression of several inputs", () => {
    const cases = shapePair.chain(([shape, other]) =>
      fc.tuple(
        tensors(shape, other),
        fc.subarray(shape.map((_, axis) => axis)),
        fc.boolean(),
        fc.constantFrom("sum", "max"),
      ),
    );
    const exprs = [exp(neg(max(square, input(1)))), square];
    fc.assert(
      fc.property(cases, ([inputs, axes, keepDims, op]) => {
        expectReference({ kind: "reduce", inputs, attrs: { op, axes, keepDims, exprs } }, 2e-5);
        expectReference({ kind: "reduce", inputs: inputs.slice(0, 1), attrs: { op, axes, keepDims } }, 2e-5);
      }),
      { numRuns: 60 },
    );
  });

  test("update writes over its targets, from old values only", () => {
    const cases = fc.array(extentOrZero, { maxLength: 2 }).chain((shape) => tensors(shape, shape, shape, []));
    const state = add(input(2), square);
    const attrs = { exprs: [state, sub(input(0), mul(input(3), mul(input(1), state)))], targets: [2, 0] };
    fc.assert(
      fc.property(cases, (inputs) => void expectReference({ kind: "update", inputs, attrs }, 1e-5)),
      { numRuns: 30 },
    );
  });

  test("a cast and its arithmetic in half precision", () => {
    const numbers = [0.1, -3, 1000.3, 1e-6, 0, 65520, -7.7].map(Math.fround);
    for (const dtype of ["bf16", "f16"] as const) {
      const { outputs } = runOp({
        kind: "map",
        inputs: [tensor([7], numbers), tensor([7], numbers, dtype), tensor([], [3], "u8")],
        outputs: [
          { shape: [7], dtype },
          { shape: [7], dtype: "f32" },
        ],
        attrs: { exprs: [input(0), mul(input(1), input(2))] },
      });
      const rounded = numbers.map((x) => roundTo(dtype, x));
      expect(outputs).toEqual([rounded, rounded.map((x) => Math.fround(3 * x))]);
    }
  });

  test("integers become numbers, 64-bit ids are refused", () => {
    const attrs = { exprs: [mul(input(0), 2)] };
    expectReference({ kind: "map", inputs: [tensor([3], [-5, 0, 7], "i32")], attrs }, 0);
    const ids = tensor([3], [1, 2, 3], "u64");
    expect(() => runOp({ kind: "map", inputs: [ids], outputs: [tensor([3], [])], attrs })).toThrow(
      "map cannot compute with u64 inputs",
    );
  });
});
