// lookup, gather, gather_pool and scatter_update on a real table, against the reference on a plain one.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { add, div, input, mul, rowMean, sqrt, sub } from "../../kernels/expr.ts";
import type { UpdateRule } from "../../kernels/index.ts";
import { ReferenceTable } from "../../program/index.ts";
import { definitionOf } from "../../program/ops/catalogue.ts";
import { Table, type TableSpec } from "../../table/index.ts";
import { prepare } from "../prepare.ts";
import { sizeOf } from "../tensor.ts";
import { Bench, PlanBuilder, plainProvider, relativeError, testHeap } from "../testing.ts";

const heap = testHeap();

/** w −= lr·g/√(G + 0.1), G += g². */
const adagrad: UpdateRule = {
  slots: [{ name: "sum", initial: 0.1 }],
  scalars: ["lr"],
  weight: sub(input(0), div(mul(input(3), input(1)), sqrt(add(input(2), mul(input(1), input(1)))))),
  state: [add(input(2), mul(input(1), input(1)))],
};
/** A shared accumulator, and a decay that moves a touched row even without gradient. */
const decaying: UpdateRule = {
  slots: [{ name: "mean", initial: 1, perRow: true }],
  scalars: ["decay", "lr"],
  weight: sub(mul(input(0), input(3)), mul(input(4), input(1))),
  state: [add(input(2), rowMean(mul(input(1), input(1))))],
};
const rules = { deep: adagrad, wide: decaying, odd: decaying };

const spec = (name: string): TableSpec => ({
  name,
  seed: 3,
  fields: [
    { name: "deep", dim: 16, slots: adagrad.slots, init: { kind: "uniform", scale: 1 } },
    { name: "wide", dim: 1, slots: decaying.slots, init: { kind: "normal", scale: 1 } },
    { name: "odd", dim: 7, slots: decaying.slots, init: { kind: "uniform", scale: 0.5 } },
  ],
});

/** The weights of a field of some keys. */
function weightsOf(table: Table, keys: readonly bigint[], field: string): number[][] {
  const { dim } = table.field(field);
  const [ids, rows, out] = [8, 4, 4 * dim].map((bytes) => heap.alloc(bytes * keys.length)) as [number, number, number];
  heap.u64(ids, keys.length).set(keys);
  table.lookup(ids, keys.length, rows, false);
  table.gather(field, rows, keys.length, out);
  const data = [...heap.f32(out, keys.length * dim)];
  for (const block of [ids, rows, out]) heap.free(block);
  return keys.map((_, i) => data.slice(i * dim, (i + 1) * dim));
}

/** A plain table whose new rows start as those of `origin`, which is never updated. */
function twinOf(origin: Table): ReferenceTable {
  const known = new Map<string, number[]>();
  const initial = (key: bigint, field: string, element: number): number => {
    const name = `${key} ${field}`;
    if (!known.has(name)) {
      const [id, row] = [heap.alloc(8), heap.alloc(4)];
      heap.u64(id, 1)[0] = key;
      origin.lookup(id, 1, row, true);
      for (const block of [id, row]) heap.free(block);
      known.set(name, weightsOf(origin, [key], field)[0]!);
    }
    return known.get(name)![element]!;
  };
  return new ReferenceTable(origin.spec, { initial, rules });
}

interface Case {
  readonly batch: number;
  readonly ids: readonly number[][];
  readonly contributions: readonly { lookup: number; field: "deep" | "wide" | "odd"; pool?: "sum" | "mean" }[];
  readonly seed: number;
}

const length = 3;
const caseArbitrary: fc.Arbitrary<Case> = fc
  .tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 1, max: 3 }))
  .chain(([batch, lookups]) =>
    fc.record({
      batch: fc.constant(batch),
      // Few keys: many duplicates within and between look-ups. Key 0 is no feature.
      ids: fc.array(fc.array(fc.nat(25), { minLength: batch * length, maxLength: batch * length }), {
        minLength: lookups,
        maxLength: lookups,
      }),
      contributions: fc.array(
        fc.record(
          {
            lookup: fc.nat(lookups - 1),
            field: fc.constantFrom("deep", "wide", "odd"),
            pool: fc.constantFrom("sum", "mean"),
          },
          { requiredKeys: ["lookup", "field"] },
        ),
        { minLength: 1, maxLength: 5 },
      ),
      seed: fc.nat(1000),
    }),
  );

describe("sparse tables in a plan", () => {
  test("two steps of look-up, gather and update", () => {
    fc.assert(
      fc.property(caseArbitrary, (example) => runSteps(example)),
      { numRuns: 60 },
    );
  });

  test("a missing rule or table is refused by name", () => {
    const builder = new PlanBuilder(plainProvider(heap));
    const rows = builder.operand({ shape: [2, 3], dtype: "u32" });
    const out = builder.operand({ shape: [2, 3, 16], dtype: "f32" });
    builder.add("gather", [rows], [out], { table: "ids", field: "deep" });
    expect(() => new Bench(builder.plan(), { heap })).toThrow('no table "ids" was given (there are: none)');
    const table = Table.create(heap, spec("ids"));
    const layouts = { ids: table.layout };
    builder.add("scatter_update", [rows, out], [], {
      table: "ids",
      lookups: 1,
      contributions: [{ lookup: 0, field: "deep" }],
      scalars: {},
    });
    expect(() => prepare(builder.plan(), { layouts, rules: { ids: {} } })).toThrow(
      'no update rule for field "deep" of table "ids" was given',
    );
    expect(() => prepare(builder.plan(), { layouts, rules: { ids: rules } })).toThrow(
      'the rule of field "deep" wants the scalars [lr]',
    );
    table.dispose();
  });
});

function runSteps({ batch, ids, contributions, seed }: Case): void {
  const table = Table.create(heap, spec("ids"));
  const origin = Table.create(heap, spec("ids"));
  const twin = twinOf(origin);
  const builder = new PlanBuilder(plainProvider(heap));
  const keyOperands = ids.map(() => builder.operand({ shape: [batch, length], dtype: "u64" }));
  const rowOperands = ids.map(() => builder.operand({ shape: [batch, length], dtype: "u32" }));
  const shapeOf = ({ field, pool }: Case["contributions"][number]): number[] =>
    pool === undefined ? [batch, length, table.field(field).dim] : [batch, table.field(field).dim];
  const outputs = contributions.map((c) => builder.operand({ shape: shapeOf(c), dtype: "f32" }));
  const gradients = contributions.map((c) => builder.operand({ shape: shapeOf(c), dtype: "f32" }));
  const fields = [...new Set(contributions.map(({ field }) => field))];
  const scalars = Object.fromEntries(fields.map((field) => [field, rules[field].scalars]));
  const scalarOperands = fields.flatMap((field) =>
    rules[field].scalars.map(() => builder.operand({ shape: [], dtype: "f32" })),
  );
  for (const [i, keys] of keyOperands.entries())
    builder.add("lookup", [keys], [rowOperands[i]!], { table: "ids", insert: true });
  for (const [i, { lookup, field, pool }] of contributions.entries()) {
    const attrs = { table: "ids", field, ...(pool && { mode: pool }) };
    builder.add(pool ? "gather_pool" : "gather", [rowOperands[lookup]!], [outputs[i]!], attrs);
  }
  const attrs = { table: "ids", lookups: ids.length, contributions, scalars };
  builder.add("scatter_update", [...rowOperands, ...gradients, ...scalarOperands], [], attrs);
  const bench = new Bench(builder.plan(), {
    heap,
    tables: { ids: table },
    layouts: { ids: table.layout },
    rules: { ids: rules },
  });

  let state = seed;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.fround(state / 2 ** 31 - 1);
  };
  for (let step = 0; step < 2; step++) {
    for (const [i, keys] of keyOperands.entries())
      bench.write(
        keys,
        ids[i]!.map((id) => (id === 0 ? 0 : id + step * 5)),
      );
    const gradientData = gradients.map((g) => Array.from({ length: sizeOf(g.shape) }, random));
    for (const [i, gradient] of gradients.entries()) bench.write(gradient, gradientData[i]!);
    const scalarData = scalarOperands.map(() => 0.5 + random() / 4);
    for (const [i, scalar] of scalarOperands.entries()) bench.write(scalar, [scalarData[i]!]);
    bench.executable.run();

    const tables = (): ReferenceTable => twin;
    const rows = ids.map((list) =>
      Float64Array.from(list, (id) => twin.find(id === 0 ? 0n : BigInt(id + step * 5), true)),
    );
    const rowArrays = rows.map((data) => ({ shape: [batch, length], data }));
    for (const [i, contribution] of contributions.entries()) {
      const out = { shape: shapeOf(contribution), data: new Float64Array(sizeOf(shapeOf(contribution))) };
      const request = { inputs: [rowArrays[contribution.lookup]!], outputs: [out], table: tables };
      const { field, pool } = contribution;
      if (pool === undefined) definitionOf("gather").reference({ ...request, attrs: { table: "ids", field } });
      else definitionOf("gather_pool").reference({ ...request, attrs: { table: "ids", field, mode: pool } });
      expect(relativeError(bench.read(outputs[i]!), [...out.data]), `gather ${i} of step ${step}`).toBeLessThan(1e-5);
    }
    definitionOf("scatter_update").reference({
      attrs,
      inputs: [
        ...rowArrays,
        ...gradientData.map((data, i) => ({ shape: gradients[i]!.shape, data: Float64Array.from(data) })),
        ...scalarData.map((x) => ({ shape: [], data: Float64Array.of(x) })),
      ],
      outputs: [],
      table: tables,
    });
    for (const field of ["deep", "wide", "odd"] as const) {
      const expected = twin.keys.flatMap((key) => [...twin.weights(twin.find(key, false), field)]);
      expect(
        relativeError(weightsOf(table, twin.keys, field).flat(), expected),
        `${field} after step ${step}`,
      ).toBeLessThan(1e-5);
    }
    expect(table.size()).toBe(twin.size);
  }
  bench.executable.dispose();
  heap.free(bench.arena);
  heap.free(bench.shared);
  table.dispose();
  origin.dispose();
}
