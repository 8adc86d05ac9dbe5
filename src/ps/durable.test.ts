// State that survives its process, by snapshots and journals: what comes back, and what damage does.
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { afterAll, expect, test } from "vitest";
import { Heap } from "../memory/index.ts";
import type { AppliedCalls } from "../net/index.ts";
import { adam, sgd } from "../optim/index.ts";
import { randomFrom } from "../program/testing.ts";
import { joinParts } from "./body.ts";
import { DurablePartition, type Restored } from "./durable.ts";
import { Partition } from "./partition.ts";
import { encodeJson, type InspectReply } from "./requests.ts";
import type { ServedModel } from "./spec.ts";
import { TestClient, testModel } from "./testing-partition.ts";

const folder = mkdtempSync(join(tmpdir(), "flotilla-ps-durable-"));
let folders = 0;
const newFolder = (): string => join(folder, `${folders++}`);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const fail = (error: Error): void => {
  throw error;
};

async function open(folder: string): Promise<{ partition: Partition; durable: DurablePartition; restored?: Restored }> {
  const partition = new Partition(Heap.create({ maxBytes: 2 ** 27 }), { partition: 0, spillFolder: folder });
  return { partition, ...(await DurablePartition.open(partition, { folder, onFailure: fail })) };
}

/** A table and a parameter whose numbers count what was pushed. */
const counting = (storage: object, more: object = {}): ServedModel =>
  testModel({
    optimizer: sgd({ lr: 1 }),
    dims: [2],
    init: "zeros",
    dense: [{ name: "w", length: 4 }],
    storage,
    ...more,
  });

test.each([
  ["a journal", { durability: "journal", fsync: false }],
  ["a journal that is cut by snapshots", { durability: "journal", fsync: true, journalBytes: 2000 }],
  ["a journal, with rows on disk", { durability: "journal", fsync: false, journalBytes: 20_000, maxBytes: 20_000 }],
] as const)("%s brings everything back, optimizer state and counts, too", async (_, storage) => {
  const random = randomFrom(9);
  const table = {
    accessor: { kind: "ctr" } as never,
    admission: { f1: { kind: "probability", probability: 0.5 } } as never,
  };
  const model = testModel({
    optimizer: adam({ lr: 0.1 }),
    dims: [2, 3],
    table,
    dense: [{ name: "w", length: 20 }],
    storage,
  });
  const own = newFolder();
  const plain = new Partition(Heap.create({ maxBytes: 2 ** 27 }), { partition: 0 });
  const expected = new TestClient(plain.client(), { ...model });
  await expected.define();
  const keys = Array.from({ length: 600 }, (_, i) => BigInt(i + 1));
  for (let life = 0; life < 4; life++) {
    const { partition, durable, restored } = await open(own);
    expect(restored?.steps).toBe(life === 0 ? undefined : 6 * life);
    const client = new TestClient(partition.client(), model);
    await client.define();
    for (let step = 0; step < 6; step++) {
      const chosen = keys.filter(() => random() < 0.3);
      const gradients = new Map(chosen.map((key) => [key, Array.from({ length: 5 }, () => random() - 0.5)]));
      for (const each of [client, expected]) await each.push(gradients);
      if (step === 3) for (const each of [client, expected]) await each.json("shrink");
    }
    for (const key of keys.slice(0, 40)) {
      const row = { table: 0, key: `${key}` };
      const [found, wanted] = [await client.json<object>("inspect", row), await expected.json<object>("inspect", row)];
      expect({ ...found, spilled: false }).toEqual(wanted);
    }
    expect(await client.pull(keys, { readOnly: true })).toEqual(await expected.pull(keys, { readOnly: true }));
    await durable.close();
  }
});

test("a journal that was cut anywhere in its last record loses this record alone", async () => {
  const own = newFolder();
  const model = counting({ durability: "journal", fsync: false });
  const { partition, durable } = await open(own);
  const client = new TestClient(partition.client(), model);
  await client.define();
  const journal = join(own, readdirSync(own).find((name) => name.startsWith("journal-"))!);
  const sizes: number[] = [];
  for (let i = 0; i < 3; i++) {
    await client.push(new Map([[BigInt(i + 1), [-1, -1]]]));
    sizes.push(statSync(journal).size);
  }
  await durable.close();
  const whole = readFileSync(journal);
  for (let cut = sizes[1]!; cut < sizes[2]!; cut += 7) {
    writeFileSync(journal, whole);
    truncateSync(journal, cut);
    const again = await open(own);
    expect(again.restored).toEqual({ steps: 2, records: 2, tornBytes: cut - sizes[1]! });
    await again.durable.close();
    for (const name of readdirSync(own))
      if (name.startsWith("journal-") && join(own, name) !== journal) rmSync(join(own, name));
  }
  const damaged = whole.slice();
  damaged[sizes[1]! + 20]! ^= 1;
  writeFileSync(journal, damaged);
  const torn = await open(own);
  expect(torn.restored).toMatchObject({ steps: 2, records: 2 });
  await torn.durable.close();
  // The same damage in a journal that is not the last is no crash.
  writeFileSync(journal, damaged);
  await expect(open(own)).rejects.toThrow(`is damaged at byte ${sizes[1]}`);
});

test("a partition that ends within its first snapshot begins anew", async () => {
  const own = newFolder();
  const model = counting({ durability: "journal", fsync: false });
  const { partition, durable } = await open(own);
  const defined = new TestClient(partition.client(), model).define();
  const journal = (): string | undefined => readdirSync(own).find((name) => name.startsWith("journal-"));
  while (journal() === undefined) await setImmediate();
  const left = newFolder();
  cpSync(own, left, { recursive: true });
  expect(readdirSync(left)).not.toContain("snapshot");
  await defined;
  await durable.close();
  const again = await open(left);
  expect(again.restored).toBeUndefined();
  const client = new TestClient(again.partition.client(), model);
  await client.define();
  await client.push(new Map([[1n, [-1, -1]]]));
  await again.durable.close();
  const last = await open(left);
  expect(last.restored).toMatchObject({ steps: 1, records: 1 });
  await last.durable.close();
  // What a journal holds needs the snapshot before it.
  rmSync(join(left, "snapshot"), { recursive: true });
  await expect(open(left)).rejects.toThrow(/journal-\d+ has \d+ bytes, but the snapshot before it is gone/);
});

test("calls that come again after a restart are told from new ones", async () => {
  const own = newFolder();
  const model = counting({ durability: "journal", fsync: false });
  const life = async (calls: readonly number[]): Promise<AppliedCalls> => {
    const { partition, durable } = await open(own);
    partition.call("define", encodeJson(model)[0]!, { client: 1n, sequence: 1 });
    const push = joinParts(new TestClient(partition.client(), model).pushParts(new Map([[1n, [-1, 0]]])));
    for (const sequence of calls) await partition.call("push", push, { client: 7n, sequence });
    await durable.close();
    return durable.applied;
  };
  await life([5, 6]);
  await life([9]);
  const { durable, partition } = await open(own);
  for (const sequence of [5, 6, 9]) expect(durable.applied.find(7n, sequence)).toMatchObject({ ok: true });
  for (const sequence of [7, 8, 10]) expect(durable.applied.find(7n, sequence)).toBeUndefined();
  expect(
    new DataView((durable.applied.find(7n, 9) as { body: Uint8Array }).body.slice().buffer).getBigUint64(0, true),
  ).toBe(3n);
  expect(partition.statistics().steps).toBe(3);
  await durable.close();
});

test("by snapshots alone, what came after the last one is lost, and what is there is whole", async () => {
  const own = newFolder();
  const model = counting({ durability: "snapshot", snapshotSeconds: 3600 });
  const { partition, durable } = await open(own);
  const client = new TestClient(partition.client(), model);
  await client.define();
  await client.push(new Map([[1n, [-1, -1]]]));
  await durable.snapshot();
  await client.push(new Map([[1n, [-1, -1]]]));
  await durable.close();
  const again = await open(own);
  expect(again.restored).toEqual({ steps: 1, records: 0, tornBytes: 0 });
  expect(await new TestClient(again.partition.client(), model).pull([1n])).toEqual([[1, 1]]);
  await again.durable.close();
});

test("a delta or daily save is known after a restart, by files or by a scan", async () => {
  const own = newFolder();
  const table = { accessor: { kind: "ctr" } as never };
  const model = counting({ durability: "journal", fsync: false }, { table });
  const statistics: unknown[] = [];
  for (let life = 0; life < 3; life++) {
    const { partition, durable } = await open(own);
    const client = new TestClient(partition.client(), model);
    await client.define();
    statistics.push((await client.json<InspectReply>("inspect", { table: 0, key: "1" })).statistics);
    if (life === 0) await client.push(new Map([[1n, [0, 0]]]), { shows: [20], clicks: [10] });
    if (life === 0) await client.json("scan", { table: 0, mode: "daily" });
    if (life === 1) await client.json("save", { folder: join(own, "saved"), mode: "delta" });
    await durable.close();
  }
  expect(statistics).toEqual([
    undefined,
    { show: 20, click: 10, unseen: 1, delta: 11 },
    { show: 20, click: 10, unseen: 1, delta: 0 },
  ]);
});

test("without durability nothing is written", async () => {
  const own = newFolder();
  const { partition, durable } = await open(own);
  const client = new TestClient(partition.client(), counting({ durability: "none" }));
  await client.define();
  await client.push(new Map([[1n, [-1, -1]]]));
  await durable.close();
  expect(readdirSync(own)).toEqual([]);
});

test("steps of several workers are one record", async () => {
  const own = newFolder();
  const model = counting({ durability: "journal", fsync: false }, { mode: "sync", workers: 3 });
  const { partition, durable } = await open(own);
  const client = new TestClient(partition.client(), model);
  await client.define();
  for (let step = 0; step < 3; step++) {
    await Promise.all(
      [0, 1, 2].map((worker) => client.push(new Map([[BigInt(worker + 1), [-3, 0]]]), { worker, step })),
    );
  }
  // A step that is not complete is not there after a restart: its workers push again.
  void client.push(new Map([[1n, [-3, 0]]]), { worker: 0, step: 3 }).catch(() => {});
  await durable.close();
  const again = await open(own);
  expect(again.restored).toMatchObject({ steps: 3, records: 3 });
  expect((await new TestClient(again.partition.client(), model).pull([1n, 2n, 3n])).flat()).toEqual([3, 0, 3, 0, 3, 0]);
  await again.durable.close();
});

test("a damaged snapshot is refused, not taken for an empty one", async () => {
  const own = newFolder();
  const { partition, durable } = await open(own);
  const client = new TestClient(partition.client(), counting({ durability: "journal", fsync: false }));
  await client.define();
  await durable.close();
  const state = join(own, "snapshot", "state.json");
  writeFileSync(state, readFileSync(state, "utf8").replace('"steps": 0', '"steps": 9'));
  await expect(open(own)).rejects.toThrow("is damaged");
});
