// A sparse table through a checkpoint: every row comes back with its weights and optimizer state, in a table of another heap.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Heap } from "../memory/index.ts";
import { Table, type TableSpec } from "../table/index.ts";
import { openCheckpoint } from "./open.ts";
import { saveCheckpoint } from "./save.ts";

const spec: TableSpec = {
  name: "features",
  seed: 7,
  fields: [
    { name: "embedding", dim: 8, slots: [{ name: "sum", initial: 0.1 }], init: { kind: "normal", scale: 0.01 } },
    { name: "wide", dim: 1, slots: [{ name: "z", initial: 0 }], init: { kind: "zeros", scale: 0 } },
  ],
};
const ROWS = 3000;

/** The rows' bytes as they lie in the heap, by key. */
function rowsOf(heap: Heap, table: Table, keys: number): string[] {
  const handles = heap.alloc(4 * ROWS);
  table.lookup(keys, ROWS, handles, false);
  const { strideBytes } = table.layout;
  return Array.from(heap.u32(handles, ROWS), (handle) =>
    Buffer.from(heap.u8(handle * 16, strideBytes)).toString("hex"),
  );
}

function keysIn(heap: Heap): number {
  const keys = heap.alloc(8 * ROWS);
  heap.u64(keys, ROWS).set(Array.from({ length: ROWS }, (_, i) => BigInt(i + 1) * 0x9e3779b97f4a7n));
  return keys;
}

test("a table is saved from one heap and loaded into another", async () => {
  const folder = mkdtempSync(join(tmpdir(), "flotilla-table-"));
  const path = join(folder, "checkpoint");
  const first = Heap.create({ maxBytes: 1 << 26 });
  const saved = Table.create(first, spec);
  const keys = keysIn(first);
  const handles = first.alloc(4 * ROWS);
  saved.lookup(keys, ROWS, handles, true);
  for (const [i, handle] of first.u32(handles, ROWS).entries()) {
    for (const { offset, dim, slotOffsets } of Object.values(saved.layout.fields)) {
      for (const at of [offset, ...slotOffsets]) first.f32(handle * 16 + at, dim).fill(i + at / 1000);
    }
  }
  await saveCheckpoint(path, { tables: [saved.snapshot()] }, { maxFileBytes: 50_000 });

  const second = Heap.create({ maxBytes: 1 << 26 });
  const loaded = Table.create(second, { ...spec, seed: 8 });
  await using checkpoint = await openCheckpoint(path);
  const table = checkpoint.table("features");
  expect(table.columns.map(({ name, width }) => `${name} ${width}`)).toEqual([
    "embedding 8",
    "embedding.sum 8",
    "wide 1",
    "wide.z 1",
  ]);
  for await (const chunk of table.chunks(700)) loaded.load(chunk);
  expect(loaded.size()).toBe(ROWS);
  expect(rowsOf(second, loaded, keysIn(second))).toEqual(rowsOf(first, saved, keys));
  rmSync(folder, { recursive: true });
});

test("any rows and columns of a table are read alone, across files", async () => {
  const folder = mkdtempSync(join(tmpdir(), "flotilla-table-"));
  const path = join(folder, "checkpoint");
  const keys = BigUint64Array.from({ length: 1000 }, (_, i) => BigInt(i + 1));
  const columns = [2, 1].map((width) => Float32Array.from({ length: 1000 * width }, (_, i) => i));
  const names = [
    { name: "a", width: 2 },
    { name: "b", width: 1 },
  ];
  const source = { name: "t", rows: 1000, columns: names, chunks: () => [{ rows: 1000, keys, columns }] };
  await saveCheckpoint(path, { tables: [source] }, { maxFileBytes: 4200 });
  await using checkpoint = await openCheckpoint(path);
  const table = checkpoint.table("t");
  const read = async (...range: Parameters<typeof table.chunks>): Promise<{ keys: number[]; columns: number[][] }> => {
    const all = { keys: [] as number[], columns: [] as number[][] };
    for await (const chunk of table.chunks(...range)) {
      expect(chunk.keys.length).toBe(chunk.rows);
      all.keys.push(...Array.from(chunk.keys, Number));
      for (const [i, column] of chunk.columns.entries()) all.columns[i] = [...(all.columns[i] ?? []), ...column];
    }
    return all;
  };
  expect((await read(70, { columns: ["b"] })).columns).toEqual([[...columns[1]!]]);
  expect((await read(70, { columns: [] })).keys).toEqual(Array.from(keys, Number));
  for (const [first, end] of [
    [0, 1],
    [190, 480],
    [999, 1000],
    [500, 500],
  ] as const) {
    const part = await read(64, { columns: ["b", "a"], first, end });
    expect(part.keys).toEqual(Array.from(keys.subarray(first, end), Number));
    if (end > first) expect(part.columns).toEqual([[...columns[0]!.subarray(2 * first, 2 * end)], part.columns[1]]);
  }
  await expect(read(64, { columns: ["c"] })).rejects.toThrow('it has no column "c"');
  rmSync(folder, { recursive: true });
});
