// Lets matrix products read and write transposed operands as they lie in memory, so that the transposes around them, those
// of attention's heads above all, need no copies.
import { inverse } from "../engine/geometry.ts";
import type { Op, OpOf, Program, ValueId } from "../program/ir.ts";
import { definitionsOf, reordering, usesOf } from "./edit.ts";

type Product = OpOf<"matmul"> | OpOf<"batch_matmul">;

export function absorbTransposes(program: Program): Program {
  const ops: (Op | undefined)[] = [...program.ops];
  const { readers, outputs } = usesOf(program.ops, program.outputs);
  const definitions = definitionsOf(program.ops);
  const canRunLater = reordering(program.ops);

  /** The transpose that gives a value and is still there, where the product at `to` may read what that one reads. */
  const transposeOf = (id: ValueId, to: number): OpOf<"transpose"> | undefined => {
    const from = definitions.get(id);
    const op = from === undefined ? undefined : ops[from];
    return op?.kind === "transpose" && canRunLater(op, from!, to) ? op : undefined;
  };
  for (const [at, op] of program.ops.entries()) {
    if (op.kind !== "matmul" && op.kind !== "batch_matmul") continue;
    let product: Product = op;
    for (const side of [0, 1] as const) {
      for (;;) {
        const transpose = transposeOf(product.inputs[side]!, at);
        const next: Product | undefined = transpose && readingFrom(product, side, transpose);
        if (next === undefined) break;
        product = next;
      }
    }
    for (;;) {
      const [result] = product.outputs as [ValueId];
      const [reader, ...others] = outputs.has(result) ? [] : (readers.get(result) ?? []);
      const after = reader === undefined || others.length > 0 ? undefined : program.ops[reader]!;
      const next: Product | undefined = after?.kind === "transpose" ? writingTo(product, after) : undefined;
      if (next === undefined) break;
      ops[reader!] = undefined;
      product = next;
    }
    ops[at] = product;
  }
  return { ...program, ops: ops.filter((op) => op !== undefined) };
}

/** The product with what a transpose reads as an operand in place of what it gives. */
function readingFrom(product: Product, side: 0 | 1, transpose: OpOf<"transpose">): Product | undefined {
  const inputs = product.inputs.with(side, transpose.inputs[0]!);
  const { perm } = transpose.attrs;
  if (product.kind === "matmul") {
    const { transposeA, transposeB } = product.attrs;
    if (perm[0] !== 1) return { ...product, inputs };
    const flipped = side === 0 ? { transposeA: !transposeA } : { transposeB: !transposeB };
    return { ...product, inputs, attrs: { ...product.attrs, ...flipped } };
  }
  const name = side === 0 ? "permA" : "permB";
  const logical = (product.attrs[name] ?? identity(perm)).map((axis) => perm[axis]!);
  return liesInRows(logical) ? { ...product, inputs, attrs: { ...product.attrs, [name]: logical } } : undefined;
}

/** The product that gives at once what a transpose makes of its result. */
function writingTo(product: Product, { attrs: { perm }, outputs }: OpOf<"transpose">): Product | undefined {
  if (product.kind === "matmul") return undefined;
  const back = inverse(perm);
  const permC = (product.attrs.permC ?? identity(perm)).map((axis) => back[axis]!);
  return liesInRows(permC) ? { ...product, outputs, attrs: { ...product.attrs, permC } } : undefined;
}

const identity = (perm: readonly number[]): number[] => perm.map((_, axis) => axis);

/** Providers want rows or columns whose elements lie side by side: of the stored axes the last one. */
const liesInRows = (perm: readonly number[]): boolean => perm.indexOf(perm.length - 1) >= perm.length - 2;
