// map, reduce, rows and update: the kernels that the expression compiler generates for a plan.
import {
  type Expr,
  type Kernel,
  type KernelInput,
  type ReduceKernel,
  type RowsKernel,
  reduceScratch,
  rowsScratch,
} from "../../kernels/index.ts";
import { type FloatType, writtenOf } from "../plan.ts";
import { check, checkArity, checkType, normalizeAxis, type OpSignature, sizeOf, type TensorType } from "../tensor.ts";
import { type BindOp, call } from "./op.ts";

/** The shape that the inputs span together by numpy's rules. */
function broadcast(op: OpSignature, shapes: readonly (readonly number[])[]): number[] {
  const result: number[] = new Array(Math.max(0, ...shapes.map((shape) => shape.length))).fill(1);
  for (const shape of shapes) {
    const lead = result.length - shape.length;
    for (const [axis, extent] of shape.entries()) {
      const known = result[lead + axis]!;
      check(
        op,
        extent === known || extent === 1 || known === 1,
        `the inputs do not broadcast along axis ${lead + axis}`,
      );
      if (known === 1) result[lead + axis] = extent;
    }
  }
  return result;
}

function kernelInput(op: OpSignature, input: TensorType): KernelInput {
  const { shape, dtype } = input;
  check(op, dtype !== "u64", `${op.kind} cannot compute with u64 inputs`);
  return dtype === "f32" ? { shape } : { shape, dtype };
}

function floatType(op: OpSignature, { dtype }: TensorType, output: number): FloatType {
  check(op, dtype === "f32" || dtype === "bf16" || dtype === "f16", `output ${output} must be f32, bf16 or f16`);
  return dtype;
}

const kernelSpecs = {
  map(op: OpSignature): Kernel {
    const exprs = op.attrs.exprs as readonly Expr[];
    checkArity(op, [0, Number.POSITIVE_INFINITY], exprs.length);
    const shape = op.outputs[0]!.shape;
    const dtypes = op.outputs.map((output, i) => floatType(op, output, i));
    for (const [i, output] of op.outputs.entries()) checkType(op, `output ${i}`, output, dtypes[i]!, shape);
    const spanned = broadcast(op, [shape, ...op.inputs.map((input) => input.shape)]);
    check(op, sizeOf(spanned) === sizeOf(shape), `the inputs span [${spanned}], more than the outputs`);
    return { type: "map", exprs, shape, inputs: op.inputs.map((input) => kernelInput(op, input)), dtypes };
  },

  reduce(op: OpSignature): ReduceKernel {
    const exprs = (op.attrs.exprs as readonly Expr[] | undefined) ?? [{ op: "input", index: 0 }];
    checkArity(op, [1, Number.POSITIVE_INFINITY], exprs.length);
    const shape = broadcast(
      op,
      op.inputs.map((input) => input.shape),
    );
    const reduction = op.attrs.op;
    check(op, reduction === "sum" || reduction === "max", `op must be sum or max, got ${JSON.stringify(reduction)}`);
    const axes = (op.attrs.axes as readonly number[]).map((axis) => normalizeAxis(op, axis, shape.length));
    const kept = shape.flatMap((extent, axis) => (!axes.includes(axis) ? [extent] : op.attrs.keepDims ? [1] : []));
    for (const [i, output] of op.outputs.entries()) checkType(op, `output ${i}`, output, "f32", kept);
    const inputs = op.inputs.map((input) => kernelInput(op, input));
    return { type: "reduce", op: reduction, exprs, shape, inputs, axes };
  },

  rows(op: OpSignature): RowsKernel {
    const { stages, exprs, rowExprs, shape } = op.attrs as unknown as Omit<RowsKernel, "inputs">;
    checkArity(op, [0, Number.POSITIVE_INFINITY], exprs.length + rowExprs.length);
    const dtypes = op.outputs.slice(0, exprs.length).map((output, i) => floatType(op, output, i));
    for (const [i, output] of op.outputs.entries()) {
      const dtype = dtypes[i] ?? "f32";
      checkType(op, `output ${i}`, output, dtype, i < exprs.length ? shape : shape.slice(0, -1));
    }
    const inputs = op.inputs.map((input) => kernelInput(op, input));
    return { type: "rows", stages, exprs, rowExprs, shape, inputs, dtypes };
  },

  update(op: OpSignature): Kernel {
    const exprs = op.attrs.exprs as readonly Expr[];
    const targets = op.attrs.targets as readonly number[];
    checkArity(op, [1, Number.POSITIVE_INFINITY], 0);
    check(op, targets.length === exprs.length, `${exprs.length} expressions for ${targets.length} targets`);
    const shape = op.inputs[targets[0]!]?.shape ?? [];
    for (const target of targets) {
      const input = op.inputs[target];
      check(op, input !== undefined, `target ${target} is no input`);
      checkType(op, `target ${target}`, input, "f32", shape);
    }
    return { type: "map", exprs, shape, inputs: op.inputs.map((input) => kernelInput(op, input)) };
  },
};

export type ElementwiseKind = keyof typeof kernelSpecs;

/** The generated kernel of a map, reduce, rows or update; undefined for other kinds. */
export function elementwiseKernel(op: OpSignature): Kernel | undefined {
  return Object.hasOwn(kernelSpecs, op.kind) ? kernelSpecs[op.kind as ElementwiseKind](op) : undefined;
}

/** Bytes of scratch memory for the totals of a reduction, or for what passes over a row keep. */
export const elementwiseScratch = (op: OpSignature): number =>
  op.kind === "rows" ? rowsScratch(kernelSpecs.rows(op)) : reduceScratch(kernelSpecs.reduce(op));

const bindElementwise: BindOp = ({ instruction, inputs, outputs, scratch, kernels }) => [
  call(kernels[0]!, ...inputs, ...writtenOf(instruction, inputs, outputs), ...(scratch === 0 ? [] : [scratch])),
];

export const elementwiseOps: Readonly<Record<ElementwiseKind, BindOp>> = {
  map: bindElementwise,
  reduce: bindElementwise,
  rows: bindElementwise,
  update: bindElementwise,
};
