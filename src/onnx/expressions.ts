// Elementwise expressions as ONNX nodes.
import type { BinaryOp, Expr, UnaryOp } from "../kernels/expr.ts";
import { keyOf } from "../program/expr-tools.ts";
import type { Shape } from "../program/ir.ts";
import type { GraphBuilder } from "./graph-builder.ts";
import { ElementType } from "./proto.ts";

const unary: Partial<Readonly<Record<UnaryOp, string>>> = {
  ...{ neg: "Neg", abs: "Abs", sqrt: "Sqrt", exp: "Exp", log: "Log", tanh: "Tanh", sigmoid: "Sigmoid" },
  ...{ floor: "Floor", round: "Round", sign: "Sign", erf: "Erf" },
};

const binary: Partial<Readonly<Record<BinaryOp, string>>> = {
  ...{ add: "Add", sub: "Sub", mul: "Mul", div: "Div", min: "Min", max: "Max", pow: "Pow" },
};

const comparison: Partial<Readonly<Record<BinaryOp, string>>> = {
  ...{ gt: "Greater", ge: "GreaterOrEqual", lt: "Less", le: "LessOrEqual", eq: "Equal" },
};

/**
 * Writes expressions over f32 operands that broadcast to `shape`, given by the names of their values; equal parts become
 * one node.
 * @throws Error for random numbers, which belong to training
 */
export class ExpressionWriter {
  readonly #graph: GraphBuilder;
  readonly #operands: readonly string[];
  readonly #shape: Shape;
  readonly #done = new Map<string, string>();

  constructor(graph: GraphBuilder, operands: readonly string[], shape: Shape) {
    this.#graph = graph;
    this.#operands = operands;
    this.#shape = shape;
  }

  /** The name of the f32 value. */
  write(expr: Expr): string {
    const key = keyOf(expr);
    const known = this.#done.get(key);
    if (known !== undefined) return known;
    const name = this.#write(expr);
    this.#done.set(key, name);
    return name;
  }

  #write(expr: Expr): string {
    const graph = this.#graph;
    switch (expr.op) {
      case "input":
        return this.#operands[expr.index]!;
      case "const":
        return graph.number(expr.value);
      case "index":
        return graph.indices(this.#shape.at(expr.axis)!, -1 - expr.axis);
      case "select":
        return graph.node("Where", [this.#test(expr.test), this.write(expr.x), this.write(expr.y)]);
      case "normalCdf": {
        const scaled = graph.node("Mul", [this.write(expr.x), graph.number(Math.SQRT1_2)]);
        const sum = graph.node("Add", [graph.node("Erf", [scaled]), graph.number(1)]);
        return graph.node("Mul", [sum, graph.number(0.5)]);
      }
      case "log1p":
        return graph.node("Log", [graph.node("Add", [this.write(expr.x), graph.number(1)])]);
    }
    if ("y" in expr) {
      if (comparison[expr.op] !== undefined) return graph.node("Cast", [this.#test(expr)], { to: ElementType.float });
      return graph.node(nameOf(binary, expr.op), [this.write(expr.x), this.write(expr.y)]);
    }
    if (!("x" in expr)) throw new Error(`ONNX export: ${expr.op} has no counterpart; export the program of inference`);
    return graph.node(nameOf(unary, expr.op as UnaryOp), [this.write(expr.x)]);
  }

  /** The name of a bool value. */
  #test(test: Expr): string {
    const type = "y" in test && test.op !== "select" ? comparison[test.op] : undefined;
    if (type !== undefined && "y" in test && test.op !== "select") {
      return this.#graph.node(type, [this.write(test.x), this.write(test.y)]);
    }
    return this.#graph.node("Cast", [this.write(test)], { to: ElementType.bool });
  }
}

function nameOf<K extends string>(names: Partial<Readonly<Record<K, string>>>, op: K): string {
  const name = names[op];
  if (name === undefined) throw new Error(`ONNX export: ${op} has no counterpart; export the program of inference`);
  return name;
}
