// Exports of what partitions and single processes saved, read back by other readers and held against the live partitions.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parquetMetadata, parquetReadObjects } from "hyparquet";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SafetensorsFile, saveCheckpoint } from "../../checkpoint/index.ts";
import { Heap } from "../../memory/index.ts";
import { randomFrom } from "../../program/testing.ts";
import { joinParts } from "../body.ts";
import { partFolder } from "../part-folders.ts";
import { Partition } from "../partition.ts";
import { partitionOf } from "../placement.ts";
import { encodeJson, type SaveMode, type ScanReply } from "../requests.ts";
import { decodeRows } from "../row-messages.ts";
import { TestClient, testModel } from "../testing-partition.ts";
import { exportTable, findRows, openTables } from "./index.ts";
import { defaultSaveRules } from "./save-rules.ts";

const folder = mkdtempSync(join(tmpdir(), "flotilla-ps-export-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const PARTITIONS = 3;
const KEYS = 900;
const saved = join(folder, "saved");
const keys = Array.from({ length: KEYS }, (_, i) => BigInt.asUintN(64, BigInt(i + 1) * 0x9e3779b97f4a7c15n));
const model = testModel({
  ...{ dims: [3, 1], partitions: PARTITIONS, dense: [{ name: "w", length: 5 }] },
  table: { accessor: { kind: "ctr" } as never, admission: { f1: { kind: "count", count: 4 } } as never },
});
const clients = Array.from({ length: PARTITIONS }, (_, partition) => {
  const own = new Partition(Heap.create({ maxBytes: 2 ** 26 }), { partition });
  return new TestClient(own.client(), model);
});

/** Shows and clicks such that every rule keeps some rows and drops others. */
beforeAll(async () => {
  const random = randomFrom(3);
  for (const client of clients) await client.define();
  for (let step = 0; step < 4; step++) {
    for (const [partition, client] of clients.entries()) {
      const own = keys.filter((key) => partitionOf(key, PARTITIONS) === partition && random() < 0.7);
      const shows = own.map(() => 1 + Math.floor(random() * 8));
      const clicks = shows.map((show) => Math.floor(random() * random() * show * 0.6));
      await client.push(new Map(own.map((key) => [key, [1, 2, 3, 4].map((n) => n * (random() - 0.5))])), {
        shows,
        clicks,
      });
    }
    if (step < 3)
      for (const client of clients) await client.json("scan", { table: 0, mode: step === 2 ? "delta" : "daily" });
  }
  for (const client of clients) await client.json("save", { folder: saved });
});

interface Row {
  readonly key: bigint;
  readonly f0: readonly number[];
  readonly f1: number;
}

/** What live servers give for a mode, by key. */
async function live(mode: SaveMode): Promise<Row[]> {
  const rows: Row[] = [];
  for (const client of clients) {
    const reply = await client.json<ScanReply>("scan", { table: 0, mode });
    const at = (name: string): number => reply.columns.findIndex((column) => column.name === name);
    const body = await client.client.call("scanRows", encodeJson({ scan: reply.scan, first: 0, rows: KEYS }));
    const { keys, columns } = decodeRows(joinParts([body]));
    for (const [i, key] of keys.entries()) {
      const f0 = [...columns[at("f0")]!.values.subarray(3 * i, 3 * i + 3)];
      rows.push({ key, f0, f1: columns[at("f1")]!.values[i]! });
    }
  }
  return rows;
}

async function parquet(file: string): Promise<Record<string, unknown>[]> {
  return parquetReadObjects({ file: Uint8Array.from(readFileSync(file)).buffer });
}

const toFile = async (options: Partial<Parameters<typeof exportTable>[1]>, from = saved) => {
  await using open = await openTables(from, { verify: true });
  return await exportTable(open, { file: join(folder, "out"), format: "parquet", ...options });
};

describe.each(["base", "all", "daily", "delta"] as const)("mode %s", (mode) => {
  test("holds the rows that servers give", async () => {
    const file = join(folder, `${mode}.parquet`);
    const exported = await toFile({ file, mode });
    const tensors = join(folder, `${mode}.safetensors`);
    expect(await toFile({ file: tensors, mode, format: "safetensors" })).toEqual(exported);
    const expected = await live(mode);
    expect(await parquet(file)).toEqual(expected);
    expect(exported).toEqual({ table: "ids", rows: expected.length, columns: ["f0", "f1"] });
    if (mode === "all" || mode === "daily") expect(expected.length).toBeGreaterThan(800);
    else {
      expect(expected.length).toBeGreaterThan(100);
      expect(expected.length).toBeLessThan(700);
    }
    await using written = await SafetensorsFile.open(tensors);
    const [read, f0] = [new BigUint64Array(expected.length), new Float32Array(3 * expected.length)];
    await written.read("keys", read);
    await written.read("f0", f0);
    expect([...read]).toEqual(expected.map(({ key }) => key));
    expect([...f0]).toEqual(expected.flatMap((row) => row.f0));
    expect(written.metadata).toEqual({ table: "ids", mode });
  });
});

test("the rules are those of accessors", () => {
  const { accessor } = testModel({ table: { accessor: { kind: "ctr" } as never } }).tables[0]!;
  expect(accessor).toMatchObject(defaultSaveRules);
});

test("other rules choose other rows", async () => {
  const rows = async (rules: object) => (await toFile({ mode: "base", rules })).rows;
  expect(await rows({ saveScore: 0, keepUnseen: 100 })).toBe((await toFile({})).rows);
  expect(await rows({ saveScore: 1e6 })).toBe(0);
  expect(await rows({ saveScore: 3 })).toBeLessThan(await rows({}));
});

test("columns are chosen: optimizer state, statistics, which daily saves make a day older", async () => {
  const file = join(folder, "columns.parquet");
  const columns = ["unseen", "f0.sum", "show"];
  await toFile({ file, columns });
  const all = await parquet(file);
  await toFile({ file, columns, mode: "daily" });
  const daily = await parquet(file);
  expect(Object.keys(all[0]!)).toEqual(["key", ...columns]);
  expect(daily).toEqual(all.map((row) => ({ ...row, unseen: (row.unseen as number) + 1 })));
  expect(new Set(all.map(({ unseen }) => unseen)).size).toBeGreaterThan(1);
  await expect(toFile({ columns: ["f2"] })).rejects.toThrow(
    'table "ids" has no column "f2"; it has f0, f0.sum, f1, f1.sum, show, click, unseen, delta',
  );
});

test("rows by key, with their statistics", async () => {
  await using open = await openTables(saved);
  const wanted = [keys[7]!, 12345n, keys[500]!];
  const found = await findRows(open.table(), wanted);
  const inspected = await Promise.all(
    wanted.map((key) => clients[partitionOf(key, PARTITIONS)]!.json<object>("inspect", { table: 0, key: `${key}` })),
  );
  for (const [i, row] of found.entries()) {
    const { columns, found, statistics } = inspected[i] as (typeof inspected)[number] & typeof row;
    expect(row).toMatchObject({ key: wanted[i], found });
    // Fields that a row has not earned are saved as zeros.
    for (const [name, values] of Object.entries(columns)) expect(row.columns[name]).toEqual(values);
    if (statistics !== undefined) expect(Object.keys(row.statistics!)).toEqual(Object.keys(statistics));
  }
});

test("sizes", async () => {
  await using open = await openTables(saved);
  const { rows, bytes, columns, hasStatistics } = open.table("ids");
  expect([rows, hasStatistics, columns.length]).toEqual([(await live("all")).length, true, 4]);
  expect(bytes).toBeGreaterThan(rows * (8 + 4 * 8 + 8 + 16) - 1);
  expect(open.tensors).toEqual({ count: 2, bytes: 40 });
});

describe("a checkpoint of a single process", () => {
  const single = join(folder, "single");
  const source = (name: string) => ({
    ...{ name, rows: 2, columns: [{ name: "v", width: 2 }] },
    chunks: () => [{ rows: 2, keys: BigUint64Array.of(9n, 4n), columns: [Float32Array.of(1, 2, 3, 4)] }],
  });

  test("is exported in its order; without statistics only all rows", async () => {
    await saveCheckpoint(single, { tables: [source("ids")] });
    const file = join(folder, "single.parquet");
    await toFile({ file }, single);
    expect(await parquet(file)).toEqual([
      { key: 9n, v: [1, 2] },
      { key: 4n, v: [3, 4] },
    ]);
    await expect(toFile({ file, mode: "base" }, single)).rejects.toThrow(
      'the rows of table "ids" have no statistics, which mode "base" goes by',
    );
    expect(await parquet(file)).toHaveLength(2);
    expect(readdirSync(folder).filter((name) => name.includes(".tmp"))).toEqual([]);
  });

  test("of several tables needs a name", async () => {
    await saveCheckpoint(single, { tables: [source("a"), source("b")] });
    await expect(toFile({}, single)).rejects.toThrow("has 2 tables: a, b; name one");
    await expect(toFile({ table: "c" }, single)).rejects.toThrow('has no table "c"; it has a, b');
    expect((await toFile({ table: "b" }, single)).rows).toBe(2);
  });
});

test("lacking and mixed parts are refused by name", async () => {
  const some = join(folder, "some");
  const save = async (partition: number, partitions: number) =>
    saveCheckpoint(partFolder(some, partition, partitions), {});
  await save(0, 3);
  await save(2, 3);
  await expect(openTables(some)).rejects.toThrow("lacks part 2 of 3; copy the parts that other servers saved");
  await save(0, 2);
  await expect(openTables(some)).rejects.toThrow("has parts of several saves, of 2 and of 3 partitions");
  await expect(openTables(join(folder, "nowhere"))).rejects.toThrow("there is no such folder");
  expect(existsSync(join(folder, "nowhere"))).toBe(false);
});

const python = spawnSync("python3", ["-c", "import pyarrow.parquet"]);
test.skipIf(python.status !== 0)("pyarrow reads an export (needs pyarrow)", async () => {
  const file = join(folder, "arrow.parquet");
  await toFile({ file });
  const script =
    "import sys, pyarrow.parquet as pq; t = pq.read_table(sys.argv[1]); print(t.num_rows, t.column('key')[0])";
  const { stdout } = spawnSync("python3", ["-c", script, file], { encoding: "utf8" });
  const { num_rows } = parquetMetadata(Uint8Array.from(readFileSync(file)).buffer);
  expect(stdout.trim()).toBe(`${num_rows} ${(await parquet(file))[0]!.key}`);
});
