// Mode `geo`: every worker is given what others changed, exactly once, in whatever parts it reads.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { adagrad } from "../optim/index.ts";
import { joinParts } from "./body.ts";
import { encodePush } from "./messages.ts";
import { type ChangesPosition, decodeChangesReply, encodeChanges, seenNothing } from "./row-messages.ts";
import { type TestClient, testModel, testPartition } from "./testing-partition.ts";

describe("geo", () => {
  const model = testModel({ mode: "geo", workers: 3, dims: [2], init: "zeros", dense: [{ name: "w", length: 4 }] });

  /** A worker that keeps what it was told. */
  class Reader {
    position: ChangesPosition = seenNothing;
    readonly rows = new Map<bigint, number[]>();
    readonly client: TestClient;
    readonly worker: number;

    constructor(client: TestClient, worker: number) {
      this.client = client;
      this.worker = worker;
    }

    /** Returns the keys that were given. */
    async read(maxRows = 1000): Promise<bigint[]> {
      const given: bigint[] = [];
      for (let more = true; more; ) {
        const request = {
          definition: this.client.definition,
          worker: this.worker,
          table: 0,
          fields: [0],
          wire: "f32",
          maxRows,
        } as const;
        const reply = await this.client.client.call("changes", encodeChanges({ ...request, position: this.position }));
        const { keys, values, width, position, more: rest } = decodeChangesReply(joinParts([reply]));
        const numbers = new Float32Array(values.buffer, values.byteOffset, keys.length * width);
        for (const [i, key] of keys.entries()) this.rows.set(key, [...numbers.subarray(2 * i, 2 * i + 2)]);
        given.push(...keys);
        this.position = position;
        more = rest;
      }
      return given;
    }
  }

  test("differences add up, of rows and of dense parameters", async () => {
    const { client } = await testPartition(model);
    await client.push(new Map([[1n, [1, 2]]]), { worker: 0 });
    await client.push(
      new Map([
        [1n, [0.5, 0]],
        [2n, [3, 3]],
      ]),
      { worker: 1 },
    );
    expect(await client.pull([1n, 2n])).toEqual([
      [1.5, 2],
      [3, 3],
    ]);
    const values = Float32Array.of(1, 2, 3, 4);
    const push = {
      definition: client.definition,
      worker: 0,
      step: 0,
      samples: 1,
      batches: 1,
      sections: [{ dense: 0, wire: "f32", values }],
    } as const;
    await client.client.call("push", encodePush(push));
    await client.client.call("push", encodePush(push));
    expect([
      ...new Float32Array(
        (await client.client.call("dense", [new TextEncoder().encode('{"dense":0}')])).slice().buffer,
      ),
    ]).toEqual([2, 4, 6, 8]);
  });

  test("a reader gets what others changed since, and not what it changed itself", async () => {
    const { client } = await testPartition(model);
    const [a, b] = [new Reader(client, 0), new Reader(client, 1)];
    await Promise.all([a.read(), b.read()]);
    await client.push(
      new Map([
        [1n, [1, 1]],
        [2n, [1, 1]],
      ]),
      { worker: 0 },
    );
    expect(await a.read()).toEqual([]);
    expect((await b.read()).sort()).toEqual([1n, 2n]);
    expect(await b.read()).toEqual([]);
    await client.push(new Map([[1n, [1, 1]]]), { worker: 1 });
    await client.push(new Map([[1n, [1, 1]]]), { worker: 0 });
    // Both have changed it: it is news for both.
    expect(await a.read()).toEqual([1n]);
    expect(await b.read()).toEqual([1n]);
  });

  test("whoever reads in whatever parts ends with the rows of the server", async () => {
    const act = fc.record({
      worker: fc.integer({ min: 0, max: 2 }),
      keys: fc.uniqueArray(fc.bigInt({ min: 1n, max: 3000n }), { maxLength: 60 }),
      read: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(act, { maxLength: 25 }), async (acts) => {
        const { client, partition } = await testPartition(model);
        const readers = [0, 1, 2].map((worker) => new Reader(client, worker));
        for (const reader of readers) await reader.read();
        for (const { worker, keys, read } of acts) {
          // What a worker pushes it has itself.
          for (const key of keys) {
            const [x, y] = readers[worker]!.rows.get(key) ?? [0, 0];
            readers[worker]!.rows.set(key, [x! + 1, y! + worker]);
          }
          await client.push(new Map(keys.map((key) => [key, [1, worker]])), { worker });
          if (read) await readers[worker]!.read(1);
        }
        for (const reader of readers) await reader.read(7);
        const keys = [...new Set(acts.flatMap(({ keys }) => keys))];
        const expected = await client.pull(keys);
        for (const { rows } of readers) expect(keys.map((key) => rows.get(key))).toEqual(expected);
        partition.dispose();
      }),
      { numRuns: 25 },
    );
  });

  test("a reader of another life of the server, or one far behind, gets every row", async () => {
    const { client } = await testPartition(model, { changeEntries: 2048 });
    const reader = new Reader(client, 0);
    await reader.read();
    const first = reader.position;
    const push = async (from: number): Promise<unknown> =>
      client.push(new Map(Array.from({ length: 500 }, (_, i) => [BigInt(from + i), [1, 0]])), { worker: 1 });
    for (let i = 0; i < 5; i++) await push(1);
    await push(501);
    reader.position = { ...first, epoch: first.epoch ^ 2n };
    await reader.read();
    expect(reader.rows.size).toBe(1000);
    const late = new Reader(client, 2);
    late.position = first;
    await late.read();
    expect(late.rows.size).toBe(1000);
    expect(late.rows.get(1n)).toEqual([5, 0]);
    await client.push(new Map([[7n, [1, 0]]]), { worker: 1 });
    expect(await late.read()).toEqual([7n]);
  });

  test("update rules and admission do not go with it", () => {
    const rules = { f0: { optimizer: adagrad() } };
    expect(() => testModel({ mode: "geo", table: { rules } })).toThrow('field "f0" has an update rule');
    expect(() => testModel({ mode: "geo", table: { admission: { kind: "count", count: 3 } } })).toThrow(
      "admits always",
    );
  });
});
