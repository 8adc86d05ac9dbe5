import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Heap } from "../memory/index.ts";
import type { TableField, TableSpec } from "./spec.ts";
import { Table } from "./table.ts";

const dims = [1, 2, 3, 4, 5, 8, 16, 19, 32, 37];
const field = (dim: number): TableField => ({
  name: `f${dim}`,
  dim,
  slots: [
    { name: "sum", initial: dim },
    { name: "once", initial: -dim, perRow: true },
  ],
  init: { kind: "uniform", scale: 1 },
});
const spec: TableSpec = { name: "t", seed: 3, fields: dims.map(field) };

let heap: Heap;
let table: Table;
beforeEach(() => {
  heap = Heap.create({ maxBytes: 2 ** 27 });
  table = Table.create(heap, spec);
});
afterEach(() => {
  table.detach();
  table.dispose();
  expect(heap.liveBytes).toBe(0);
});

/** Runs `body` with rows of `keys` (inserted) and room for `numbers` f32, one more on each side to catch overruns. */
function withRows(keys: readonly number[], numbers: number, body: (rows: number, out: number) => void): void {
  const block = heap.alloc(12 * keys.length + 4 * numbers + 32);
  heap.u64(block, keys.length).set(keys.map(BigInt));
  const rows = block + 8 * keys.length;
  table.lookup(block, keys.length, rows, true);
  const out = rows + 4 * keys.length + 4;
  const [before, after] = [heap.f32(out - 4, 1), heap.f32(out + 4 * numbers, 1)];
  before.fill(99);
  after.fill(99);
  body(rows, out);
  expect([before[0], after[0]]).toEqual([99, 99]);
  heap.free(block);
}

function weights(row: number, dim: number): Float32Array {
  return heap.f32(row * 16 + table.field(`f${dim}`).offset, dim);
}

const anyDim = fc.constantFrom(...dims);
const keys = fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 40 });

describe("gather", () => {
  test("copies the field's weights, zeros for key 0, into rows of any stride", () => {
    fc.assert(
      fc.property(anyDim, keys, fc.integer({ min: 0, max: 3 }), (dim, keys, gap) => {
        const stride = dim + gap;
        withRows(keys, keys.length * stride, (rows, out) => {
          table.gather(`f${dim}`, rows, keys.length, out, 4 * stride);
          for (const [i, row] of heap.u32(rows, keys.length).entries()) {
            const found = heap.f32(out + 4 * i * stride, dim);
            expect(found).toEqual(keys[i] === 0 ? new Float32Array(dim) : weights(row, dim));
            expect([...heap.f32(out + 4 * (i * stride + dim), gap)]).toEqual(new Array(gap).fill(0));
          }
        });
      }),
      { numRuns: 150 },
    );
  });

  test("names an unknown field", () => {
    expect(() => table.gather("nothing", 0, 0, 0)).toThrow('table "t" has no field "nothing"; it has f1, f2');
  });
});

test("gatherPool equals the float64 sum or mean over each bag", () => {
  const bags = fc.record({
    length: fc.integer({ min: 1, max: 7 }),
    bags: fc.integer({ min: 0, max: 6 }),
    gap: fc.nat(2),
  });
  const mode = fc.constantFrom("sum" as const, "mean" as const);
  fc.assert(
    fc.property(anyDim, bags, mode, fc.infiniteStream(fc.nat(9)), (dim, { length, bags, gap }, mode, source) => {
      const keys = Array.from({ length: length * bags }, () => source.next().value);
      const stride = dim + gap;
      withRows(keys, bags * stride, (rows, out) => {
        table.gatherPool(`f${dim}`, rows, bags, length, mode, out, 4 * stride);
        const handles = heap.u32(rows, keys.length);
        for (let bag = 0; bag < bags; bag++) {
          const members = [...handles.subarray(bag * length, (bag + 1) * length)];
          const count = Math.max(1, members.filter((row) => row !== table.zeroRow).length);
          for (let d = 0; d < dim; d++) {
            const sum = members.reduce((total, row) => total + weights(row, dim)[d]!, 0);
            const expected = mode === "mean" ? sum / count : sum;
            expect(Math.abs(heap.f32(out + 4 * (bag * stride + d), 1)[0]! - expected)).toBeLessThan(1e-5);
          }
        }
      });
    }),
    { numRuns: 150 },
  );
});

describe("snapshot and load", () => {
  test("an empty table has no chunks", () => {
    expect([...table.snapshot().chunks()]).toEqual([]);
  });

  test("carry all rows, columns and keys into another table", () => {
    const count = 20_000;
    withRows([...Array(count).keys()], 0, (rows) => {
      for (const row of heap.u32(rows, count)) {
        if (row !== table.zeroRow) weights(row, 37).fill(row);
      }
    });
    const copy = Table.create(heap, { ...spec, seed: 99 });
    const snapshot = table.snapshot();
    expect(snapshot.rows).toBe(count - 1);
    expect(snapshot.columns.slice(0, 4)).toMatchObject([
      { name: "f1", width: 1 },
      { name: "f1.sum", width: 1 },
      { name: "f1.once", width: 1 },
      { name: "f2", width: 2 },
    ]);
    for (const chunk of snapshot.chunks()) copy.load(chunk);
    expect(copy.size()).toBe(count - 1);
    const pairs = [snapshot.chunks()[Symbol.iterator](), copy.snapshot().chunks()[Symbol.iterator]()];
    let last = 0n;
    for (;;) {
      const [a, b] = pairs.map((chunks) => chunks.next());
      if (a!.done || b!.done) break;
      expect(b!.value.keys).toEqual(a!.value.keys);
      expect(b!.value.columns).toEqual(a!.value.columns);
      for (const key of a!.value.keys as BigUint64Array) {
        if (key <= last) expect.fail(`key ${key} follows ${last}`);
        last = key;
      }
    }
    expect(last).toBe(BigInt(count - 1));
    const inMemoryOrder = [...table.snapshot({ order: "memory" }).chunks()].flatMap((chunk) => [...chunk.keys]);
    expect(inMemoryOrder).toEqual(Array.from({ length: count - 1 }, (_, i) => BigInt(i + 1)));
    copy.detach();
    copy.dispose();
  });

  test("a chunk that does not fit is refused with what is wrong", () => {
    const chunk = { rows: 1, keys: BigUint64Array.of(5n), columns: [] };
    expect(() => table.load(chunk)).toThrow(
      'table "t" cannot load this chunk: it has 0 columns, the table 30 (f1, f1.sum',
    );
    expect(() => table.load({ ...chunk, rows: 2 })).toThrow("it has 1 keys for 2 rows");
    const columns = table.snapshot().columns.map(({ width }) => new Float32Array(width));
    expect(() => table.load({ ...chunk, columns: columns.with(3, new Float32Array(3)) })).toThrow(
      'column "f2" has 3 numbers, expected 1 rows × 2',
    );
    expect(() => table.load({ rows: 1, keys: BigUint64Array.of(0n), columns })).toThrow("its row 0 has key 0");
    expect(table.size()).toBe(0);
    expect(() => [...table.snapshot({ order: "random" as "key" }).chunks()]).toThrow('must be "key" or "memory"');
  });
});
