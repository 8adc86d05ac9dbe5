// concat, slice, pad and transpose against the reference, for every element size.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { runOp, tensor } from "../testing.ts";
import { expectReference, extentOrZero, tensors } from "./against-reference.ts";

const shapes = fc
  .array(fc.oneof(extentOrZero, fc.constant(1)), { minLength: 1, maxLength: 4 })
  .filter((shape) => shape.reduce((a, b) => a * b, 1) <= 4000);
const shapeAndAxis = shapes.chain((shape) =>
  fc.tuple(fc.constant(shape), fc.integer({ min: 0, max: shape.length - 1 })),
);

describe("moving tensors", () => {
  test("concat", () => {
    const cases = shapeAndAxis.chain(([shape, axis]) =>
      fc
        .array(extentOrZero, { minLength: 1, maxLength: 4 })
        .chain((lengths) => fc.tuple(tensors(...lengths.map((length) => shape.with(axis, length))), fc.constant(axis))),
    );
    fc.assert(
      fc.property(cases, ([inputs, axis]) => void expectReference({ kind: "concat", inputs, attrs: { axis } }, 0)),
      { numRuns: 60 },
    );
  });

  test("slice", () => {
    const cases = shapeAndAxis.chain(([shape, axis]) =>
      fc.tuple(
        tensors(shape),
        fc.constant(axis),
        fc.tuple(fc.nat(shape[axis]!), fc.nat(shape[axis]!)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const),
      ),
    );
    const check = ([inputs, axis, [start, end]]: [
      ReturnType<typeof tensor>[],
      number,
      readonly [number, number],
    ]): void => {
      expectReference({ kind: "slice", inputs, attrs: { axis, start, end } }, 0);
    };
    fc.assert(fc.property(cases, check), { numRuns: 60 });
  });

  test("pad", () => {
    const cases = shapeAndAxis.chain(([shape, axis]) =>
      fc.tuple(tensors(shape), fc.constant(axis), fc.nat(5), fc.nat(5)),
    );
    const check = ([inputs, axis, before, after]: [ReturnType<typeof tensor>[], number, number, number]): void => {
      expectReference({ kind: "pad", inputs, attrs: { axis, before, after } }, 0);
    };
    fc.assert(fc.property(cases, check), { numRuns: 60 });
  });

  test("transpose by any permutation of up to six axes", () => {
    const rank = fc.integer({ min: 0, max: 6 });
    const cases = rank.chain((n) =>
      fc.tuple(
        fc
          .array(fc.oneof(fc.integer({ min: 1, max: 5 }), fc.constantFrom(8, 9)), { minLength: n, maxLength: n })
          .filter((shape) => shape.reduce((a, b) => a * b, 1) <= 10_000)
          .chain((shape) => tensors(shape)),
        fc.shuffledSubarray(
          Array.from({ length: n }, (_, i) => i),
          { minLength: n },
        ),
      ),
    );
    fc.assert(
      fc.property(cases, ([inputs, perm]) => void expectReference({ kind: "transpose", inputs, attrs: { perm } }, 0)),
      { numRuns: 150 },
    );
  });

  test("64-bit ids keep all their bits", () => {
    const big = (i: number): number => 2 ** 60 + 2 ** 20 * i;
    const ids = tensor([2, 3], [0, 1, 2, 3, 4, 5].map(big), "u64");
    const moved = runOp({
      kind: "transpose",
      inputs: [ids],
      outputs: [{ shape: [3, 2], dtype: "u64" }],
      attrs: { perm: [1, 0] },
    });
    expect(moved.outputs[0]).toEqual([0, 3, 1, 4, 2, 5].map(big));
    const sliced = runOp({
      kind: "slice",
      inputs: [ids],
      outputs: [{ shape: [2, 2], dtype: "u64" }],
      attrs: { axis: 1, start: 1, end: 3 },
    });
    expect(sliced.outputs[0]).toEqual([1, 2, 4, 5].map(big));
  });

  test("large rows", () => {
    const rows = tensor(
      [3, 1001],
      Array.from({ length: 3003 }, (_, i) => i),
    );
    expectReference({ kind: "concat", inputs: [rows, rows], attrs: { axis: 1 } }, 0);
    expectReference({ kind: "pad", inputs: [rows], attrs: { axis: 1, before: 1, after: 700 } }, 0);
  });
});
