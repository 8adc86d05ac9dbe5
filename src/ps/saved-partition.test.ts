// Saving and loading: at any number of partitions, into a single process's table and out of its checkpoint.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { openCheckpoint, saveCheckpoint } from "../checkpoint/index.ts";
import { Heap } from "../memory/index.ts";
import { randomFrom } from "../program/testing.ts";
import { Table } from "../table/index.ts";
import { joinParts } from "./body.ts";
import { partFolder, partsWithKeysOf } from "./part-folders.ts";
import { Partition } from "./partition.ts";
import { partitionOf } from "./placement.ts";
import { encodeJson, type InspectReply, type SaveReply, type ScanReply } from "./requests.ts";
import { decodeRows, encodeRows } from "./row-messages.ts";
import { TestClient, testModel } from "./testing-partition.ts";

const folder = mkdtempSync(join(tmpdir(), "flotilla-ps-saved-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const table = { accessor: { kind: "ctr" } as never, admission: { f1: { kind: "count", count: 3 } } as never };
const keys = Array.from({ length: 3000 }, (_, i) => BigInt(i + 1) * 0x9e3779b97f4an);

class Cluster {
  readonly clients: readonly TestClient[];

  constructor(partitions: number) {
    const model = testModel({ dims: [3, 2], table, partitions });
    this.clients = Array.from({ length: partitions }, (_, partition) => {
      const own = new Partition(Heap.create({ maxBytes: 2 ** 26 }), { partition });
      return new TestClient(own.client(), model);
    });
  }

  async define(): Promise<void> {
    for (const client of this.clients) await client.define();
  }

  of(key: bigint): TestClient {
    return this.clients[partitionOf(key, this.clients.length)]!;
  }

  async train(): Promise<void> {
    const random = randomFrom(2);
    for (let step = 0; step < 4; step++) {
      const gradients = new Map(
        keys.filter(() => random() < 0.6).map((key) => [key, Array.from({ length: 5 }, () => random() - 0.5)]),
      );
      for (const client of this.clients) {
        const own = [...gradients].filter(([key]) => this.of(key) === client);
        if (own.length > 0) await client.push(new Map(own));
      }
    }
  }

  /** Every key's row with state and statistics. */
  async rows(): Promise<InspectReply[]> {
    const shown = keys.filter((_, i) => i % 17 === 0);
    return Promise.all(shown.map((key) => this.of(key).json<InspectReply>("inspect", { table: 0, key: `${key}` })));
  }

  async pulled(): Promise<number[][]> {
    return (await Promise.all(keys.map((key) => this.of(key).pull([key], { readOnly: true })))).flat();
  }
}

describe.each([
  [1, 3],
  [3, 1],
  [2, 5],
])("from %d partitions to %d", (from, to) => {
  test("parts in files", async () => {
    const [before, after] = [new Cluster(from), new Cluster(to)];
    await before.define();
    await before.train();
    const target = join(folder, `${from}-${to}`);
    let saved = 0;
    for (const client of before.clients) saved += (await client.json<SaveReply>("save", { folder: target })).rows[0]!;
    await after.define();
    for (const client of after.clients) {
      await client.json("load", { folder: target });
    }
    expect(await after.pulled()).toEqual(await before.pulled());
    expect(await after.rows()).toEqual(await before.rows());
    expect(saved).toBeGreaterThan(2500);
  });

  test("rows over the wire, every chunk to every partition", async () => {
    const [before, after] = [new Cluster(from), new Cluster(to)];
    await before.define();
    await before.train();
    await after.define();
    for (const client of before.clients) {
      for (const statistics of [true, false]) {
        const { scan, rows } = await client.json<ScanReply>("scan", { table: 0, statistics });
        for (let first = 0; first < rows; first += 700) {
          const reply = await client.client.call("scanRows", encodeJson({ scan, first, rows: 700 }));
          const chunk = decodeRows(joinParts([reply]));
          for (const other of after.clients) await other.client.call("putRows", encodeRows(chunk));
        }
      }
    }
    expect(await after.pulled()).toEqual(await before.pulled());
    expect(await after.rows()).toEqual(await before.rows());
  });
});

test("only parts with keys of a partition are read", () => {
  for (const partitions of [1, 2, 3, 5, 8]) {
    for (const parts of [1, 2, 3, 7, 16]) {
      const found = Array.from({ length: partitions }, () => new Set<number>());
      for (const key of keys) found[partitionOf(key, partitions)]!.add(partitionOf(key, parts));
      const ranges = found.map((_, partition) => partsWithKeysOf({ partition, partitions }, parts));
      for (const [partition, { first, last }] of ranges.entries()) {
        const wanted = Array.from({ length: last - first + 1 }, (_, i) => first + i);
        expect([...found[partition]!].sort((a, b) => a - b)).toEqual(wanted);
      }
      expect(ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0)).toBeLessThan(partitions + parts);
    }
  }
});

test("a single process loads what a partition saved, and a partition what a single process saved", async () => {
  const model = testModel({ dims: [3, 2] });
  const { spec } = model.tables[0]!;
  const partition = new Partition(Heap.create({ maxBytes: 2 ** 26 }), { partition: 0 });
  const client = new TestClient(partition.client(), model);
  await client.define();
  await client.push(new Map(keys.map((key, i) => [key, [i, 1, 2, 3, 4]])));
  await client.json("save", { folder: join(folder, "whole") });
  const heap = Heap.create({ maxBytes: 2 ** 26 });
  const single = Table.create(heap, spec);
  await using saved = await openCheckpoint(partFolder(join(folder, "whole"), 0, 1));
  for await (const chunk of saved.table("ids").chunks()) single.load(chunk);
  await saveCheckpoint(join(folder, "single"), { tables: [single.snapshot()] });
  const other = new Partition(Heap.create({ maxBytes: 2 ** 26 }), { partition: 0 });
  const again = new TestClient(other.client(), model);
  await again.define();
  await again.json("load", { folder: join(folder, "single") });
  expect(await again.pull(keys)).toEqual(await client.pull(keys));
  const row = { table: 0, key: `${keys[5]}` };
  expect(await again.json("inspect", row)).toEqual(await client.json("inspect", row));
});

test("a checkpoint of other columns is refused by name", async () => {
  const partition = new Partition(Heap.create({ maxBytes: 2 ** 26 }), { partition: 0 });
  const client = new TestClient(partition.client(), testModel({ dims: [3] }));
  await client.define();
  await expect(client.json("load", { folder: join(folder, "single") })).rejects.toThrow(
    'table "ids" of the checkpoint does not fit',
  );
  await expect(client.json("load", { folder: join(folder, "nowhere") })).rejects.toThrow("there is no such folder");
});
