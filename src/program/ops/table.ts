// Embedding tables: look-up of rows by 64-bit id, gathering of their weights, and the update of the touched rows.
import { evaluateRule } from "../../kernels/evaluate.ts";
import { ShapeError } from "../errors.ts";
import { type Pooling, sizeOf, type TensorType } from "../ir.ts";
import {
  expectCount,
  expectRank,
  expectShape,
  expectType,
  f32,
  ids,
  type NdArray,
  numbers,
  type OpDefinition,
  type ReferenceRows,
} from "./definition.ts";

/** ids u64 [..] → rows u32 [..]. Id 0 means "no feature", and a missing id without `insert` gives the zero row too. */
export const lookup: OpDefinition<"lookup"> = {
  infer(inputs) {
    expectCount(inputs, 1);
    const [keys] = inputs as [TensorType];
    expectType(keys, "u64", "the ids");
    return [{ shape: keys.shape, dtype: "u32" }];
  },
  reference({ attrs, inputs, outputs, table }) {
    const rows = table(attrs.table);
    for (const [i, key] of ids(inputs[0]).entries()) numbers(outputs[0])[i] = rows.find(key, attrs.insert);
  },
};

/** rows u32 [..] → weights [.., dim]. Its gradient goes to the table: see `differentiate`. */
export const gather: OpDefinition<"gather"> = {
  infer(inputs, { table, field }, dims) {
    expectCount(inputs, 1);
    const [rows] = inputs as [TensorType];
    expectType(rows, "u32", "the rows");
    return [f32(...rows.shape, dims(table, field))];
  },
  reference({ attrs, inputs, outputs, table }) {
    const out = numbers(outputs[0]);
    const dim = outputs[0]!.shape.at(-1)!;
    for (const [i, row] of numbers(inputs[0]).entries()) out.set(table(attrs.table).weights(row, attrs.field), i * dim);
  },
};

/** rows u32 [B,L] → [B,dim]: the sum, or the mean over those that are not the zero row. */
export const gather_pool: OpDefinition<"gather_pool"> = {
  infer(inputs, { table, field }, dims) {
    expectCount(inputs, 1);
    const [rows] = inputs as [TensorType];
    expectType(rows, "u32", "the rows");
    expectRank(rows, 2, "the rows");
    return [f32(rows.shape[0]!, dims(table, field))];
  },
  reference({ attrs, inputs, outputs, table }) {
    const out = numbers(outputs[0]);
    const [batch, length] = inputs[0]!.shape as [number, number];
    const dim = outputs[0]!.shape[1]!;
    const rows = numbers(inputs[0]);
    for (let b = 0; b < batch; b++) {
      const bag = rows.subarray(b * length, (b + 1) * length);
      const scale = poolScale(bag, attrs.mode);
      for (const row of bag) {
        for (const [d, w] of table(attrs.table).weights(row, attrs.field).entries()) out[b * dim + d]! += w * scale;
      }
    }
  },
};

/**
 * Inputs: the rows of each lookup, the gradient of each contribution, then the scalars. Duplicates over all lookups are
 * summed first, then the field's rule runs once a row; the zero row never moves.
 */
export const scatter_update: OpDefinition<"scatter_update"> = {
  infer(inputs, { table, lookups, contributions, scalars }, dims) {
    const names = Object.values(scalars).flat();
    expectCount(inputs, lookups + contributions.length + names.length);
    for (const [i, { lookup: from, field, pool }] of contributions.entries()) {
      const rows = inputs[from];
      if (rows === undefined || from >= lookups)
        throw new ShapeError(`contribution ${i} names lookup ${from} of ${lookups}`);
      expectType(rows, "u32", `the rows of lookup ${from}`);
      const lead = pool === undefined ? rows.shape : rows.shape.slice(0, 1);
      expectShape(inputs[lookups + i]!, [...lead, dims(table, field)], `the gradient of contribution ${i} (${field})`);
    }
    for (const [i, name] of names.entries()) {
      expectShape(inputs[lookups + contributions.length + i]!, [], `the scalar ${name}`);
    }
    return [];
  },
  reference({ attrs, inputs, table }) {
    const rows = table(attrs.table);
    let at = attrs.lookups + attrs.contributions.length;
    const scalars = new Map<string, number[]>();
    for (const [field, names] of Object.entries(attrs.scalars)) {
      scalars.set(
        field,
        names.map(() => numbers(inputs[at++])[0]!),
      );
    }
    const sums = new Map<string, Map<number, Float64Array>>();
    for (const [i, { lookup: from, field, pool }] of attrs.contributions.entries()) {
      const sum = sums.get(field) ?? new Map<number, Float64Array>();
      sums.set(field, sum);
      accumulate(sum, inputs[from]!, inputs[attrs.lookups + i]!, pool);
    }
    for (const [field, sum] of sums) {
      for (const [row, gradient] of sum) updateRow(rows, field, row, gradient, scalars.get(field) ?? []);
    }
  },
};

/** Adds the gradient of each occurrence to its row's sum. */
function accumulate(sum: Map<number, Float64Array>, rows: NdArray, gradient: NdArray, pool: Pooling | undefined): void {
  const dim = gradient.shape.at(-1)!;
  const data = numbers(gradient);
  const all = numbers(rows);
  const length = pool === undefined ? 1 : sizeOf(rows.shape.slice(1));
  for (const [i, row] of all.entries()) {
    if (row === 0) continue;
    const bag = Math.floor(i / length);
    const scale = pool === undefined ? 1 : poolScale(all.subarray(bag * length, (bag + 1) * length), pool);
    const total = sum.get(row) ?? new Float64Array(dim);
    sum.set(row, total);
    for (let d = 0; d < dim; d++) total[d]! += data[bag * dim + d]! * scale;
  }
}

function updateRow(
  table: ReferenceRows,
  field: string,
  row: number,
  gradient: Float64Array,
  scalars: readonly number[],
): void {
  const weights = table.weights(row, field);
  const slots = table.slots(row, field);
  const state = { weight: [...weights], slots: slots.map((slot) => [...slot]) };
  const next = evaluateRule(table.rule(field), state, [...gradient], scalars);
  weights.set(next.weight);
  for (const [i, slot] of slots.entries()) slot.set(next.slots[i]!);
}

/** What each row of a bag counts for. */
function poolScale(bag: Float64Array, mode: Pooling): number {
  if (mode === "sum") return 1;
  return (
    1 /
    Math.max(
      1,
      bag.reduce((count, row) => count + (row === 0 ? 0 : 1), 0),
    )
  );
}
