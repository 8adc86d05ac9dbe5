// The expression language of elementwise arithmetic: the one definition of an op that the WASM compiler, the float64
// reference and (later) other backends all read. Expressions are plain data: they travel between threads and compare as JSON.

/** Unary arithmetic over f32 lanes. */
export type UnaryOp =
  | "neg"
  | "abs"
  | "sqrt"
  | "exp"
  | "log"
  | "log1p"
  | "tanh"
  | "sigmoid"
  /** 2/√π ∫₀ˣ e^(-t²) dt. */
  | "erf"
  /** The normal distribution's Φ(x) = (1 + erf(x/√2)) / 2. */
  | "normalCdf"
  | "floor"
  | "round"
  | "sign"
  /** The nearest number of that type, ties to even. */
  | "bf16"
  | "f16";

/** Binary arithmetic over f32 lanes. Comparisons give 1 or 0. */
export type BinaryOp = "add" | "sub" | "mul" | "div" | "min" | "max" | "pow" | "gt" | "ge" | "lt" | "le" | "eq";

export type Expr =
  /** The lane's element of operand `index`. */
  | { readonly op: "input"; readonly index: number }
  | { readonly op: "const"; readonly value: number }
  /**
   * A uniform number in [0, 1) from a counter: the same (seed, counter) gives the same number on any thread.
   * `seed` is a rank-0 operand read as u32 bits; the counter is the lane's flat index in the loop.
   */
  | { readonly op: "uniform"; readonly seed: Expr; readonly stream: number }
  /** The lane's index along an axis of the loop's shape, counted from the end: -1 is the last axis. */
  | { readonly op: "index"; readonly axis: number }
  | { readonly op: UnaryOp; readonly x: Expr }
  | { readonly op: BinaryOp; readonly x: Expr; readonly y: Expr }
  /** `x` where `test` is not 0, else `y`. */
  | { readonly op: "select"; readonly test: Expr; readonly x: Expr; readonly y: Expr }
  /** The mean of `x` over the row; only in update rules of sparse rows. */
  | { readonly op: "rowMean"; readonly x: Expr };

type Operand = Expr | number;
const wrap = (x: Operand): Expr => (typeof x === "number" ? { op: "const", value: x } : x);
const unary =
  (op: UnaryOp) =>
  (x: Operand): Expr => ({ op, x: wrap(x) });
const binary =
  (op: BinaryOp) =>
  (x: Operand, y: Operand): Expr => ({ op, x: wrap(x), y: wrap(y) });

export const input = (index: number): Expr => ({ op: "input", index });
export const constant = (value: number): Expr => ({ op: "const", value });
export const uniform = (seed: Expr, stream: number): Expr => ({ op: "uniform", seed, stream });
export const index = (axis = -1): Expr => ({ op: "index", axis });
export const rowMean = (x: Operand): Expr => ({ op: "rowMean", x: wrap(x) });
export const select = (test: Operand, x: Operand, y: Operand): Expr => ({
  op: "select",
  test: wrap(test),
  x: wrap(x),
  y: wrap(y),
});

export const neg = unary("neg");
export const abs = unary("abs");
export const sqrt = unary("sqrt");
export const exp = unary("exp");
export const log = unary("log");
export const log1p = unary("log1p");
export const tanh = unary("tanh");
export const sigmoid = unary("sigmoid");
export const erf = unary("erf");
export const normalCdf = unary("normalCdf");
export const floor = unary("floor");
export const round = unary("round");
export const sign = unary("sign");
export const bf16 = unary("bf16");
export const f16 = unary("f16");

export const add = binary("add");
export const sub = binary("sub");
export const mul = binary("mul");
export const div = binary("div");
export const min = binary("min");
export const max = binary("max");
export const pow = binary("pow");
export const gt = binary("gt");
export const ge = binary("ge");
export const lt = binary("lt");
export const le = binary("le");
export const eq = binary("eq");
