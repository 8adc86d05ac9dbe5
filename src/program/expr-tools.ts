// Walking, comparing and simplifying elementwise expressions. Rewrites keep the value for all finite operands.
import { constant, type Expr } from "../kernels/expr.ts";

/** Children of a node, in evaluation order. */
export function childrenOf(expr: Expr): readonly Expr[] {
  switch (expr.op) {
    case "input":
    case "const":
      return [];
    case "uniform":
      return [expr.seed];
    case "select":
      return [expr.test, expr.x, expr.y];
    default:
      return "y" in expr ? [expr.x, expr.y] : [expr.x];
  }
}

/** The same node over other children. */
function withChildren(expr: Expr, children: readonly Expr[]): Expr {
  const [a, b, c] = children;
  switch (expr.op) {
    case "input":
    case "const":
      return expr;
    case "uniform":
      return { ...expr, seed: a! };
    case "select":
      return { ...expr, test: a!, x: b!, y: c! };
    default:
      return "y" in expr ? { ...expr, x: a!, y: b! } : { ...expr, x: a! };
  }
}

/** Rewrites bottom-up: `visit` sees each node after its children were rewritten. */
export function rewrite(expr: Expr, visit: (node: Expr) => Expr): Expr {
  const children = childrenOf(expr);
  const next = children.map((child) => rewrite(child, visit));
  const changed = next.some((child, i) => child !== children[i]);
  return visit(changed ? withChildren(expr, next) : expr);
}

/** Replaces each `input(i)` by `replacement(i)`. */
export function mapInputs(expr: Expr, replacement: (index: number) => Expr): Expr {
  return rewrite(expr, (node) => (node.op === "input" ? replacement(node.index) : node));
}

export function some(expr: Expr, test: (node: Expr) => boolean): boolean {
  return test(expr) || childrenOf(expr).some((child) => some(child, test));
}

export const keyOf = (expr: Expr): string => JSON.stringify(expr);

export const sameExpr = (a: Expr, b: Expr): boolean => a === b || keyOf(a) === keyOf(b);

/** The input indices that an expression reads, ascending. */
export function inputsOf(expr: Expr): readonly number[] {
  const found = new Set<number>();
  some(expr, (node) => {
    if (node.op === "input") found.add(node.index);
    return false;
  });
  return [...found].sort((a, b) => a - b);
}

export const isConstant = (expr: Expr, value?: number): boolean =>
  expr.op === "const" && (value === undefined || expr.value === value);

/** Nodes of the expression; a repeated part counts once, as the compiler computes it once. */
export function countNodes(exprs: readonly Expr[]): number {
  const seen = new Set<string>();
  const visit = (node: Expr): void => {
    const key = keyOf(node);
    if (seen.has(key)) return;
    seen.add(key);
    for (const child of childrenOf(node)) visit(child);
  };
  for (const expr of exprs) visit(expr);
  return seen.size;
}

const expensive: ReadonlySet<Expr["op"]> = new Set([
  "exp",
  "log",
  "log1p",
  "tanh",
  "sigmoid",
  "pow",
  "div",
  "sqrt",
  "uniform",
]);

/** Whether computing it twice would cost more than keeping the result in memory. */
export const isExpensive = (expr: Expr): boolean => some(expr, (node) => expensive.has(node.op));

/** Whether it draws random numbers, whose counter is the flat index in the loop that evaluates them. */
export const isRandom = (expr: Expr): boolean => some(expr, (node) => node.op === "uniform");

/** A readable form: "max(a * 2, 0)". `name` gives the operands their names. */
export function formatExpr(expr: Expr, name: (index: number) => string): string {
  const show = (node: Expr): string => formatExpr(node, name);
  switch (expr.op) {
    case "input":
      return name(expr.index);
    case "const":
      return String(expr.value);
    case "uniform":
      return `uniform(${show(expr.seed)}, ${expr.stream})`;
    case "add":
      return `(${show(expr.x)} + ${show(expr.y)})`;
    case "sub":
      return `(${show(expr.x)} - ${show(expr.y)})`;
    case "mul":
      return `(${show(expr.x)} * ${show(expr.y)})`;
    case "div":
      return `(${show(expr.x)} / ${show(expr.y)})`;
    default:
      return `${expr.op}(${childrenOf(expr).map(show).join(", ")})`;
  }
}

/** Constant folding and the identities of 0 and 1, bottom-up. */
export function simplify(expr: Expr): Expr {
  return rewrite(expr, simplifyNode);
}

function simplifyNode(node: Expr): Expr {
  switch (node.op) {
    case "neg":
      if (node.x.op === "const") return constant(0 - node.x.value);
      if (node.x.op === "neg") return node.x.x;
      return node;
    case "abs":
      return node.x.op === "const" ? constant(Math.abs(node.x.value)) : node;
    case "sign":
      return node.x.op === "const" ? constant(Math.sign(node.x.value)) : node;
    case "sqrt":
      return node.x.op === "const" && node.x.value >= 0 ? constant(Math.sqrt(node.x.value)) : node;
    case "select":
      if (node.test.op === "const") return node.test.value !== 0 ? node.x : node.y;
      return sameExpr(node.x, node.y) ? node.x : node;
    case "add":
    case "sub":
    case "mul":
    case "div":
    case "min":
    case "max":
    case "pow":
      return simplifyArithmetic(node.op, node.x, node.y, node);
    default:
      return node;
  }
}

type Arithmetic = "add" | "sub" | "mul" | "div" | "min" | "max" | "pow";

const compute: Readonly<Record<Arithmetic, (x: number, y: number) => number>> = {
  add: (x, y) => x + y,
  sub: (x, y) => x - y,
  mul: (x, y) => x * y,
  div: (x, y) => x / y,
  min: Math.min,
  max: Math.max,
  pow: (x, y) => x ** y,
};

function simplifyArithmetic(op: Arithmetic, x: Expr, y: Expr, node: Expr): Expr {
  if (x.op === "const" && y.op === "const") {
    const value = compute[op](x.value, y.value);
    return Number.isFinite(value) ? constant(value) : node;
  }
  switch (op) {
    case "add":
      if (isConstant(x, 0)) return y;
      if (isConstant(y, 0)) return x;
      if (y.op === "neg") return { op: "sub", x, y: y.x };
      return node;
    case "sub":
      if (isConstant(y, 0)) return x;
      if (isConstant(x, 0)) return simplifyNode({ op: "neg", x: y });
      if (y.op === "neg") return { op: "add", x, y: y.x };
      return node;
    case "mul":
      return simplifyProduct(x, y, node);
    case "div":
      if (isConstant(y, 1)) return x;
      if (isConstant(x, 0)) return x;
      return node;
    case "pow":
      return simplifyPower(x, y, node);
    case "min":
    case "max":
      return sameExpr(x, y) ? x : node;
  }
}

function simplifyProduct(x: Expr, y: Expr, node: Expr): Expr {
  if (isConstant(x, 0) || isConstant(y, 1)) return x;
  if (isConstant(y, 0) || isConstant(x, 1)) return y;
  if (isConstant(x, -1)) return simplifyNode({ op: "neg", x: y });
  if (isConstant(y, -1)) return simplifyNode({ op: "neg", x });
  // A mask times a value is a choice: one blend in place of a blend and a product.
  if (x.op === "select" && isConstant(x.x, 1) && isConstant(x.y, 0)) return { ...x, x: y };
  if (y.op === "select" && isConstant(y.x, 1) && isConstant(y.y, 0)) return { ...y, x };
  if (x.op === "const" && y.op === "mul" && y.x.op === "const") {
    return { op: "mul", x: constant(x.value * y.x.value), y: y.y };
  }
  return node;
}

function simplifyPower(x: Expr, y: Expr, node: Expr): Expr {
  if (isConstant(y, 0)) return constant(1);
  if (isConstant(y, 1)) return x;
  if (isConstant(y, 2)) return { op: "mul", x, y: x };
  if (isConstant(y, 0.5)) return { op: "sqrt", x };
  return node;
}
