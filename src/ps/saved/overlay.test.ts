// Deltas laid over a base: what partitions save while rows go on to change, against what a base holds at the end.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parquetReadObjects } from "hyparquet";
import { afterAll, beforeAll, expect, test } from "vitest";
import { writeSafetensors } from "../../checkpoint/index.ts";
import { Heap } from "../../memory/index.ts";
import { randomFrom } from "../../program/testing.ts";
import { Partition } from "../partition.ts";
import { partitionOf } from "../placement.ts";
import type { SaveMode } from "../requests.ts";
import { TestClient, testModel } from "../testing-partition.ts";
import { exportTable, openTables } from "./index.ts";

const folder = mkdtempSync(join(tmpdir(), "flotilla-ps-overlay-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const PARTITIONS = 3;
const keys = Array.from({ length: 900 }, (_, i) => BigInt.asUintN(64, BigInt(i + 1) * 0x9e3779b97f4a7c15n));

async function parquet(file: string): Promise<Record<string, unknown>[]> {
  return parquetReadObjects({ file: Uint8Array.from(readFileSync(file)).buffer });
}

const layered = testModel({
  ...{ dims: [3, 1], partitions: PARTITIONS },
  table: { accessor: { kind: "ctr", deltaScore: 0.05 } as never },
});
const place = (name: string): string => join(folder, `layers-${name}`);
const saveAll = async (of: readonly TestClient[], name: string, mode: SaveMode): Promise<void> => {
  for (const client of of) await client.json("save", { folder: place(name), mode });
};

/** Base and deltas are saved while rows go on to change; at the end what a base holds then. */
beforeAll(async () => {
  const cluster = Array.from({ length: PARTITIONS }, (_, partition) => {
    const own = new Partition(Heap.create({ maxBytes: 2 ** 26 }), { partition });
    return new TestClient(own.client(), layered);
  });
  const random = randomFrom(9);
  const train = async (share: number): Promise<void> => {
    for (const [partition, client] of cluster.entries()) {
      const own = keys.filter((key) => partitionOf(key, PARTITIONS) === partition && random() < share);
      const shows = own.map(() => 20);
      const gradients = own.map((key) => [key, [1, 2, 3, 4].map((n) => n * random())] as const);
      await client.push(new Map(gradients), { shows });
    }
  };
  for (const client of cluster) await client.define();
  await train(0.5);
  await saveAll(cluster, "base", "base");
  await saveAll(cluster, "zeroth", "delta");
  for (const name of ["first", "second"]) {
    await train(0.2);
    await saveAll(cluster, name, "delta");
  }
  await saveAll(cluster, "now", "base");
});

const exported = async (name: string, deltas: readonly string[], format: "parquet" | "safetensors" = "parquet") => {
  await using open = await openTables(name);
  await using opened = new AsyncDisposableStack();
  const layers = [];
  for (const delta of deltas) layers.push(opened.use(await openTables(delta)));
  const file = join(folder, `overlaid.${format}`);
  const { rows } = await exportTable(open, { file, format, deltas: layers });
  return { rows, content: format === "parquet" ? await parquet(file) : readFileSync(file).toString("latin1") };
};
const byKey = (a: Record<string, unknown>, b: Record<string, unknown>): number =>
  (a.key as bigint) < (b.key as bigint) ? -1 : 1;

test("are what a base holds now", async () => {
  const now = await exported(place("now"), []);
  const overlaid = await exported(place("base"), [place("first"), place("second")]);
  expect(overlaid).toEqual(now);
  const count = async (name: string): Promise<number> => (await exported(place(name), [])).rows;
  expect(await count("first")).toBeLessThan((await count("base")) / 1.5);
  expect(await count("base")).toBeLessThan(now.rows);
  const wrongOrder = await exported(place("base"), [place("second"), place("first")]);
  expect(wrongOrder.rows).toBe(now.rows);
  expect(wrongOrder.content).not.toEqual(now.content);
});

test("may be exported files, over parts and over files", async () => {
  const files = new Map<string, string>();
  for (const name of ["base", "first", "second"]) {
    await using open = await openTables(place(name));
    files.set(name, join(folder, `${name}.safetensors`));
    await exportTable(open, { file: files.get(name)!, format: "safetensors" });
  }
  const now = (await exported(place("now"), [])).content as Record<string, unknown>[];
  const mixed = await exported(place("base"), [files.get("first")!, place("second")]);
  const all = await exported(files.get("base")!, [files.get("first")!, files.get("second")!]);
  for (const { content } of [mixed, all]) {
    expect((content as Record<string, unknown>[]).toSorted(byKey)).toEqual(now.toSorted(byKey));
  }
  const asTensors = await exported(place("base"), [place("first"), place("second")], "safetensors");
  expect(asTensors).toEqual(await exported(place("now"), [], "safetensors"));
});

test("must have the columns that are wanted", async () => {
  await using open = await openTables(place("base"));
  const file = join(folder, "never.parquet");
  const call = exportTable(open, { file, format: "parquet", deltas: [open], mode: "base" });
  await expect(call).rejects.toThrow('deltas are for mode "all"');
  const strange = join(folder, "strange.safetensors");
  await writeSafetensors(
    strange,
    [
      { name: "keys", dtype: "U64", shape: [1], data: new BigUint64Array(1) },
      { name: "f0", dtype: "F32", shape: [1, 2], data: new Float32Array(2) },
    ],
    { metadata: { table: "ids" } },
  );
  await expect(exported(place("base"), [strange])).rejects.toThrow('table "ids" has no column f0 [3]; it has f0 [2]');
  await writeSafetensors(strange, [{ name: "w", dtype: "F32", shape: [1], data: new Float32Array(1) }]);
  await expect(exported(strange, [])).rejects.toThrow('has no tensor "keys"; it has w');
  expect(existsSync(file)).toBe(false);
});
