// scatter_update: the gradients of all occurrences of a row are summed, then the field's rule moves each row once.
import type { Kernel, KernelFunction, UpdateRule } from "../../kernels/index.ts";
import { instantiate } from "../../memory/index.ts";
import type { Call } from "../device.ts";
import { check, checkType, type OpSignature, sizeOf } from "../tensor.ts";
import { type BindOp, type BoundOp, call } from "./op.ts";
import { fieldOf, ofTable, type TableLayout } from "./sparse-table.ts";

interface GradientKernels {
  number: (...args: number[]) => number;
  accumulate: KernelFunction;
  accumulatePool: KernelFunction;
}

interface Contribution {
  /** Which of the op's lookups, and which input holds the gradient. */
  readonly lookup: number;
  readonly gradient: number;
  readonly field: string;
  readonly pool: "sum" | "mean" | undefined;
}

/**
 * Fields that receive gradients through the same lookups. They share one numbering of distinct rows, and every numbered
 * row receives a gradient in each of them: rows that a field was not asked for must not move, not even by decay.
 */
interface Group {
  readonly lookups: readonly number[];
  readonly fields: readonly string[];
}

interface Scatter {
  readonly contributions: readonly Contribution[];
  readonly groups: readonly Group[];
  /** Input positions of each field's scalars, in the rule's order. */
  readonly scalars: ReadonlyMap<string, readonly number[]>;
}

/** Reads and checks the attributes. */
function scatterOf(op: OpSignature): Scatter {
  const lookups = op.attrs.lookups as number;
  const specs = op.attrs.contributions as readonly Omit<Contribution, "gradient">[];
  const contributions = specs.map(({ lookup, field, pool }, i) => ({ lookup, field, pool, gradient: lookups + i }));
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
    const lead = pool === undefined ? rows.shape : rows.shape.slice(0, 1);
    check(op, pool === undefined || rows.shape.length === 2, "a pooled contribution needs rows of [batch, length]");
    const dim = op.inputs[gradient]!.shape.at(-1) ?? 0;
    checkType(op, `the gradient of contribution ${i} (${field})`, op.inputs[gradient]!, "f32", [...lead, dim]);
  }
  const byLookups = Map.groupBy(new Set(contributions.map(({ field }) => field)), (field) =>
    lookupsOf(contributions, field).join(),
  );
  const groups = [...byLookups.values()].map((fields) => ({ lookups: lookupsOf(contributions, fields[0]!), fields }));
  return { contributions, groups, scalars };
}

/** The lookups that contribute to a field, ascending. */
const lookupsOf = (contributions: readonly Contribution[], field: string): number[] =>
  [...new Set(contributions.filter((c) => c.field === field).map(({ lookup }) => lookup))].sort((a, b) => a - b);

/** The scratch of one group after another: byte offsets. */
function scratchLayout(
  op: OpSignature,
  { contributions, groups }: Scatter,
): {
  groups: { n: number; map: number; mapBytes: number; unique: number; numbers: number; sums: number }[];
  bytes: number;
} {
  let bytes = 0;
  const layouts = groups.map(({ lookups, fields }) => {
    const n = lookups.reduce((total, lookup) => total + sizeOf(op.inputs[lookup]!.shape), 0);
    const dims = contributions
      .filter(({ field }) => fields.includes(field))
      .map((c) => op.inputs[c.gradient]!.shape.at(-1)!);
    // At most half full, so that probing stays short.
    const mapBytes = 8 * 2 ** Math.ceil(Math.log2(Math.max(8, 2 * n)));
    const map = 0;
    const unique = map + mapBytes;
    const numbers = unique + align(4 * n);
    const sums = numbers + align(4 * n);
    bytes = Math.max(bytes, sums + 4 * n * Math.max(...dims));
    return { n, map, mapBytes, unique, numbers, sums };
  });
  return { groups: layouts, bytes };
}

const align = (bytes: number): number => Math.ceil(bytes / 64) * 64;

export const scatterScratch = (op: OpSignature): number => scratchLayout(op, scatterOf(op)).bytes;

/** The row updates of a scatter_update, one for each field in the order of its groups; nothing for other kinds. */
export function rowUpdateKernels(
  op: OpSignature,
  layouts: Readonly<Record<string, TableLayout>>,
  rules: Readonly<Record<string, Readonly<Record<string, UpdateRule>>>>,
): Kernel[] {
  if (op.kind !== "scatter_update") return [];
  const { groups, contributions, scalars } = scatterOf(op);
  const layout = ofTable(op, layouts, "layout of table");
  const ofField = ofTable(op, rules, "update rules of table");
  return groups
    .flatMap(({ fields }) => fields)
    .map((field) => {
      const { offset, dim, slotOffsets } = fieldOf(op, layout, field);
      const rule = ofField[field];
      check(op, rule !== undefined, `no update rule for field "${field}" of table "${op.attrs.table}" was given`);
      const names = (op.attrs.scalars as Record<string, readonly string[]>)[field] ?? [];
      check(
        op,
        names.length === rule.scalars.length && names.length === (scalars.get(field) ?? []).length,
        `the rule of field "${field}" wants the scalars [${rule.scalars}], the op supplies [${names}]`,
      );
      for (const { gradient } of contributions.filter((c) => c.field === field)) {
        const width = op.inputs[gradient]!.shape.at(-1);
        check(op, width === dim, `the gradient of field "${field}" has ${width} elements a row, the table has ${dim}`);
      }
      return { type: "rowUpdate", rule, dim, weightOffset: offset, slotOffsets };
    });
}

const bindScatter: BindOp = (op) => {
  const scatter = scatterOf(op.instruction);
  const layout = scratchLayout(op.instruction, scatter);
  check(
    op.instruction,
    op.scratchBytes >= layout.bytes,
    `scatter_update needs ${layout.bytes} bytes of scratch, the plan gives ${op.scratchBytes}`,
  );
  let kernel = 0;
  return scatter.groups.flatMap((group, i) => {
    const kernels = op.kernels.slice(kernel, kernel + group.fields.length);
    kernel += group.fields.length;
    const place = layout.groups[i]!;
    return place.n === 0 ? [] : [groupCall(op, scatter, group, place, kernels)];
  });
};

function groupCall(
  op: BoundOp,
  scatter: Scatter,
  group: Group,
  place: ReturnType<typeof scratchLayout>["groups"][number],
  kernels: readonly KernelFunction[],
): Call {
  const { instruction, inputs, scratch, context } = op;
  const { number } = instantiate<GradientKernels>("row-gradients", context.heap);
  const { zeroRow } = ofTable(instruction, context.tables);
  const [map, unique, sums] = [scratch + place.map, scratch + place.unique, scratch + place.sums];
  const mapBytes = context.heap.u8(map, place.mapBytes);
  const mask = place.mapBytes / 8 - 1;

  const numbersOf = new Map<number, number>();
  let numbers = scratch + place.numbers;
  const numberings = group.lookups.map((lookup) => {
    const [at, n] = [numbers, sizeOf(instruction.inputs[lookup]!.shape)];
    numbersOf.set(lookup, at);
    numbers += 4 * n;
    return (count: number): number => number(inputs[lookup]!, n, zeroRow, map, mask, unique, count, at);
  });
  const fields = group.fields.map((field, i) => ({
    accumulate: accumulateCalls(op, scatter, field, numbersOf, sums),
    update: updateCall(
      kernels[i]!,
      unique,
      sums,
      (scatter.scalars.get(field) ?? []).map((at) => inputs[at]!),
    ),
  }));

  return (): void => {
    mapBytes.fill(0);
    let count = 0;
    for (let i = 0; i < numberings.length; i++) count = numberings[i]!(count);
    for (let i = 0; i < fields.length; i++) {
      const { accumulate, update } = fields[i]!;
      for (let j = 0; j < accumulate.length; j++) accumulate[j]!();
      update(count);
    }
  };
}

/** Sums a field's gradients per distinct row. The first contribution through each lookup sets the rows that are new there. */
function accumulateCalls(
  op: BoundOp,
  { contributions }: Scatter,
  field: string,
  numbersOf: ReadonlyMap<number, number>,
  sums: number,
): Call[] {
  const { instruction, inputs, context } = op;
  const { accumulate, accumulatePool } = instantiate<GradientKernels>("row-gradients", context.heap);
  const seen = new Set<number>();
  return contributions
    .filter((contribution) => contribution.field === field)
    .toSorted((a, b) => a.lookup - b.lookup)
    .map(({ lookup, gradient, pool }) => {
      const first = Number(!seen.has(lookup));
      seen.add(lookup);
      const { shape } = instruction.inputs[lookup]!;
      const dim = instruction.inputs[gradient]!.shape.at(-1)!;
      const numbers = numbersOf.get(lookup)!;
      if (pool === undefined) return call(accumulate, numbers, sizeOf(shape), inputs[gradient]!, dim, sums, first);
      const mean = Number(pool === "mean");
      return call(accumulatePool, numbers, shape[0]!, shape[1]!, inputs[gradient]!, dim, sums, first, mean);
    });
}

const MAX_SCALARS = 8;

/** The row update for a number of rows that only the step knows. WebAssembly ignores arguments that it does not declare. */
function updateCall(
  kernel: KernelFunction,
  rows: number,
  sums: number,
  scalars: readonly number[],
): (count: number) => void {
  if (scalars.length > MAX_SCALARS)
    throw new RangeError(`an update rule may have ${MAX_SCALARS} scalars, got ${scalars.length}`);
  const [a, b, c, d, e, f, g, h] = [...scalars, ...new Array<number>(MAX_SCALARS).fill(0)] as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  return (count) => kernel(rows, sums, count, a, b, c, d, e, f, g, h);
}

export const scatterOps = { scatter_update: bindScatter };
