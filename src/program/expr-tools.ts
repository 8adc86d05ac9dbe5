// Walking, comparing and simplifying elementwise expressions. Rewrites keep the value for all finite operands.
import { constant, type Expr } from "../kernels/expr.ts";

/** Children of a node, in evaluation order. */
export function childrenOf(expr: Expr): readonly Expr[] {
  switch (expr.op) {
    case "input":
    case "const":
    case "index":
      return [];
    case "uniform":
      return [expr.seed];
    case "select":
      return [expr.test, expr.x, expr.y];
    default:
      return "y" in expr ? [expr.x, expr.y] : [expr.x];
  }
}

/** Rewrites bottom-up: `visit` sees each node after its children were rewritten. What does not change is not copied. */
export function rewrite(expr: Expr, visit: (node: Expr) => Expr): Expr {
  switch (expr.op) {
    case "input":
    case "const":
    case "index":
      return visit(expr);
    case "uniform": {
      const seed = rewrite(expr.seed, visit);
      return visit(seed === expr.seed ? expr : { ...expr, seed });
    }
    case "select": {
      const test = rewrite(expr.test, visit);
      const x = rewrite(expr.x, visit);
      const y = rewrite(expr.y, visit);
      return visit(test === expr.test && x === expr.x && y === expr.y ? expr : { op: "select", test, x, y });
    }
  }
  const x = rewrite(expr.x, visit);
  if (!("y" in expr)) return visit(x === expr.x ? expr : { op: expr.op, x });
  const y = rewrite(expr.y, visit);
  return visit(x === expr.x && y === expr.y ? expr : { op: expr.op, x, y });
}

/** Replaces each `input(i)` by `replacement(i)`; where that is the same, the expression stays itself. */
export function mapInputs(expr: Expr, replacement: (index: number) => Expr): Expr {
  return rewrite(expr, (node) => {
    if (node.op !== "input") return node;
    const next = replacement(node.index);
    return next.op === "input" && next.index === node.index ? node : next;
  });
}

export function some(expr: Expr, test: (node: Expr) => boolean): boolean {
  if (test(expr)) return true;
  switch (expr.op) {
    case "input":
    case "const":
    case "index":
      return false;
    case "uniform":
      return some(expr.seed, test);
    case "select":
      return some(expr.test, test) || some(expr.x, test) || some(expr.y, test);
    default:
      return some(expr.x, test) || ("y" in expr && some(expr.y, test));
  }
}

export const keyOf = (expr: Expr): string => JSON.stringify(expr);

export const sameExpr = (a: Expr, b: Expr): boolean => a === b || keyOf(a) === keyOf(b);

/** The input indices that an expression reads, ascending. */
export function inputsOf(expr: Expr): readonly number[] {
  const found: number[] = [];
  some(expr, (node) => {
    if (node.op === "input" && !found.includes(node.index)) found.push(node.index);
    return false;
  });
  return found.sort((a, b) => a - b);
}

export const isConstant = (expr: Expr, value?: number): boolean =>
  expr.op === "const" && (value === undefined || expr.value === value);

/** What tells apart nodes of one op beside their children. */
function ownOf(node: Expr): number | undefined {
  switch (node.op) {
    case "input":
      return node.index;
    case "const":
      return node.value;
    case "uniform":
      return node.stream;
    case "index":
      return node.axis;
    default:
      return undefined;
  }
}

/** Nodes of the expressions; a repeated part counts once, as the compiler computes it once. */
export function countNodes(exprs: readonly Expr[]): number {
  const numbers = new Map<string, number>();
  const known = new Map<Expr, number>();
  const number = (node: Expr): number => {
    const old = known.get(node);
    if (old !== undefined) return old;
    const key = `${node.op} ${ownOf(node)} ${childrenOf(node).map(number).join()}`;
    const next = numbers.get(key) ?? numbers.size;
    numbers.set(key, next);
    known.set(node, next);
    return next;
  };
  for (const expr of exprs) number(expr);
  return numbers.size;
}

const expensive: ReadonlySet<Expr["op"]> = new Set([
  "exp",
  "log",
  "log1p",
  "tanh",
  "sigmoid",
  "erf",
  "normalCdf",
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
    case "index":
      return `index(${expr.axis})`;
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

/** Expressions in which nothing is left to simplify. */
const simple = new WeakSet<Expr>();

/** Constant folding and the identities of 0 and 1, bottom-up. */
export function simplify(expr: Expr): Expr {
  if (simple.has(expr)) return expr;
  const result = rewrite(expr, simplifyNode);
  simple.add(result);
  return result;
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
