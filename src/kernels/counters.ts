// The integers that expressions read beside their operands: the flat index of an element in the loop's shape, which numbers
// random draws, and its index along an axis. Each is a local that moves with the pointers, if any expression reads it.
import type { Expr } from "./expr.ts";
import type { OperandUse } from "./graph.ts";
import { broadcastStrides, type Loop } from "./loops.ts";
import { type FunctionBuilder, valueType } from "./wasm.ts";

/** A counter in the code: its local, and by how much it grows from lane to lane and from row to row of a group. */
export interface Counter {
  readonly local: number;
  readonly laneStep: number;
  readonly rowStep: number;
}

const visit = (expr: Expr, found: Set<number | "flat">): void => {
  if (expr.op === "uniform") found.add("flat");
  else if (expr.op === "index") found.add(expr.axis);
  else if (expr.op === "select") for (const part of [expr.test, expr.x, expr.y]) visit(part, found);
  else if (expr.op !== "input" && expr.op !== "const") {
    visit(expr.x, found);
    if ("y" in expr) visit(expr.y, found);
  }
};

export class Counters {
  /** How far each counter moves along each axis. */
  readonly strides: readonly (readonly number[])[];
  readonly #names: readonly (number | "flat")[];

  constructor(exprs: readonly Expr[], shape: readonly number[]) {
    const found = new Set<number | "flat">();
    for (const expr of exprs) visit(expr, found);
    this.#names = [...found];
    this.strides = this.#names.map((name) => {
      if (name === "flat") return broadcastStrides(shape, shape);
      return shape.map((_, axis) => (axis === shape.length + name ? 1 : 0));
    });
  }

  /** The number of the counter of an axis, or of the flat index. */
  numberOf(name: number | "flat"): number {
    return this.#names.indexOf(name);
  }

  /** The counters' locals, which start at 0. */
  declare(fn: FunctionBuilder): number[] {
    return this.#names.map(() => fn.local(valueType.i32));
  }
}

/** How the operands from number `first` on change with the lane and the loops. */
export const usesIn = (outer: readonly Loop[], inner: Loop, first: number, count: number): OperandUse[] =>
  Array.from({ length: count }, (_, i) => ({
    varies: inner.strides[first + i] !== 0,
    level: 1 + outer.findLastIndex(({ strides }) => strides[first + i] !== 0),
  }));
