// The derivative of an elementwise expression, as an expression: the gradient of a map is a map too.
import {
  add,
  constant,
  div,
  type Expr,
  eq,
  exp,
  ge,
  gt,
  input,
  log,
  mul,
  neg,
  pow,
  select,
  sigmoid,
  sign,
  sqrt,
  sub,
  tanh,
} from "../kernels/expr.ts";
import { isConstant, keyOf, rewrite, simplify } from "./expr-tools.ts";

const zero = constant(0);

/**
 * The derivative of `expr` by input `index`. Steps (floor, round, sign, comparisons, random draws) have derivative 0.
 * At a kink the derivative is one-sided: 0 for `max(x, 0)` at 0, that of the first operand where two operands tie, 0 for `abs` at 0.
 */
export function derivative(expr: Expr, index: number): Expr {
  const memo = new Map<Expr, Expr>();
  const d = (node: Expr): Expr => {
    const known = memo.get(node);
    if (known !== undefined) return known;
    const result = simplify(rule(node, index, d));
    memo.set(node, result);
    return result;
  };
  return d(expr);
}

function rule(node: Expr, index: number, d: (node: Expr) => Expr): Expr {
  switch (node.op) {
    case "input":
      return node.index === index ? constant(1) : zero;
    case "const":
    case "uniform":
    case "index":
    case "floor":
    case "round":
    case "sign":
    case "gt":
    case "ge":
    case "lt":
    case "le":
    case "eq":
      return zero;
    case "bf16":
    case "f16":
      // Rounding is a step, but stands for the number that it rounds.
      return d(node.x);
    case "neg":
      return neg(d(node.x));
    case "abs":
      return mul(d(node.x), sign(node.x));
    case "sqrt":
      return mul(d(node.x), div(0.5, sqrt(node.x)));
    case "exp":
      return mul(d(node.x), exp(node.x));
    case "log":
      return div(d(node.x), node.x);
    case "log1p":
      return div(d(node.x), add(1, node.x));
    case "tanh":
      return mul(d(node.x), sub(1, mul(tanh(node.x), tanh(node.x))));
    case "erf":
      return mul(d(node.x), mul(2 / Math.sqrt(Math.PI), exp(neg(mul(node.x, node.x)))));
    case "normalCdf":
      return mul(d(node.x), mul(exp(mul(mul(node.x, node.x), -0.5)), 1 / Math.sqrt(2 * Math.PI)));
    case "sigmoid":
      return mul(d(node.x), mul(sigmoid(node.x), sub(1, sigmoid(node.x))));
    case "add":
      return add(d(node.x), d(node.y));
    case "sub":
      return sub(d(node.x), d(node.y));
    case "mul":
      return add(mul(d(node.x), node.y), mul(node.x, d(node.y)));
    case "div":
      return sub(div(d(node.x), node.y), mul(d(node.y), div(node, node.y)));
    case "min":
      return select(isConstant(node.y) ? gt(node.y, node.x) : ge(node.y, node.x), d(node.x), d(node.y));
    case "max":
      return select(isConstant(node.y) ? gt(node.x, node.y) : ge(node.x, node.y), d(node.x), d(node.y));
    case "pow":
      return powerRule(node.x, node.y, d);
    case "select":
      return select(node.test, d(node.x), d(node.y));
    case "rowMean":
      throw new Error("rowMean belongs to update rules of sparse rows and has no derivative");
    default:
      return node satisfies never;
  }
}

function powerRule(x: Expr, y: Expr, d: (node: Expr) => Expr): Expr {
  const byBase = mul(d(x), mul(y, pow(x, simplify(sub(y, 1)))));
  const dy = d(y);
  if (isConstant(dy, 0)) return byBase;
  // x^y at x = 0 does not depend on y > 0, though log(0) would say NaN.
  return add(byBase, mul(dy, select(eq(x, 0), 0, mul(pow(x, y), log(x)))));
}

/**
 * Rewrites `expr` (a gradient over the inputs of a map) to read the map's own output `output` where that saves work:
 * exp, sigmoid, tanh, sqrt of the forward pass are not computed again, and relu's mask reads the output, so that the
 * value before the activation need not be kept.
 */
export function reuseOutput(expr: Expr, forward: Expr, output: number): Expr {
  const key = keyOf(forward);
  const trivial = forward.op === "input" || forward.op === "const";
  const isRelu = forward.op === "max" && isConstant(forward.y, 0);
  const mask = isRelu ? keyOf(gt(forward.x, 0)) : "";
  return rewrite(expr, (node) => {
    if (isRelu && node.op === "gt" && keyOf(node) === mask) return gt(input(output), 0);
    return !trivial && keyOf(node) === key ? input(output) : node;
  });
}
