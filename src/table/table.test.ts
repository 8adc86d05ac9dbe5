import { once } from "node:events";
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Heap } from "../memory/index.ts";
import type { TableField } from "./spec.ts";
import { mix64 } from "./storage.ts";
import { Table } from "./table.ts";

const embedding: TableField = {
  name: "embedding",
  dim: 6,
  slots: [
    { name: "sum", initial: 0.25 },
    { name: "step", initial: 3, perRow: true },
  ],
  init: { kind: "uniform", scale: 0.5 },
};
const wide: TableField = { name: "wide", dim: 1, slots: [], init: { kind: "normal", scale: 2 } };
const spec = { name: "clicks", seed: 7, fields: [embedding, wide] };

let heap: Heap;
let table: Table;
beforeEach(() => {
  heap = Heap.create({ maxBytes: 2 ** 28 });
  table = Table.create(heap, spec);
});
afterEach(() => {
  table.detach();
  table.dispose();
  expect(heap.liveBytes).toBe(0);
});

function lookup(keys: readonly bigint[], insert: boolean, into = table): number[] {
  const keysPointer = heap.alloc(8 * keys.length);
  const rowsPointer = heap.alloc(4 * keys.length);
  heap.u64(keysPointer, keys.length).set(keys);
  into.lookup(keysPointer, keys.length, rowsPointer, insert);
  const rows = [...heap.u32(rowsPointer, keys.length)];
  heap.free(keysPointer);
  heap.free(rowsPointer);
  return rows;
}

function weights(field: TableField, row: number, into = table): number[] {
  const { offset, dim } = into.field(field.name);
  return [...heap.f32(row * 16 + offset, dim)];
}

/** Rows' first weights by the plain definition; random.as.ts is its fast twin. */
function uniformWeights(seed: number, key: bigint, stream: number, dim: number, scale: number): number[] {
  const mixed = mix64(key ^ mix64(BigInt(seed) + 0x9e3779b97f4a7c15n));
  const state = mix64(mixed + BigInt(stream + 1) * 0x9e3779b97f4a7c15n);
  const [low, high] = [Number(state & 0xffffffffn), Number(state >> 32n)];
  return Array.from({ length: dim }, (_, element) => {
    let x = (low + Math.imul(element + 1, 0x9e3779b9)) | 0;
    x = Math.imul(x ^ (x >>> 16), 0x7feb352d) ^ high;
    x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
    const bits = (x ^ (x >>> 16)) >>> 8;
    return Math.fround(Math.fround(bits - 8388607.5) * Math.fround(Math.fround(scale) / 8388608));
  });
}

const anyKey = fc.oneof(
  fc.bigInt({ min: 0n, max: 40n }),
  fc.bigInt({ min: 2n ** 64n - 20n, max: 2n ** 64n - 1n }),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
);

describe("lookup", () => {
  test("behaves as a Map, whatever the keys", () => {
    const batch = fc.record({ keys: fc.array(anyKey, { maxLength: 150 }), insert: fc.boolean() });
    fc.assert(
      fc.property(fc.array(batch, { maxLength: 8 }), (batches) => {
        const own = Table.create(heap, spec);
        const reference = new Map<bigint, number>();
        for (const { keys, insert } of batches) {
          for (const [i, row] of lookup(keys, insert, own).entries()) {
            const key = keys[i]!;
            if (key === 0n || (!insert && !reference.has(key))) expect(row).toBe(own.zeroRow);
            else if (reference.has(key)) expect(row).toBe(reference.get(key));
            else reference.set(key, row);
          }
        }
        expect(own.size()).toBe(reference.size);
        expect(new Set(reference.values()).size).toBe(reference.size);
        for (const [key, row] of reference) expect(own.keyOf(row)).toBe(key);
        own.detach();
        own.dispose();
      }),
      { numRuns: 40 },
    );
  });

  test("keeps every row in its place through growth of the index and of the rows", () => {
    const keys = Array.from({ length: 60_000 }, (_, i) => BigInt(i) * 0x1_0000_0001n + 1n);
    const rows = lookup(keys, true);
    expect(new Set(rows).size).toBe(keys.length);
    expect(table.size()).toBe(keys.length);
    expect(lookup(keys, false)).toEqual(rows);
    expect(lookup(keys.toReversed(), true)).toEqual(rows.toReversed());
  });

  test("frees the arrays that growth replaced", () => {
    const small = heap.liveBytes;
    lookup(
      Array.from({ length: 60_000 }, (_, i) => BigInt(i + 1)),
      true,
    );
    const fixed = Table.create(heap, { ...spec, capacity: 60_000 });
    const before = heap.liveBytes;
    lookup(
      Array.from({ length: 60_000 }, (_, i) => BigInt(i + 1)),
      true,
      fixed,
    );
    const rowsBytes = heap.liveBytes - before;
    const indexBytes = before - small - rowsBytes;
    // 60,000 rows need at least 80,000 slots of 16 bytes at three quarters full, at most four times that.
    expect(indexBytes).toBeLessThan(2 * 4 * 80_000 * 16);
    fixed.detach();
    fixed.dispose();
  });

  test.each([
    ["2^31", 2 ** 31, 2 ** 32],
    ["2^32", 2 ** 32, 2 ** 33],
    ["15 · 2^30", 15 * 2 ** 30, 2 ** 34],
  ])("works, grows and goes where pointers exceed %s", (_, from, maxBytes) => {
    const large = Heap.create({ maxBytes });
    large.alloc(from);
    const before = large.liveBytes;
    const high = Table.create(large, spec);
    const n = 50_000;
    const keys = large.alloc(8 * n);
    const rows = large.alloc(4 * n);
    const out = large.alloc(4 * 6 * n);
    large.u64(keys, n).set(Array.from({ length: n }, (_, i) => BigInt(i)));
    high.lookup(keys, n, rows, true);
    high.gather("embedding", rows, n, out);
    const last = large.u32(rows, n)[n - 1]!;
    expect(last * 16).toBeGreaterThan(from);
    expect(high.keyOf(last)).toBe(BigInt(n - 1));
    const expected = uniformWeights(7, BigInt(n - 1), 0, 6, 0.5);
    expect([...large.f32(out, 6 * n).subarray(6 * (n - 1))]).toEqual(expected);
    expect([...high.snapshot().chunks()].reduce((sum, chunk) => sum + chunk.rows, 0)).toBe(n - 1);
    for (const pointer of [keys, rows, out]) large.free(pointer);
    high.dispose();
    expect(large.liveBytes).toBe(before);
  });

  test("a full heap is an error that names the table, and the table stays usable", () => {
    const tight = Heap.create({ maxBytes: 2 ** 21 });
    const own = Table.create(tight, spec);
    const keys = tight.alloc(8 * 60_000);
    const rows = tight.alloc(4 * 60_000);
    for (let i = 0; i < 60_000; i++) tight.u64(keys, 60_000)[i] = BigInt(i + 1);
    expect(() => own.lookup(keys, 60_000, rows, true)).toThrow(/table "clicks" of \d+ rows: the heap is full/);
    const n = own.size();
    own.lookup(keys, n, rows, false);
    expect(new Set(tight.u32(rows, n)).size).toBe(n);
  });
});

describe("new rows", () => {
  test("depend on seed and key alone", () => {
    const keys = [1n, 2n, 2n ** 64n - 1n, 123456789123n];
    const other = Table.create(heap, spec);
    const rows = lookup(keys, true);
    const mirrored = lookup(keys.toReversed(), true, other).toReversed();
    for (const [i, key] of keys.entries()) {
      expect(weights(embedding, rows[i]!)).toEqual(uniformWeights(7, key, 0, 6, 0.5));
      expect(weights(embedding, mirrored[i]!, other)).toEqual(weights(embedding, rows[i]!));
      expect(weights(wide, mirrored[i]!, other)).toEqual(weights(wide, rows[i]!));
    }
    const { slotOffsets } = table.field("embedding");
    expect([...heap.f32(rows[0]! * 16 + slotOffsets[0]!, 6)]).toEqual(new Array(6).fill(0.25));
    expect([...heap.f32(rows[0]! * 16 + slotOffsets[1]!, 1)]).toEqual([3]);
    other.detach();
    other.dispose();
  });

  test("have the moments of their distribution", () => {
    const n = 40_000;
    const rows = lookup(
      Array.from({ length: n }, (_, i) => BigInt(i + 1)),
      true,
    );
    const moment = (values: number[], power: number): number =>
      values.reduce((sum, value) => sum + value ** power, 0) / values.length;
    const uniforms = rows.flatMap((row) => weights(embedding, row));
    expect(Math.abs(moment(uniforms, 1))).toBeLessThan(0.004);
    expect(moment(uniforms, 2)).toBeCloseTo(0.25 / 3, 2);
    expect(Math.max(...rows.map((row) => weights(embedding, row)[0]!))).toBeGreaterThan(0.499);
    const normals = rows.map((row) => weights(wide, row)[0]! / 2);
    expect(Math.abs(moment(normals, 1))).toBeLessThan(0.02);
    expect(Math.abs(moment(normals, 2) - 1)).toBeLessThan(0.03);
    expect(Math.abs(moment(normals, 4) - 3)).toBeLessThan(0.2);
    expect(normals.filter((x) => x < -1.959964).length / n).toBeCloseTo(0.025, 2);
    const neighbours = normals.slice(1).map((x, i) => x * normals[i]!);
    expect(Math.abs(moment(neighbours, 1))).toBeLessThan(0.02);
  });
});

describe("four threads", () => {
  test("that insert overlapping keys through many growths give every key one row", { timeout: 60_000 }, async () => {
    const distinct = 20_000;
    const control = heap.alloc(64);
    const parties = 4;
    const results = await Promise.all(
      Array.from({ length: parties }, async (_, id) => {
        // Each thread sees each key in its own order; the keys' stride is coprime with their number.
        const keys = BigUint64Array.from({ length: distinct }, (_, i) => {
          const number = (i * (7 + 2 * id) + id * 31) % distinct;
          return number === 0 ? 2n ** 64n - 1n : BigInt(number) << 20n;
        });
        const workerData = { memory: heap.memory, control, handle: table.handle, id, parties, keys, batch: 700 };
        const worker = new Worker(new URL("../../test/workers/table-stress.ts", import.meta.url), { workerData });
        const [message] = (await once(worker, "message")) as [{ found: Uint32Array; lost: number }];
        return { keys, ...message };
      }),
    );
    heap.free(control);
    const rowOf = new Map<bigint, number>();
    for (const { keys, found, lost } of results) {
      expect(lost).toBe(0);
      for (const [i, key] of keys.entries()) {
        const known = rowOf.get(key) ?? found[i]!;
        rowOf.set(key, known);
        if (known !== found[i]) expect.fail(`key ${key} has rows ${known} and ${found[i]}`);
      }
    }
    expect(rowOf.size).toBe(distinct);
    expect(new Set(rowOf.values()).size).toBe(distinct);
    expect(table.size()).toBe(distinct);
    const seen = [...table.snapshot().chunks()].flatMap((chunk) => [...chunk.keys]);
    expect(seen).toEqual([...rowOf.keys()].sort((a, b) => (a < b ? -1 : 1)));
    for (const [key, row] of rowOf) {
      if (weights(embedding, row)[5] !== uniformWeights(7, key, 0, 6, 0.5)[5]) expect.fail(`row of key ${key} differs`);
    }
  });
});

test("attaching again takes over what a detached thread left", () => {
  const live = heap.liveBytes;
  for (let i = 0; i < 5; i++) {
    const other = Table.attach(heap, table.handle);
    lookup([BigInt(i + 1)], true, other);
    other.detach();
  }
  const slab = 2 ** 20 + 64;
  expect(heap.liveBytes - live).toBeLessThan(slab + 1024);
  expect(table.size()).toBe(5);
});
