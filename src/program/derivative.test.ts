// Derivatives of random expressions against central differences; simplification keeps values.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { evaluate } from "../kernels/evaluate.ts";
import * as e from "../kernels/expr.ts";
import { derivative, reuseOutput } from "./derivative.ts";
import { countNodes, formatExpr, mapInputs, simplify } from "./expr-tools.ts";

/** Expressions of inputs 0 and 1 that are smooth and stay in range for operands in [0.2, 1]. */
const smooth = fc.letrec<{ expr: e.Expr }>((tie) => ({
  expr: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constantFrom(e.input(0), e.input(1), e.constant(0), e.constant(1), e.constant(2), e.constant(-1)),
    tie("expr").map((x) => e.tanh(x)),
    tie("expr").map((x) => e.sigmoid(x)),
    tie("expr").map((x) => e.erf(x)),
    tie("expr").map((x) => e.neg(x)),
    tie("expr").map((x) => e.exp(e.tanh(x))),
    tie("expr").map((x) => e.log(e.add(2, e.tanh(x)))),
    tie("expr").map((x) => e.log1p(e.mul(x, x))),
    tie("expr").map((x) => e.sqrt(e.add(2, e.tanh(x)))),
    tie("expr").map((x) => e.pow(e.add(2, e.tanh(x)), 2)),
    fc.tuple(tie("expr"), tie("expr")).map(([x, y]) => e.add(x, y)),
    fc.tuple(tie("expr"), tie("expr")).map(([x, y]) => e.sub(x, y)),
    fc.tuple(tie("expr"), tie("expr")).map(([x, y]) => e.mul(e.tanh(x), y)),
    fc.tuple(tie("expr"), tie("expr")).map(([x, y]) => e.div(x, e.add(2, e.tanh(y)))),
    fc.tuple(tie("expr"), tie("expr")).map(([x, y]) => e.pow(e.add(2, e.tanh(x)), e.tanh(y))),
    fc.tuple(tie("expr"), tie("expr")).map(([x, y]) => e.select(e.gt(e.input(0), 0.5), x, y)),
  ),
})).expr;

const at = (expr: e.Expr, values: readonly number[]): number => evaluate(expr, (i) => values[i]!, { counter: 0 });
const operand = fc.double({ min: 0.2, max: 1, noNaN: true }).filter((x) => Math.abs(x - 0.5) > 1e-3);

describe("derivative", () => {
  it("is that of central differences", () => {
    fc.assert(
      fc.property(smooth, operand, operand, fc.constantFrom(0, 1), (expr, x, y, index) => {
        const step = 1e-5;
        const shifted = (by: number): number => at(expr, [x, y].with(index, [x, y][index]! + by));
        const expected = (shifted(step) - shifted(-step)) / (2 * step);
        expect(at(derivative(expr, index), [x, y])).toBeCloseTo(expected, Math.abs(expected) > 100 ? 2 : 5);
      }),
      { numRuns: 500 },
    );
  });

  it("reads the output in place of work done before", () => {
    const reused = (expr: e.Expr): string =>
      formatExpr(reuseOutput(derivative(expr, 0), expr, 1), (i) => (i === 1 ? "y" : "x"));
    expect(reused(e.sigmoid(e.input(0)))).toBe("(y * (1 - y))");
    expect(reused(e.tanh(e.input(0)))).toBe("(1 - (y * y))");
    expect(reused(e.exp(e.input(0)))).toBe("y");
    expect(reused(e.max(e.input(0), 0))).toBe("select(gt(y, 0), 1, 0)");
  });
});

describe("simplify", () => {
  it("keeps values and never grows", () => {
    fc.assert(
      fc.property(smooth, operand, operand, (expr, x, y) => {
        const simple = simplify(expr);
        expect(at(simple, [x, y])).toBeCloseTo(at(expr, [x, y]), 9);
        expect(countNodes([simple])).toBeLessThanOrEqual(countNodes([expr]));
      }),
      { numRuns: 500 },
    );
  });

  const x = e.input(0);
  const cases: readonly (readonly [e.Expr, string])[] = [
    [e.mul(e.add(x, 0), 1), "x"],
    [e.mul(x, 0), "0"],
    [e.sub(0, x), "neg(x)"],
    [e.neg(e.neg(x)), "x"],
    [e.sub(x, e.neg(x)), "(x + x)"],
    [e.pow(x, 2), "(x * x)"],
    [e.pow(x, 0.5), "sqrt(x)"],
    [e.mul(e.select(e.gt(x, 0), 1, 0), x), "select(gt(x, 0), x, 0)"],
    [e.select(e.sub(1, 1), x, e.exp(x)), "exp(x)"],
    [e.select(x, 3, 3), "3"],
    [e.div(1, 0), "(1 / 0)"],
    [e.mul(2, e.mul(3, x)), "(6 * x)"],
    [e.min(x, x), "x"],
  ];
  for (const [expr, expected] of cases) {
    it(`gives ${expected}`, () => expect(formatExpr(simplify(expr), () => "x")).toBe(expected));
  }

  it("mapInputs replaces operands everywhere", () => {
    const expr = mapInputs(e.uniform(e.input(1), 3), () => e.input(5));
    expect(expr).toEqual(e.uniform(e.input(5), 3));
  });
});
