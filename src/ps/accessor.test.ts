// Statistics of rows and what follows from them: admission, the daily shrink, the four save modes.
import { describe, expect, test } from "vitest";
import { sgd } from "../optim/index.ts";
import { joinParts } from "./body.ts";
import {
  encodeJson,
  type InspectReply,
  type PartitionStatistics,
  type ScanReply,
  type ShrinkReply,
} from "./requests.ts";
import { decodeRows } from "./row-messages.ts";
import type { ServedModelOptions } from "./spec.ts";
import { type TestClient, testModel, testPartition } from "./testing-partition.ts";

type TableOptions = Partial<NonNullable<ServedModelOptions["tables"]>[number]>;

const served = (table: TableOptions, dims: readonly number[] = [2]): Promise<{ client: TestClient }> =>
  testPartition(testModel({ optimizer: sgd({ lr: 1 }), dims, table }));
const statistics = async (client: TestClient) => (await client.json<PartitionStatistics>("statistics")).tables[0]!;
const ones = (keys: readonly bigint[], width = 2): Map<bigint, number[]> =>
  new Map(keys.map((key) => [key, Array(width).fill(1)]));

async function scanned(
  client: TestClient,
  request: object,
): Promise<{ keys: bigint[]; columns: Record<string, number[]> }> {
  const { scan, rows, columns } = await client.json<ScanReply>("scan", { table: 0, ...request });
  const keys: bigint[] = [];
  const values = columns.map((): number[] => []);
  for (let first = 0; first < rows; first += 3) {
    const reply = await client.client.call("scanRows", encodeJson({ scan, first, rows: 3 }));
    const chunk = decodeRows(joinParts([reply]));
    keys.push(...chunk.keys);
    for (const [i, column] of chunk.columns.entries()) values[i]!.push(...column.values);
  }
  await client.client.call("endScan", encodeJson({ scan }));
  return { keys, columns: Object.fromEntries(columns.map(({ name }, i) => [name, values[i]!])) };
}

describe("admission", () => {
  test("by count: weights begin with the n-th show; until then pulls give zeros and gradients are dropped", async () => {
    const { client } = await served({ admission: { kind: "count", count: 3 } });
    await client.push(ones([1n, 2n]), { shows: [1, 3] });
    expect(await statistics(client)).toMatchObject({ rows: 1, candidates: 1 });
    await client.push(ones([1n]));
    expect((await client.pull([1n]))[0]).toEqual([0, 0]);
    expect((await client.json<InspectReply>("inspect", { table: 0, key: "1" })).found).toBe(false);
    await client.push(ones([1n]));
    const [one, two] = await client.pull([1n, 2n]);
    expect([one, two].flat().every((x) => x !== 0)).toBe(true);
    expect(await statistics(client)).toMatchObject({ rows: 2, candidates: 0 });
  });

  test("by score of single fields: the others train from the first push", async () => {
    const { client } = await served(
      { accessor: { kind: "ctr" }, admission: { f1: { kind: "score", score: 10 } } },
      [1, 3],
    );
    const key = [5n];
    await client.push(ones(key, 4), { shows: [40], clicks: [5] });
    const [before] = await client.pull(key);
    expect(before![0]).not.toBe(0);
    expect(before!.slice(1)).toEqual([0, 0, 0]);
    // Score 0.1 · 35 + 5 = 8.5; with 15 shows more 10.
    await client.push(ones(key, 4), { shows: [15] });
    const [after] = await client.pull(key);
    expect(after!.slice(1).every((x) => x !== 0)).toBe(true);
    expect(after![0]).toBeCloseTo(before![0]! - 1, 5);
  });

  test("by chance: about that share of new keys a push, the same on every run, and admitted ones stay", async () => {
    const keys = Array.from({ length: 4000 }, (_, i) => BigInt(i + 1));
    const run = async (): Promise<number[]> => {
      const { client } = await served({ admission: { kind: "probability", probability: 0.25 } });
      const counts: number[] = [];
      for (let push = 0; push < 3; push++) {
        await client.push(ones(keys));
        counts.push((await statistics(client)).rows);
      }
      return counts;
    };
    const counts = await run();
    expect(await run()).toEqual(counts);
    for (const [i, count] of counts.entries())
      expect(Math.abs(count / 4000 - (1 - 0.75 ** (i + 1)))).toBeLessThan(0.03);
  });

  test("never with chance 0, always with chance 1", async () => {
    for (const probability of [0, 1]) {
      const { client } = await served({ admission: { kind: "probability", probability } });
      await client.push(ones([1n, 2n, 3n]));
      expect((await statistics(client)).rows).toBe(3 * probability);
    }
  });
});

describe("shrink", () => {
  test("decays shows and clicks, drops rows of low score and rows not seen for long, with the fields they had earned", async () => {
    const { client } = await served(
      { accessor: { kind: "ctr", dropUnseen: 2 }, admission: { f1: { kind: "score", score: 1 } } },
      [1, 1],
    );
    await client.push(ones([1n, 2n, 3n]), { shows: [100, 1, 50], clicks: [10, 0, 0] });
    expect(await client.json<ShrinkReply>("shrink")).toEqual({ dropped: 1, rows: 2 });
    const row = await client.json<InspectReply>("inspect", { table: 0, key: "1" });
    expect(row.statistics!.show).toBeCloseTo(98, 4);
    expect(row.statistics!.click).toBeCloseTo(9.8, 4);
    for (let day = 0; day < 3; day++) await scanned(client, { mode: "daily" });
    await client.push(ones([3n]), { shows: [0] });
    expect(await client.json<ShrinkReply>("shrink")).toEqual({ dropped: 1, rows: 1 });
    expect((await client.json<InspectReply>("inspect", { table: 0, key: "1" })).columns).toEqual({});
    expect(await statistics(client)).toMatchObject({ rows: 1, candidates: 0 });
  });

  test("does nothing without an accessor", async () => {
    const { client } = await served({});
    await client.push(ones([1n]));
    expect(await client.json<ShrinkReply>("shrink")).toEqual({ dropped: 0, rows: 1 });
  });
});

describe("save modes", () => {
  test("all, base and delta hold what they say; a delta begins gains anew; daily makes rows older", async () => {
    const { client } = await served({ accessor: { kind: "ctr" } });
    // Scores 0.1, 1.5, 10.
    await client.push(ones([9n, 4n, 7n]), { shows: [1, 15, 10], clicks: [0, 0, 10] });
    expect((await scanned(client, { mode: "all" })).keys).toEqual([4n, 7n, 9n]);
    expect((await scanned(client, { mode: "base" })).keys).toEqual([4n, 7n]);
    expect((await scanned(client, { mode: "delta" })).keys).toEqual([4n, 7n]);
    expect((await scanned(client, { mode: "delta" })).keys).toEqual([]);
    await client.push(ones([4n, 7n]), { shows: [2, 3] });
    expect((await scanned(client, { mode: "delta" })).keys).toEqual([7n]);
    for (let day = 0; day < 17; day++) await scanned(client, { mode: "daily" });
    expect((await scanned(client, { mode: "base" })).keys).toEqual([]);
    await client.push(ones([4n]));
    expect((await scanned(client, { mode: "base" })).keys).toEqual([4n]);
  });

  test("scans that nobody ends make room for others", async () => {
    const { client } = await served({});
    await client.push(ones([1n, 2n]));
    const first = await client.json<ScanReply>("scan", { table: 0 });
    const second = await client.json<ScanReply>("scan", { table: 0 });
    const read = ({ scan }: ScanReply): Promise<Uint8Array> =>
      client.client.call("scanRows", encodeJson({ scan, first: 0, rows: 2 }));
    for (let i = 0; i < 15; i++) {
      await read(first);
      await client.json<ScanReply>("scan", { table: 0 });
    }
    expect(decodeRows(joinParts([await read(first)])).keys).toEqual(BigUint64Array.of(1n, 2n));
    await expect(read(second)).rejects.toThrow(`there is no scan ${second.scan} any more`);
  });

  test("columns are those of checkpoints, and statistics come apart", async () => {
    const { client } = await testPartition(testModel({ dims: [2, 1], table: { accessor: { kind: "ctr" } as never } }));
    await client.push(
      new Map([
        [3n, [1, 2, 3]],
        [2n, [4, 5, 6]],
      ]),
      { shows: [7, 8], clicks: [1, 2] },
    );
    const { keys, columns } = await scanned(client, {});
    expect(keys).toEqual([2n, 3n]);
    expect(Object.keys(columns)).toEqual(["f0", "f0.sum", "f1", "f1.sum"]);
    expect(columns["f0.sum"]).toEqual([16, 25, 1, 4]);
    expect(columns.f0).toEqual((await client.pull([2n, 3n])).flatMap((row) => row.slice(0, 2)));
    const own = await scanned(client, { statistics: true });
    expect(own.columns).toMatchObject({ show: [8, 7], click: [2, 1], unseen: [0, 0] });
  });
});
