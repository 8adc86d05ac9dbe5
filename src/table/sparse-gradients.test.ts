import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Heap } from "../memory/index.ts";
import { type GradientSource, SparseGradients, type SparseGradientsOptions } from "./sparse-gradients.ts";

const zeroRow = 5000;
let heap: Heap;
beforeEach(() => {
  heap = Heap.create({ maxBytes: 2 ** 26 });
});
afterEach(() => expect(heap.liveBytes).toBe(0));

function rowsIn(rows: readonly number[]): { rows: number; occurrences: number } {
  const pointer = heap.alloc(4 * rows.length);
  heap.u32(pointer, rows.length).set(rows);
  return { rows: pointer, occurrences: rows.length };
}

function valuesIn(values: readonly number[]): number {
  const pointer = heap.alloc(4 * values.length);
  heap.f32(pointer, values.length).set(values);
  return pointer;
}

/** What `collect` must give, in float64: for each field a map from row to summed gradient. */
function reference({ lookups, sources, dims }: SparseGradientsOptions): Map<string, Map<number, number[]>> {
  const fields = new Map<string, Map<number, number[]>>();
  for (const { lookup, field, gradient, pool } of sources) {
    const dim = dims[field]!;
    const { rows, occurrences } = lookups[lookup]!;
    const handles = [...heap.u32(rows, occurrences)];
    const length = pool?.length ?? 1;
    const sums = fields.get(field) ?? new Map<number, number[]>();
    fields.set(field, sums);
    for (const [i, row] of handles.entries()) {
      if (row === zeroRow) continue;
      const bag = Math.floor(i / length);
      const members = handles.slice(bag * length, (bag + 1) * length).filter((other) => other !== zeroRow);
      const scale = pool?.mode === "mean" ? 1 / members.length : 1;
      const values = heap.f32(gradient + 4 * dim * bag, dim);
      const sum = sums.get(row) ?? new Array<number>(dim).fill(0);
      sums.set(row, sum);
      for (let d = 0; d < dim; d++) sum[d]! += values[d]! * scale;
    }
  }
  return fields;
}

function check(gradients: SparseGradients, options: SparseGradientsOptions): void {
  const expected = reference(options);
  for (const { field, dim, rows, sums, count } of gradients.fields) {
    const handles = [...heap.u32(rows, count)];
    const wanted = expected.get(field)!;
    expect(handles.toSorted()).toEqual([...wanted.keys()].toSorted());
    for (const [u, row] of handles.entries()) {
      const found = heap.f32(sums + 4 * dim * u, dim);
      for (let d = 0; d < dim; d++) expect(Math.abs(found[d]! - wanted.get(row)![d]!)).toBeLessThan(1e-4);
    }
  }
}

const anyRow = fc.oneof(
  fc.integer({ min: 1, max: 12 }),
  fc.constant(zeroRow),
  fc.integer({ min: 2 ** 31, max: 2 ** 31 + 5 }),
);
const anyLookup = fc.array(anyRow, { minLength: 12, maxLength: 12 });
const anySource = fc.record({
  lookup: fc.nat(2),
  field: fc.constantFrom("a", "b", "c"),
  pool: fc.option(
    fc.record({ mode: fc.constantFrom("sum" as const, "mean" as const), length: fc.constantFrom(1, 3, 12) }),
  ),
});
const anyDims = fc.record({
  a: fc.constantFrom(1, 2, 4, 5),
  b: fc.constantFrom(8, 16, 21),
  c: fc.constantFrom(16, 1, 32),
});

describe("collect", () => {
  test("sums the gradients of each distinct row over look-ups, plain and pooled, twice in a row", () => {
    const numbers = fc.infiniteStream(fc.integer({ min: -50, max: 50 }));
    const lookups = fc.tuple(anyLookup, anyLookup, anyLookup);
    const sources = fc.array(anySource, { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(lookups, sources, anyDims, numbers, (rows, raw, dims, numbers) => {
        const lookups = rows.map(rowsIn);
        const sources = raw.map(({ lookup, field, pool }): GradientSource => {
          const count = 12 * dims[field as "a"];
          const gradient = valuesIn(Array.from({ length: count }, () => numbers.next().value / 8));
          return { lookup, field, gradient, ...(pool === null ? {} : { pool }) };
        });
        const options = { zeroRow, lookups, sources, dims };
        const gradients = new SparseGradients(heap, options);
        gradients.collect();
        check(gradients, options);
        heap.u32(lookups[0]!.rows, 12).set(rows[1]);
        gradients.collect();
        check(gradients, options);
        gradients.dispose();
        for (const { rows } of lookups) heap.free(rows);
        for (const { gradient } of sources) heap.free(gradient);
      }),
      { numRuns: 120 },
    );
  });

  test("a batch of nothing but the zero row touches no row", () => {
    const lookup = rowsIn([zeroRow, zeroRow]);
    const gradient = valuesIn([1, 2]);
    const sources = [{ lookup: 0, field: "a", gradient }];
    const gradients = new SparseGradients(heap, { zeroRow, lookups: [lookup], sources, dims: { a: 1 } });
    gradients.collect();
    expect(gradients.fields[0]!.count).toBe(0);
    gradients.dispose();
    heap.free(lookup.rows);
    heap.free(gradient);
  });
});

test("wrong options are named", () => {
  const lookups = [{ rows: 65536, occurrences: 10 }];
  const source = { lookup: 0, field: "a", gradient: 65536 };
  const make = (change: Partial<GradientSource>, dims: Record<string, number> = { a: 4 }): SparseGradients =>
    new SparseGradients(heap, { zeroRow, lookups, sources: [{ ...source, ...change }], dims });
  expect(() => make({ lookup: 1 })).toThrow('gradient of field "a": look-up 1 does not exist, there are 1');
  expect(() => make({}, {})).toThrow('gradient of field "a": its dim must be a positive integer, got undefined');
  expect(() => make({ pool: { mode: "sum", length: 3 } })).toThrow("10 rows are not bags of 3 (look-up 0)");
});
