// Mode `sync`: many workers equal one with the union of their batches; who is waited for, and who is not.
import { describe, expect, test } from "vitest";
import { relativeError } from "../engine/testing.ts";
import { adagrad, adam } from "../optim/index.ts";
import { randomFrom } from "../program/testing.ts";
import { joinParts } from "./body.ts";
import { decodeStep, encodePull, encodePush, pullReplyOffsets } from "./messages.ts";
import { TestClient, testModel, testPartition } from "./testing-partition.ts";

describe("sync", () => {
  test.each([1, 2, 3, 5])("%d workers are one with the union batch, whatever the rows of each", async (workers) => {
    const random = randomFrom(workers);
    const optimizer = adam({ lr: 0.05 });
    const dense = [{ name: "w", length: 30 }];
    const many = testModel({ mode: "sync", workers, optimizer, dims: [3, 1], dense });
    const { partition } = await testPartition(many);
    const single = await testPartition(testModel({ mode: "sync", optimizer, dims: [3, 1], dense }));
    const clients = Array.from({ length: workers }, () => new TestClient(partition.client(), many));
    const keys = Array.from({ length: 12 }, (_, i) => BigInt(i + 1));
    for (let step = 0; step < 6; step++) {
      // A worker without rows takes part, too.
      const batches = clients.map((client, worker) => {
        const samples = worker > 0 && random() < 0.3 ? 0 : 1 + Math.floor(random() * 9);
        const own = samples === 0 ? [] : keys.filter(() => random() < 0.6);
        const rows = new Map(own.map((key) => [key, Array.from({ length: 4 }, () => random() - 0.5)]));
        return { client, worker, samples, rows, dense: Float32Array.from({ length: 30 }, () => random() - 0.5) };
      });
      const total = batches.reduce((sum, { samples }) => sum + samples, 0);
      const union = new Map<bigint, number[]>();
      const denseUnion = new Float32Array(30);
      for (const { samples, rows, dense } of batches) {
        for (const [key, gradient] of rows) {
          const sum = union.get(key) ?? [0, 0, 0, 0];
          union.set(
            key,
            sum.map((x, i) => x + (gradient[i]! * samples) / total),
          );
        }
        dense.forEach((x, i) => {
          denseUnion[i]! += (x * samples) / total;
        });
      }
      const body = (
        client: TestClient,
        push: { worker: number; samples: number; rows: Map<bigint, number[]>; dense: Float32Array },
      ) =>
        encodePush({
          ...{ definition: client.definition, worker: push.worker, step, samples: push.samples, batches: 1 },
          sections: [
            {
              ...client.target(),
              wire: "f32",
              keys: BigUint64Array.from(push.rows.keys()),
              values: Float32Array.from([...push.rows.values()].flat()),
            },
            { dense: 0, wire: "f32", values: push.dense },
          ],
        });
      const replies = await Promise.all(
        batches.map((batch) => batch.client.client.call("push", body(batch.client, batch))),
      );
      expect(replies.map(decodeStep)).toEqual(batches.map(() => step + 1));
      await single.client.client.call(
        "push",
        body(single.client, { worker: 0, samples: total, rows: union, dense: denseUnion }),
      );
    }
    const weights = async (client: TestClient): Promise<number[]> => {
      const sections = [{ dense: 0, wire: "f32", length: 30 }] as const;
      const reply = await client.client.call(
        "pull",
        encodePull({ definition: client.definition, worker: 0, readOnly: true, sections }),
      );
      return [
        ...new Float32Array(reply.buffer, reply.byteOffset + pullReplyOffsets(sections).offsets[0]!, 30),
        ...(await client.pull(keys)).flat(),
      ];
    };
    expect(relativeError(await weights(clients[0]!), await weights(single.client))).toBeLessThan(1e-5);
  });

  test("nobody goes on before all have pushed; who is missing is told", async () => {
    const model = testModel({ mode: "sync", workers: 3, dims: [1] });
    const { partition } = await testPartition(model);
    const [a, b, c] = [0, 1, 2].map(() => new TestClient(partition.client(), model)) as [
      TestClient,
      TestClient,
      TestClient,
    ];
    const gradient = new Map([[1n, [1]]]);
    let released = 0;
    const first = [a.push(gradient, { worker: 0 }), b.push(gradient, { worker: 1 })];
    for (const push of first) void push.then(() => released++);
    await new Promise((resolve) => setImmediate(resolve));
    expect(released).toBe(0);
    expect(partition.statistics()).toMatchObject({ waitingFor: [2], steps: 0 });
    await Promise.all([...first, c.push(gradient, { worker: 2 })]);
    expect(partition.statistics()).toMatchObject({ waitingFor: [], steps: 1 });
  });

  test("a worker that is gone is waited for no longer, one that comes back is", async () => {
    const model = testModel({ mode: "sync", workers: 2, dims: [1] });
    const { client, partition } = await testPartition(model);
    const gradient = new Map([[1n, [1]]]);
    const waiting = client.push(gradient, { worker: 0 });
    await client.json("workers", { ranks: [0] }).catch(() => undefined);
    expect(await waiting).toBe(1);
    await expect(client.push(gradient, { worker: 1, step: 1 })).rejects.toThrow("worker 1 is not among those");
    partition.setWorkers([0, 1]);
    const both = [client.push(gradient, { worker: 0, step: 1 }), client.push(gradient, { worker: 1, step: 1 })];
    expect(await Promise.all(both)).toEqual([2, 2]);
  });

  test("a step that is done is refused with the step to go on with; a worker's second life replaces the first", async () => {
    const model = testModel({ mode: "sync", workers: 2, dims: [1] });
    const { client } = await testPartition(model);
    const gradient = new Map([[1n, [1]]]);
    await expect(client.push(gradient, { step: 4 })).rejects.toMatchObject({
      code: "stale step",
      message: expect.stringContaining("go on with 0"),
    });
    const first = client.push(gradient, { worker: 0 });
    const again = client.push(gradient, { worker: 0 });
    await expect(first).rejects.toThrow("once more");
    expect(await Promise.all([again, client.push(gradient, { worker: 1 })])).toEqual([1, 1]);
  });

  test("a NaN of one worker is refused to it alone", async () => {
    const model = testModel({ mode: "sync", workers: 2, dims: [1] });
    const { client } = await testPartition(model);
    const good = client.push(new Map([[1n, [1]]]), { worker: 0 });
    await expect(client.push(new Map([[1n, [Number.NaN]]]), { worker: 1 })).rejects.toThrow("worker 1, step 0");
    expect(await Promise.all([good, client.push(new Map([[2n, [1]]]), { worker: 1 })])).toEqual([1, 1]);
  });

  test("push-and-pull gives the weights after the step", async () => {
    const model = testModel({ mode: "sync", workers: 2, dims: [1], init: "zeros", optimizer: adagrad({ lr: 1 }) });
    const { client } = await testPartition(model);
    const section = { ...client.target(), wire: "f32", keys: BigUint64Array.of(1n) } as const;
    const pull = encodePull({ definition: client.definition, worker: 0, readOnly: false, sections: [section] });
    const both = [0, 1].map((worker) =>
      client.client.call("pushPull", [...client.pushParts(new Map([[1n, [worker + 1]]]), { worker }), ...pull]),
    );
    for (const reply of await Promise.all(both)) {
      expect(decodeStep(reply)).toBe(1);
      expect(new Float32Array(joinParts([reply]).buffer, 8, 1)[0]).toBeCloseTo(-1, 5);
    }
  });
});
