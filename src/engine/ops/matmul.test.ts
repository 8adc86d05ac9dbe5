// How matmul is handed to its provider, against the reference; the providers' own arithmetic has its own suite.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { runOp, tensor } from "../testing.ts";
import { expectReference, extentOrZero, floats, tensors } from "./against-reference.ts";

describe("matmul", () => {
  test("all transpositions, biases and activations", () => {
    const cases = fc
      .tuple(extentOrZero, extentOrZero, extentOrZero, fc.boolean(), fc.boolean())
      .chain(([m, n, k, transposeA, transposeB]) =>
        fc.tuple(
          tensors(transposeA ? [k, m] : [m, k], transposeB ? [n, k] : [k, n]),
          fc.option(floats([n])),
          fc.constant({ transposeA, transposeB }),
          fc.constantFrom(undefined, "relu", "sigmoid", "tanh"),
        ),
      );
    fc.assert(
      fc.property(cases, ([inputs, bias, attrs, activation]) => {
        expectReference(
          {
            kind: "matmul",
            inputs: bias === null ? inputs : [...inputs, bias],
            attrs: activation === undefined ? attrs : { ...attrs, activation },
          },
          1e-4,
        );
      }),
      { numRuns: 40 },
    );
  });

  test("shapes that do not fit are refused, with both shapes", () => {
    const a = tensor([2, 3], [1, 2, 3, 4, 5, 6]);
    const attrs = { transposeA: false, transposeB: false };
    expect(() => runOp({ kind: "matmul", inputs: [a, a], outputs: [tensor([2, 3], [])], attrs })).toThrow(
      "the inner lengths 3 and 2 differ; in matmul(f32[2,3], f32[2,3]) → f32[2,3]",
    );
  });
});
