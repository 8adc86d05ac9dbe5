// Pushes and pulls of one partition: update rules against float64, refusals, wire types, dense pieces, statistics.
import { describe, expect, test } from "vitest";
import { relativeError } from "../engine/testing.ts";
import { Heap } from "../memory/index.ts";
import { highHeap } from "../memory/testing.ts";
import {
  adagrad,
  adagradShared,
  adam,
  adamw,
  ftrl,
  learningRateAt,
  momentum,
  type Optimizer,
  rmsprop,
  sgd,
} from "../optim/index.ts";
import { PlainOptimizer } from "../optim/testing.ts";
import { randomFrom } from "../program/testing.ts";
import { encodePull, encodePush, pullReplyOffsets } from "./messages.ts";
import type { InspectReply, PartitionStatistics } from "./requests.ts";
import { TestClient, testModel, testPartition } from "./testing-partition.ts";

const optimizers: readonly Optimizer[] = [
  sgd({ lr: 0.1, weightDecay: 0.01 }),
  momentum({ lr: 0.1, nesterov: true }),
  adagrad({ lr: 0.1, initialAccumulator: 0.2 }),
  adagradShared({ lr: 0.1 }),
  adam({ lr: 0.01 }),
  adamw({ lr: { kind: "cosine", lr: 0.01, total: 10 } }),
  rmsprop({ lr: 0.01, centered: true, momentum: 0.8 }),
  ftrl({ lr: 0.1, l1: 0.01, l2: 0.1 }),
];

describe("update rules", () => {
  test.each(optimizers.map((optimizer) => [optimizer.name, optimizer] as const))(
    "%s moves rows as in float64",
    async (_, optimizer) => {
      const random = randomFrom(3);
      const { client } = await testPartition(
        testModel({ optimizer, dims: [5, 1], init: optimizer.name === "ftrl" ? "zeros" : "uniform" }),
      );
      const keys = Array.from({ length: 40 }, (_, i) => BigInt(i + 1) * 0x9e3779b9n);
      const start = await client.pull(keys);
      // Fields are moved apart: the rule with one accumulator takes its mean over a field.
      const plain = start.map((row) =>
        [row.slice(0, 5), row.slice(5)].map((part) => new PlainOptimizer(optimizer, part)),
      );
      for (let step = 0; step < 8; step++) {
        const chosen = keys.map((_, i) => i).filter(() => random() < 0.5);
        const gradients = chosen.map(() => Array.from({ length: 6 }, () => Math.fround(random() - 0.5)));
        await client.push(new Map(chosen.map((i, at) => [keys[i]!, gradients[at]!])));
        const lr = learningRateAt(optimizer.lr, step);
        for (const [at, i] of chosen.entries()) {
          plain[i]![0]!.step(gradients[at]!.slice(0, 5), lr, step);
          plain[i]![1]!.step(gradients[at]!.slice(5), lr, step);
        }
      }
      const expected = plain.flatMap((parts) => parts.flatMap(({ weight }) => [...weight]));
      expect(relativeError((await client.pull(keys)).flat(), expected)).toBeLessThan(2e-5);
    },
  );

  test("a push for some fields moves only these", async () => {
    const { client } = await testPartition(testModel({ optimizer: sgd({ lr: 1 }), dims: [2, 3] }));
    const [before] = await client.pull([7n]);
    await client.push(new Map([[7n, [1, 2, 3]]]), { fields: [1] });
    const [after] = await client.pull([7n]);
    expect(after!.slice(0, 2)).toEqual(before!.slice(0, 2));
    expect(
      relativeError(
        after!.slice(2),
        before!.slice(2).map((x, i) => x - (i + 1)),
      ),
    ).toBeLessThan(1e-6);
    expect((await client.pull([7n], { fields: [1] }))[0]).toEqual(after!.slice(2));
  });

  test("merged batches advance the schedule by as many steps", async () => {
    const optimizer = sgd({ lr: { kind: "step", lr: 1, every: 4, gamma: 0.1 } });
    const { client } = await testPartition(testModel({ optimizer, dims: [1], init: "zeros" }));
    expect(await client.push(new Map([[1n, [1]]]), { batches: 4 })).toBe(4);
    await client.push(new Map([[2n, [1]]]));
    expect(relativeError((await client.pull([1n, 2n])).flat(), [-1, -0.1])).toBeLessThan(1e-6);
  });

  test("gradients may be divided by shows", async () => {
    const { client } = await testPartition(
      testModel({ optimizer: sgd({ lr: 1 }), dims: [1], init: "zeros", table: { perShow: true } }),
    );
    await client.push(
      new Map([
        [1n, [6]],
        [2n, [6]],
      ]),
      { shows: [3, 0] },
    );
    expect((await client.pull([1n, 2n])).flat()).toEqual([-2, -6]);
  });
});

describe("rows", () => {
  test("a missing row pulls its first weights, and key 0 zeros; only a push makes it", async () => {
    const { client } = await testPartition(testModel({ optimizer: sgd({ lr: 1 }) }));
    const [first, zero] = await client.pull([9n, 0n]);
    expect(first!.some((x) => x !== 0)).toBe(true);
    expect(zero).toEqual([0, 0, 0, 0, 0]);
    expect((await client.json<PartitionStatistics>("statistics")).tables[0]!.rows).toBe(0);
    await client.push(
      new Map([
        [0n, [1, 1, 1, 1, 1]],
        [9n, [0, 0, 0, 0, 0]],
      ]),
    );
    expect(await client.pull([9n, 0n])).toEqual([first, zero]);
    expect((await client.json<PartitionStatistics>("statistics")).tables[0]!.rows).toBe(1);
  });

  test("by options a pull makes rows, and missing rows are zeros", async () => {
    const created = await testPartition(testModel({ table: { create: "pull" } }));
    await created.client.pull([1n, 2n], { readOnly: true });
    await created.client.pull([1n]);
    expect((await created.client.json<PartitionStatistics>("statistics")).tables[0]!.rows).toBe(1);
    const zeros = await testPartition(testModel({ table: { missing: "zeros" } }));
    expect(await zeros.client.pull([1n])).toEqual([[0, 0, 0, 0, 0]]);
  });

  test("pulls of more rows than a block, of missing and present ones, in any order", async () => {
    const { client } = await testPartition(testModel({ optimizer: sgd({ lr: 1 }), dims: [3] }));
    const keys = Array.from({ length: 20_000 }, (_, i) => BigInt(i + 1));
    const start = await client.pull(keys);
    const third = keys.filter((key) => key % 3n === 0n);
    await client.push(new Map(third.map((key) => [key, [1, 0, 0]])));
    const shuffled = keys.toSorted((a, b) => Number((a * 7919n) % 20011n) - Number((b * 7919n) % 20011n));
    const found = await client.pull(shuffled);
    for (const [i, key] of shuffled.entries()) {
      const [a, b, c] = start[Number(key) - 1]!;
      expect(found[i]).toEqual([key % 3n === 0n ? Math.fround(a! - 1) : a, b, c]);
    }
  });

  test("halves on the wire are rounded, in both directions", async () => {
    const { client } = await testPartition(testModel({ optimizer: sgd({ lr: 1 }), dims: [3], init: "zeros" }));
    await client.push(new Map([[1n, [0.1, -2.5, 1e-6]]]), { wire: "f16" });
    const pushed = [0.1, -2.5, 1e-6].map((x) => Math.f16round(Math.fround(-x)));
    expect((await client.pull([1n]))[0]).toEqual(pushed);
    await client.push(new Map([[1n, [1 / 3, 0, 0]]]));
    const [exact] = await client.pull([1n]);
    expect((await client.pull([1n], { wire: "f16" }))[0]).toEqual(exact!.map((x) => Math.f16round(x)));
  });

  test("heaps with 64-bit addresses work alike", async () => {
    const run = async (heap: Heap): Promise<number[][]> => {
      const { client } = await testPartition(testModel({ dims: [4, 2], dense: [{ name: "w", length: 50 }] }), { heap });
      await client.push(
        new Map([
          [1n, [1, 2, 3, 4, 5, 6]],
          [2n ** 63n, [6, 5, 4, 3, 2, 1]],
        ]),
      );
      return client.pull([1n, 2n ** 63n, 5n]);
    };
    expect(await run(highHeap())).toEqual(await run(Heap.create({ maxBytes: 2 ** 27 })));
  });

  test("inspect shows a row by column", async () => {
    const { client } = await testPartition(testModel({ dims: [2], table: { accessor: { kind: "ctr" } as never } }));
    await client.push(new Map([[255n, [1, 2]]]), { shows: [3], clicks: [1] });
    const row = await client.json<InspectReply>("inspect", { table: 0, key: "0xff" });
    expect(row).toMatchObject({ found: true, spilled: false, statistics: { show: 3, click: 1, unseen: 0 } });
    expect(row.columns["f0.sum"]).toEqual([1, 4]);
    expect(await client.json<InspectReply>("inspect", { table: 0, key: "254" })).toMatchObject({ found: false });
  });
});

describe("dense parameters", () => {
  test.each(optimizers.map((optimizer) => [optimizer.name, optimizer] as const))(
    "%s moves them as in float64",
    async (_, optimizer) => {
      const random = randomFrom(7);
      const length = 1003;
      const model = testModel({ optimizer, dims: [], dense: [{ name: "w", length }] });
      const { client } = await testPartition(model);
      const start = Float32Array.from({ length }, () => random() - 0.5);
      const push = (values: Float32Array): Uint8Array[] =>
        encodePush({
          definition: client.definition,
          worker: 0,
          step: 0,
          samples: 1,
          batches: 1,
          sections: [{ dense: 0, wire: "f32", values }],
        });
      await client.client.call("initialise", push(start));
      const plain = new PlainOptimizer(optimizer, start);
      for (let step = 0; step < 5; step++) {
        const gradient = Float32Array.from({ length }, () => random() - 0.5);
        await client.client.call("push", push(gradient));
        plain.step(gradient, learningRateAt(optimizer.lr, step), step);
      }
      const sections = [{ dense: 0, wire: "f32", length }] as const;
      const reply = await client.client.call(
        "pull",
        encodePull({ definition: client.definition, worker: 0, readOnly: false, sections }),
      );
      const [at] = pullReplyOffsets(sections).offsets;
      const weights = new Float32Array(reply.buffer, reply.byteOffset + at!, length);
      // FTRL computes weights from sums, so that its start values do not count.
      if (optimizer.name !== "ftrl") expect(relativeError([...weights], [...plain.weight])).toBeLessThan(2e-5);
      const slot = await client.json<unknown>("statistics");
      expect(slot).toMatchObject({ steps: 5, pushes: 5 });
    },
  );
});

describe("refusals change nothing and say who, what and where", () => {
  test("a NaN", async () => {
    const { client } = await testPartition(testModel({ dims: [2] }));
    await client.push(new Map([[1n, [1, 1]]]));
    const before = await client.pull([1n, 2n]);
    const bad = new Map([
      [1n, [1, 1]],
      [2n, [1, Number.NaN]],
    ]);
    await expect(client.push(bad, { worker: 3 })).rejects.toMatchObject({
      code: "not finite",
      message: 'worker 3, step 1: a value pushed to table "ids" is not finite, at key 0x2; the whole push is refused',
    });
    await expect(client.push(new Map([[1n, [1, 1]]]), { shows: [Number.POSITIVE_INFINITY] })).rejects.toThrow(
      "shows pushed",
    );
    expect(await client.pull([1n, 2n])).toEqual(before);
    expect(await client.json("statistics")).toMatchObject({ pushes: 1, refused: 2 });
  });

  test("another model, unknown tables, fields and parameters, wrong widths", async () => {
    const { client, partition } = await testPartition(testModel({ dims: [2] }));
    const header = { definition: client.definition, worker: 0, step: 0, samples: 1, batches: 1 };
    const values = new Float32Array(2);
    const keys = BigUint64Array.of(1n);
    const section = { table: 0, fields: [0], width: 2, wire: "f32", keys, values } as const;
    const push = (sections: readonly unknown[], more = {}): Promise<unknown> =>
      client.client.call("push", encodePush({ ...header, ...more, sections: sections as never }));
    await expect(push([section], { definition: 1 })).rejects.toThrow("serves another model");
    await expect(push([{ ...section, table: 2 }])).rejects.toThrow("sections[0]: there is no table 2");
    await expect(push([section, { ...section, fields: [1] }])).rejects.toThrow("sections[1]: fields 1 of table");
    await expect(push([{ ...section, width: 3, values: new Float32Array(3) }])).rejects.toThrow(
      "have 2 numbers, not 3",
    );
    await expect(push([section, section])).rejects.toThrow("at most once");
    await expect(push([{ dense: 0, wire: "f32", values }])).rejects.toThrow("no piece of parameter 0 is here");
    await expect(client.client.call("define", [new TextEncoder().encode("{}")])).rejects.toThrow("mode");
    expect(partition.statistics().tables[0]!.rows).toBe(0);
  });

  test("before a model is defined", async () => {
    const { client } = await testPartition(testModel());
    const { Partition } = await import("./partition.ts");
    const empty = new Partition(Heap.create({ maxBytes: 2 ** 24 }), { partition: 0 });
    await expect(
      empty
        .client()
        .call("pull", encodePull({ definition: client.definition, worker: 0, readOnly: false, sections: [] })),
    ).rejects.toMatchObject({ code: "undefined" });
  });

  test("a full heap, before anything is applied", async () => {
    const { client } = await testPartition(testModel({ dims: [64] }), { heap: Heap.create({ maxBytes: 2 ** 25 }) });
    const push = async (first: number): Promise<unknown> =>
      client.push(new Map(Array.from({ length: 4000 }, (_, i) => [BigInt(first + i), Array(64).fill(1)])));
    const fill = async (): Promise<void> => {
      for (let first = 1; ; first += 4000) await push(first);
    };
    await expect(fill()).rejects.toMatchObject({ code: "full" });
    expect((await client.pull([1n]))[0]).toHaveLength(64);
  });
});

test("while the state is frozen clients see what they pushed before, and others do not wait", async () => {
  const model = testModel({ optimizer: sgd({ lr: 1 }), dims: [1], init: "zeros" });
  const { partition, client } = await testPartition(model);
  const other = new TestClient(partition.client(), model);
  const { promise, resolve } = Promise.withResolvers<void>();
  const freezing = partition.frozen(() => promise);
  const order: string[] = [];
  const pushed = client.push(new Map([[1n, [1]]])).then(() => order.push("pushed"));
  const pulled = client.pull([1n]).finally(() => order.push("pulled"));
  expect(await other.pull([1n])).toEqual([[0]]);
  expect(order).toEqual([]);
  resolve();
  await Promise.all([freezing, pushed]);
  expect(await pulled).toEqual([[-1]]);
  expect(order).toEqual(["pushed", "pulled"]);
  partition.dispose();
});
