// scatter_update: the gradients of all occurrences of a row are summed, then the field's rule moves each row once.
import type { Kernel, KernelFunction, UpdateRule } from "../../kernels/index.ts";
import { type RowSums, SparseGradients, type TableLayout } from "../../table/index.ts";
import type { Call } from "../device.ts";
import { check, checkType, type OpSignature, sizeOf } from "../tensor.ts";
import type { BindOp } from "./op.ts";
import { fieldOf, ofTable } from "./table.ts";

interface Contribution {
  /** Which of the op's lookups, and which input holds the gradient. */
  readonly lookup: number;
  readonly gradient: number;
  readonly field: string;
  readonly pool?: "sum" | "mean";
}

interface Scatter {
  readonly lookups: number;
  readonly contributions: readonly Contribution[];
  /** In order of first mention. */
  readonly fields: readonly string[];
  /** Input positions of each field's scalars, in the rule's order. */
  readonly scalars: ReadonlyMap<string, readonly number[]>;
}

/** Reads and checks the attributes. */
function scatterOf(op: OpSignature): Scatter {
  const lookups = op.attrs.lookups as number;
  const specs = op.attrs.contributions as readonly Omit<Contribution, "gradient">[];
  const contributions = specs.map((spec, i) => ({ ...spec, gradient: lookups + i }));
  let at = lookups + contributions.length;
  const scalars = new Map<string, number[]>();
  for (const [field, names] of Object.entries(op.attrs.scalars as Record<string, readonly string[]>)) {
    scalars.set(
      field,
      names.map(() => at++),
    );
  }
  check(op, op.inputs.length === at, `scatter_update takes ${at} inputs, got ${op.inputs.length}`);
  for (const [i, { lookup, gradient, field, pool }] of contributions.entries()) {
    const rows = op.inputs[lookup];
    check(op, lookup < lookups && rows !== undefined, `contribution ${i} names lookup ${lookup} of ${lookups}`);
    checkType(op, `the rows of lookup ${lookup}`, rows, "u32", rows.shape);
    check(op, pool === undefined || rows.shape.length === 2, "a pooled contribution needs rows of [batch, length]");
    const lead = pool === undefined ? rows.shape : rows.shape.slice(0, 1);
    const dim = op.inputs[gradient]!.shape.at(-1) ?? 0;
    checkType(op, `the gradient of contribution ${i} (${field})`, op.inputs[gradient]!, "f32", [...lead, dim]);
  }
  const fields = [...new Set(contributions.map(({ field }) => field))];
  return { lookups, contributions, fields, scalars };
}

/** The row updates of a scatter_update, one for each field in order of first mention; nothing for other kinds. */
export function rowUpdateKernels(
  op: OpSignature,
  layouts: Readonly<Record<string, TableLayout>>,
  rules: Readonly<Record<string, Readonly<Record<string, UpdateRule>>>>,
): Kernel[] {
  if (op.kind !== "scatter_update") return [];
  const { fields, contributions, scalars } = scatterOf(op);
  const layout = ofTable(op, layouts, "layout of table");
  const ofField = ofTable(op, rules, "update rules of table");
  return fields.map((field) => {
    const { offset, dim, slotOffsets } = fieldOf(op, layout, field);
    const rule = ofField[field];
    check(op, rule !== undefined, `no update rule for field "${field}" of table "${op.attrs.table}" was given`);
    const given = scalars.get(field)?.length ?? 0;
    check(op, given === rule.scalars.length, `the rule of field "${field}" wants the scalars [${rule.scalars}]`);
    check(op, given <= MAX_SCALARS, `a rule may have ${MAX_SCALARS} scalars, that of field "${field}" has ${given}`);
    for (const { gradient } of contributions.filter((contribution) => contribution.field === field)) {
      const width = op.inputs[gradient]!.shape.at(-1);
      check(op, width === dim, `the gradient of field "${field}" has ${width} elements a row, the table has ${dim}`);
    }
    return { type: "rowUpdate", rule, dim, weightOffset: offset, slotOffsets };
  });
}

const bindScatter: BindOp = ({ instruction, inputs, kernels, context, onDispose }) => {
  const { lookups, contributions, fields, scalars } = scatterOf(instruction);
  const { layout, zeroRow } = ofTable(instruction, context.tables);
  const shapeOf = (lookup: number): readonly number[] => instruction.inputs[lookup]!.shape;
  const gradients = new SparseGradients(context.heap, {
    zeroRow,
    lookups: inputs.slice(0, lookups).map((rows, i) => ({ rows, occurrences: sizeOf(shapeOf(i)) })),
    sources: contributions
      .filter(({ lookup }) => sizeOf(shapeOf(lookup)) > 0)
      .map(({ lookup, field, gradient, pool }) => ({
        lookup,
        field,
        gradient: inputs[gradient]!,
        ...(pool !== undefined && { pool: { mode: pool, length: shapeOf(lookup)[1]! } }),
      })),
    dims: Object.fromEntries(fields.map((field) => [field, fieldOf(instruction, layout, field).dim])),
  });
  onDispose(() => gradients.dispose());
  const updates = gradients.fields.map((sums) => {
    const pointers = (scalars.get(sums.field) ?? []).map((at) => inputs[at]!);
    return updateCall(kernels[fields.indexOf(sums.field)]!, sums, pointers);
  });
  return [(): void => gradients.collect(), ...updates];
};

const MAX_SCALARS = 8;

/** The row update; only the step knows how many rows. WebAssembly ignores arguments that it does not declare. */
function updateCall(kernel: KernelFunction, sums: RowSums, scalars: readonly number[]): Call {
  const all = [...scalars, ...new Array<number>(MAX_SCALARS).fill(0)];
  const [a, b, c, d, e, f, g, h] = all as [number, number, number, number, number, number, number, number];
  return () => kernel(sums.rows, sums.sums, sums.count, a, b, c, d, e, f, g, h);
}

export const scatterOps = { scatter_update: bindScatter };
