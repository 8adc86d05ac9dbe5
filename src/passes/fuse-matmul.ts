// Moves a bias and an activation into the matrix product before them, where they cost nothing: the tile is still in
// registers.
import type { Expr } from "../kernels/expr.ts";
import { isConstant } from "../program/expr-tools.ts";
import { type Activation, type Op, type OpOf, type Program, sameShape, type ValueId } from "../program/ir.ts";
import { definitionsOf, reordering, usesOf } from "./edit.ts";

/** What a map does to one operand, where a product can do it too. */
interface Epilogue {
  readonly bias?: number;
  readonly activation?: Activation;
}

export function fuseMatmul(program: Program): Program {
  const ops: (Op | undefined)[] = [...program.ops];
  const { readers, outputs } = usesOf(program.ops, program.outputs);
  const definitions = definitionsOf(program.ops);
  const canRunLater = reordering(program.ops);
  for (const [at, op] of program.ops.entries()) {
    if (op.kind !== "map" || op.attrs.exprs.length !== 1) continue;
    for (const [index, id] of op.inputs.entries()) {
      const from = definitions.get(id);
      const product = from === undefined ? undefined : ops[from];
      if (from === undefined || product?.kind !== "matmul" || outputs.has(id) || readers.get(id)!.length > 1) continue;
      const fused = fuse(program, product, op, index);
      if (fused === undefined || !canRunLater(program.ops[from]!, from, at)) continue;
      ops[from] = undefined;
      ops[at] = fused;
      // The product now stands here and gives the map's result: a map that follows may fuse with it in turn.
      definitions.set(op.outputs[0]!, at);
      break;
    }
  }
  return { ...program, ops: ops.filter((op) => op !== undefined) };
}

function fuse(program: Program, product: OpOf<"matmul">, map: OpOf<"map">, index: number): Op | undefined {
  const epilogue = epilogueOf(map.attrs.exprs[0]!, index);
  const typeOf = (id: ValueId): Program["values"][number] => program.values[id]!;
  const { shape } = typeOf(map.outputs[0]!);
  if (epilogue === undefined || product.attrs.activation !== undefined) return undefined;
  const result = typeOf(product.outputs[0]!);
  // A product in half precision rounds once then, after the epilogue.
  if (!sameShape(shape, result.shape) || result.dtype !== (map.attrs.dtypes?.[0] ?? "f32")) return undefined;
  const { bias, activation } = epilogue;
  if (bias !== undefined) {
    const type = typeOf(map.inputs[bias]!);
    if (product.inputs.length > 2 || type.dtype !== "f32" || !sameShape(type.shape, shape.slice(1))) return undefined;
  }
  return {
    ...product,
    inputs: bias === undefined ? product.inputs : [...product.inputs, map.inputs[bias]!],
    outputs: map.outputs,
    attrs: activation === undefined ? product.attrs : { ...product.attrs, activation },
  };
}

/** Matches activation(x + bias), activation(x) and x + bias, x being the operand `index`. */
function epilogueOf(expr: Expr, index: number): Epilogue | undefined {
  const isProduct = (node: Expr): boolean => node.op === "input" && node.index === index;
  const [activation, body] = activationOf(expr);
  const named = activation === undefined ? {} : { activation };
  if (isProduct(body)) return activation === undefined ? undefined : named;
  if (body.op !== "add") return undefined;
  const other = isProduct(body.x) ? body.y : isProduct(body.y) ? body.x : undefined;
  return other?.op === "input" && other.index !== index ? { bias: other.index, ...named } : undefined;
}

function activationOf(expr: Expr): [Activation | undefined, Expr] {
  if (expr.op === "sigmoid" || expr.op === "tanh") return [expr.op, expr.x];
  if (expr.op === "max" && isConstant(expr.y, 0)) return ["relu", expr.x];
  return [undefined, expr];
}
