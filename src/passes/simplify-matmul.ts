// Replaces matrix products by cheaper ones: an outer product is a map, which fuses with its neighbours; and of a product
// that is read only in part, only that part is computed.
import { input, mul } from "../kernels/expr.ts";
import { type Op, type OpOf, type Program, type Shape, sameShape, type Value, type ValueId } from "../program/ir.ts";
import { usesOf } from "./edit.ts";

/** A value of a shape, with the elements of another value. */
type Derive = (shape: Shape, like: ValueId) => ValueId;

export function simplifyMatmul(program: Program): Program {
  const values: Value[] = [...program.values];
  const { readers, outputs } = usesOf(program.ops, program.outputs);
  const replaced = new Set<Op>();
  const derive = (shape: Shape, like: ValueId): ValueId =>
    values.push({ id: values.length, shape, dtype: program.values[like]!.dtype, name: "" }) - 1;
  const ops = program.ops.flatMap((op): Op[] => {
    if (replaced.has(op)) return [];
    if (op.kind !== "matmul" || op.inputs.length > 2 || op.attrs.activation !== undefined) return [op];
    if (isOuter(program, op)) return outerProduct(program, op, derive);
    const [result] = op.outputs as [ValueId];
    const [at, ...others] = readers.get(result) ?? [];
    const reader = at === undefined || others.length > 0 || outputs.has(result) ? undefined : program.ops[at];
    const part = reader?.kind === "slice" ? partOf(program, op, reader, derive) : undefined;
    if (part === undefined) return [op];
    replaced.add(reader!);
    return part;
  });
  return { ...program, values, ops };
}

function isOuter(program: Program, op: OpOf<"matmul">): boolean {
  const { shape } = program.values[op.inputs[0]!]!;
  return shape[op.attrs.transposeA ? 0 : 1] === 1;
}

function outerProduct(program: Program, op: OpOf<"matmul">, derive: Derive): Op[] {
  const { scope } = op;
  const [m, n] = program.values[op.outputs[0]!]!.shape as [number, number];
  const reshapes: Op[] = [];
  const shaped = (id: ValueId, shape: Shape): ValueId => {
    if (sameShape(program.values[id]!.shape, shape)) return id;
    const view = derive(shape, id);
    reshapes.push({ kind: "reshape", inputs: [id], outputs: [view], attrs: { shape }, scope });
    return view;
  };
  const inputs = [shaped(op.inputs[0]!, [m, 1]), shaped(op.inputs[1]!, [1, n])];
  const exprs = [mul(input(0), input(1))];
  const { dtype } = op.attrs;
  const attrs = { exprs, ...(dtype === undefined || dtype === "f32" ? {} : { dtypes: [dtype] }) };
  return [...reshapes, { kind: "map", inputs, outputs: op.outputs, attrs, scope }];
}

/**
 * Rows of a product come from the same rows of its left operand, columns from its right one. Where those lie together in
 * memory, taking them is free; undefined where they do not.
 */
function partOf(program: Program, op: OpOf<"matmul">, slice: OpOf<"slice">, derive: Derive): Op[] | undefined {
  const { axis, start, end } = slice.attrs;
  const contiguous = axis === 0 ? !op.attrs.transposeA : op.attrs.transposeB;
  if (!contiguous) return undefined;
  const whole = op.inputs[axis]!;
  const part = derive(program.values[whole]!.shape.with(0, end - start), whole);
  return [
    { ...slice, inputs: [whole], outputs: [part], attrs: { axis: 0, start, end } },
    { ...op, inputs: op.inputs.with(axis, part), outputs: slice.outputs },
  ];
}
