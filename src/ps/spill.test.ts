// Rows on disk: a partition of little memory behaves as one of much, and says how much of it was in memory.
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Heap } from "../memory/index.ts";
import { randomFrom } from "../program/testing.ts";
import { joinParts } from "./body.ts";
import { encodeJson, type InspectReply, type PartitionStatistics, type ScanReply } from "./requests.ts";
import { decodeRows } from "./row-messages.ts";
import { SlabFile } from "./slab-file.ts";
import { type TestClient, testModel, testPartition } from "./testing-partition.ts";

const folder = mkdtempSync(join(tmpdir(), "flotilla-spill-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("a partition with room for a tenth of its rows", () => {
  const table = { accessor: { kind: "ctr" } as never, admission: { f1: { kind: "count", count: 2 } } as never };
  const options = { dims: [6, 3], table };
  const small = testModel({ ...options, storage: { maxBytes: 250_000 } });

  test("pulls, pushes, shrinks, scans and inspects as one with room for all", async () => {
    const random = randomFrom(11);
    const { client, partition } = await testPartition(small, { spillFolder: folder });
    const roomy = await testPartition(testModel(options));
    const keys = Array.from({ length: 12_000 }, (_, i) => BigInt(i + 1) * 7n);
    for (let step = 0; step < 40; step++) {
      // Popular keys come again and again, others once in a while.
      const chosen = [...new Set(Array.from({ length: 900 }, () => keys[Math.floor(12_000 * random() ** 2)]!))];
      const gradients = new Map(chosen.map((key) => [key, Array.from({ length: 9 }, () => random() - 0.5)]));
      const shows = chosen.map(() => 1 + Math.floor(10 * random()));
      for (const each of [client, roomy.client]) await each.push(gradients, { shows });
      const asked = Array.from({ length: 500 }, () => keys[Math.floor(12_000 * random() ** 2)]!);
      const readOnly = step % 2 === 0;
      expect(await client.pull(asked, { readOnly })).toEqual(await roomy.client.pull(asked, { readOnly }));
      if (step % 10 === 9) expect(await client.json("shrink")).toEqual(await roomy.client.json("shrink"));
    }
    const statistics = (await client.json<PartitionStatistics>("statistics")).tables[0]!;
    expect(statistics.rows).toBe((await roomy.client.json<PartitionStatistics>("statistics")).tables[0]!.rows);
    expect(statistics.spilled).toBeGreaterThan(statistics.rows / 2);
    expect(statistics.hitShare).toBeGreaterThan(0.2);
    expect(statistics.hitShare).toBeLessThan(1);
    expect(statistics.diskBytes).toBe(
      readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0),
    );
    expect(partition.state.tables[0]!.stores.reduce((sum, store) => sum + store.rowsBytes, 0)).toBeLessThan(250_000);

    const rowsOf = async (each: TestClient): Promise<unknown> => {
      const { scan, rows } = await each.json<ScanReply>("scan", { table: 0 });
      const reply = await each.client.call("scanRows", encodeJson({ scan, first: 0, rows }));
      await each.client.call("endScan", encodeJson({ scan }));
      return decodeRows(joinParts([reply]));
    };
    expect(await rowsOf(client)).toEqual(await rowsOf(roomy.client));
    const found = await Promise.all(
      keys.slice(0, 300).map((key) => client.json<InspectReply>("inspect", { table: 0, key: `${key}` })),
    );
    const expected = await Promise.all(
      keys.slice(0, 300).map((key) => roomy.client.json<InspectReply>("inspect", { table: 0, key: `${key}` })),
    );
    expect(found.map((row) => ({ ...row, spilled: false }))).toEqual(expected);
    expect(found.some(({ spilled }) => spilled)).toBe(true);
    partition.dispose();
    expect(readdirSync(folder)).toEqual([]);
  });

  test("takes the memory of a moving set of keys again and again", async () => {
    const { client, partition } = await testPartition(small, { spillFolder: folder });
    let bytes = 0;
    for (let round = 0; round < 40; round++) {
      const keys = Array.from({ length: 2000 }, (_, i) => BigInt(1 + i + round * 2000));
      await client.push(new Map(keys.map((key) => [key, Array(9).fill(1)])));
      if (round === 10) bytes = partition.state.heap.liveBytes;
    }
    // What grows is the index of the rows on disk alone: 60,000 of up to 32 bytes a key, twice while it doubles.
    expect(partition.state.heap.liveBytes - bytes).toBeLessThan(6e6);
    const first = (await client.pull([1n, 2000n])).map((row) => row.slice(0, 6));
    const fresh = await testPartition(testModel(options));
    await fresh.client.push(new Map([1n, 2000n].map((key) => [key, Array(9).fill(1)])));
    expect(first).toEqual((await fresh.client.pull([1n, 2000n])).map((row) => row.slice(0, 6)));
    partition.dispose();
  });

  test("without spill it refuses new rows when the heap is full", async () => {
    const model = testModel({ ...options, storage: { spill: false } });
    const { client } = await testPartition(model, { spillFolder: folder, heap: Heap.create({ maxBytes: 2 ** 25 }) });
    const fill = async (): Promise<void> => {
      for (let first = 1; ; first += 20_000) {
        const keys = Array.from({ length: 20_000 }, (_, i) => BigInt(first + i));
        await client.push(new Map(keys.map((key) => [key, Array(9).fill(1)])));
      }
    };
    await expect(fill()).rejects.toMatchObject({ code: "full" });
  });
});

test("a slab file behaves as a map, through any order of writes and removals", () => {
  const heap = Heap.create({ maxBytes: 2 ** 26 });
  const random = randomFrom(5);
  const file = new SlabFile(heap, join(folder, "map.rows"), 32);
  const capacity = 4000;
  const [records, numbers, places, keys] = [48, 4, 4, 8].map((bytes) => heap.alloc(bytes * capacity)) as [
    number,
    number,
    number,
    number,
  ];
  const expected = new Map<bigint, number>();
  for (let round = 0; round < 60; round++) {
    const fresh = [...new Set(Array.from({ length: 500 }, () => BigInt(1 + Math.floor(random() * 8000))))].filter(
      (key) => !expected.has(key),
    );
    for (const [i, key] of fresh.entries()) {
      heap.u64(records + 48 * i, 1)[0] = key;
      heap.f32(records + 48 * i + 16, 8).fill(round);
      expected.set(key, round);
    }
    file.write(records, fresh.length, numbers);
    expect(file.count).toBe(expected.size);
    const asked = Array.from({ length: 800 }, () => BigInt(1 + Math.floor(random() * 8000)));
    const distinct = [...new Set(asked)];
    heap.u64(keys, distinct.length).set(distinct);
    heap.u32(places, distinct.length).set(distinct.map((_, i) => i));
    const found = file.find(keys, places, distinct.length, numbers);
    expect([...heap.u64(keys, found)]).toEqual(distinct.filter((key) => expected.has(key)));
    expect([...heap.u32(places, found)]).toEqual(distinct.flatMap((key, i) => (expected.has(key) ? [i] : [])));
    file.read(numbers, found, records);
    for (const [i, key] of heap.u64(keys, found).entries()) {
      expect(heap.u64(records + 48 * i, 1)[0]).toBe(key);
      expect(heap.f32(records + 48 * i + 16, 8)[7]).toBe(expected.get(key));
    }
    file.remove(keys, 8, numbers, found);
    for (const key of heap.u64(keys, found)) expected.delete(key);
  }
  expect(expected.size).toBeGreaterThan(1000);
  expect(file.diskBytes).toBe(statSync(join(folder, "map.rows")).size);
  file.dispose();
});
