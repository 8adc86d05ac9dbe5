// Constant folding: what an expression computes from constants alone is computed once, in float64, before compilation.
import { evaluate } from "./evaluate.ts";
import type { Expr } from "./expr.ts";

const isConst = (expr: Expr, value?: number): boolean =>
  expr.op === "const" && (value === undefined || expr.value === value);

const NOTHING = { counter: 0 };
const noOperand = (index: number): number => {
  throw new Error(`operand ${index} is no constant`);
};
const constantOf = (expr: Expr): Expr => ({ op: "const", value: evaluate(expr, noOperand, NOTHING) });

/** Ops with a constant that gives back the other side. */
const withoutIdentity = (expr: Expr): Expr => {
  if (expr.op === "add" && isConst(expr.x, 0)) return expr.y;
  if ((expr.op === "add" || expr.op === "sub") && isConst(expr.y, 0)) return expr.x;
  if (expr.op === "mul" && isConst(expr.x, 1)) return expr.y;
  if ((expr.op === "mul" || expr.op === "div") && isConst(expr.y, 1)) return expr.x;
  if (expr.op === "neg" && expr.x.op === "neg") return expr.x.x;
  if (expr.op === "select" && expr.test.op === "const") return expr.test.value !== 0 ? expr.x : expr.y;
  return expr;
};

/** The expression with its constant parts computed; equal in value up to the sign of zero. */
export function fold(expr: Expr): Expr {
  switch (expr.op) {
    case "input":
    case "const":
    case "index":
      return expr;
    case "uniform":
      return { ...expr, seed: fold(expr.seed) };
    case "select":
      return withoutIdentity({ op: "select", test: fold(expr.test), x: fold(expr.x), y: fold(expr.y) });
    case "rowMean":
      return { op: "rowMean", x: fold(expr.x) };
  }
  const x = fold(expr.x);
  if (!("y" in expr)) {
    const folded: Expr = { op: expr.op, x };
    return isConst(x) ? constantOf(folded) : withoutIdentity(folded);
  }
  const y = fold(expr.y);
  const folded: Expr = { op: expr.op, x, y };
  return isConst(x) && isConst(y) ? constantOf(folded) : withoutIdentity(folded);
}
