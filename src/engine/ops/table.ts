// lookup, gather and gather_pool: from ids to rows of a sparse table to their weights.
import type { KernelFunction } from "../../kernels/index.ts";
import { instantiate } from "../../memory/index.ts";
import type { FieldLayout, TableLayout } from "../../table/index.ts";
import { check, checkArity, checkType, type OpSignature, sizeOf } from "../tensor.ts";
import { type BindOp, call } from "./op.ts";

type RowKernels = Record<"gather" | "gatherPool", KernelFunction>;

/** The entry of `tables` that an op names. */
export function ofTable<T>(op: OpSignature, tables: Readonly<Record<string, T>>, what = "table"): T {
  const name = op.attrs.table as string;
  const known = Object.keys(tables).join(", ") || "none";
  check(op, Object.hasOwn(tables, name), `no ${what} "${name}" was given (there are: ${known})`);
  return tables[name]!;
}

export function fieldOf(op: OpSignature, layout: TableLayout, field: string): FieldLayout {
  const known = Object.keys(layout.fields).join(", ");
  check(
    op,
    Object.hasOwn(layout.fields, field),
    `table "${op.attrs.table}" has no field "${field}" (there are: ${known})`,
  );
  return layout.fields[field]!;
}

const bindLookup: BindOp = ({ instruction, inputs, outputs, context }) => {
  checkArity(instruction, 1, 1);
  const { shape } = instruction.inputs[0]!;
  checkType(instruction, "the ids", instruction.inputs[0]!, "u64", shape);
  checkType(instruction, "the rows", instruction.outputs[0]!, "u32", shape);
  const table = ofTable(instruction, context.tables);
  const [keys, n, rows, insert] = [inputs[0]!, sizeOf(shape), outputs[0]!, instruction.attrs.insert === true];
  return [(): void => table.lookup(keys, n, rows, insert)];
};

const bindGather: BindOp = ({ instruction, inputs, outputs, context }) => {
  checkArity(instruction, 1, 1);
  const { shape } = instruction.inputs[0]!;
  checkType(instruction, "the rows", instruction.inputs[0]!, "u32", shape);
  const { layout } = ofTable(instruction, context.tables);
  const { offset, dim } = fieldOf(instruction, layout, instruction.attrs.field as string);
  checkType(instruction, "the output", instruction.outputs[0]!, "f32", [...shape, dim]);
  const { gather } = instantiate<RowKernels>("table-rows", context.heap);
  return [call(gather, inputs[0]!, sizeOf(shape), offset, dim, outputs[0]!, dim * 4)];
};

const bindGatherPool: BindOp = ({ instruction, inputs, outputs, context }) => {
  checkArity(instruction, 1, 1);
  const { shape } = instruction.inputs[0]!;
  check(instruction, shape.length === 2, "gather_pool takes rows of [batch, length]");
  checkType(instruction, "the rows", instruction.inputs[0]!, "u32", shape);
  const { mode } = instruction.attrs;
  check(instruction, mode === "sum" || mode === "mean", `mode must be sum or mean, got ${JSON.stringify(mode)}`);
  const { layout, zeroRow } = ofTable(instruction, context.tables);
  const { offset, dim } = fieldOf(instruction, layout, instruction.attrs.field as string);
  const [batch, length] = [shape[0]!, shape[1]!];
  checkType(instruction, "the output", instruction.outputs[0]!, "f32", [batch, dim]);
  const { gatherPool } = instantiate<RowKernels>("table-rows", context.heap);
  const mean = Number(mode === "mean");
  return [call(gatherPool, inputs[0]!, batch, length, offset, dim, outputs[0]!, dim * 4, mean, zeroRow)];
};

export const tableOps = { lookup: bindLookup, gather: bindGather, gather_pool: bindGatherPool };
