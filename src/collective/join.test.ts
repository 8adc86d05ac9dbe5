// Workers of a job find each other by the coordinator: on one machine, and as if on several, with certificates.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { World } from "../cluster/index.ts";
import { Heap } from "../memory/index.ts";
import { makeKeys } from "../net/index.ts";
import { joinGroup } from "./join.ts";

const folder = mkdtempSync(join(tmpdir(), "flotilla-join-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Keys and values of a job, in this process. */
function store(): {
  set(key: string, value: Uint8Array | string): Promise<boolean>;
  get(key: string): Promise<Uint8Array>;
} {
  const values = new Map<string, Uint8Array>();
  const waiting = new Map<string, (() => void)[]>();
  return {
    async set(key, value) {
      values.set(key, typeof value === "string" ? Buffer.from(value) : value);
      for (const wake of waiting.get(key) ?? []) wake();
      return true;
    },
    async get(key) {
      while (!values.has(key)) {
        await new Promise<void>((resolve) => waiting.set(key, [...(waiting.get(key) ?? []), resolve]));
      }
      return values.get(key)!;
    },
  };
}

async function sums(worlds: readonly World[], bufferBytes: number): Promise<number[]> {
  const member = store();
  const heaps = worlds.map(() => Heap.create({ maxBytes: 2 ** 26 }));
  const groups = await Promise.all(
    worlds.map((world, rank) => joinGroup(member, world, { heap: heaps[rank]!, bufferBytes, connectMs: 30_000 })),
  );
  const results = await Promise.all(
    groups.map(async (group, rank) => {
      const heap = heaps[rank]!;
      const address = group.buffer?.address ?? heap.alloc(4 * 5000);
      heap.f32(address, 5000).fill(rank + 1);
      await group.done(group.allReduce(address, 5000));
      return heap.f32(address, 5000)[4999]!;
    }),
  );
  await Promise.all(groups.map((group) => group.close()));
  return results;
}

const worldOf = (rank: number, workers: number, rest: Partial<World>): World => ({
  ...{ job: "test", role: "worker", rank, workers, servers: 0, attempt: 0 },
  ...rest,
});

test.each([0, 32_768])("on one machine, with %i bytes that all can read", async (bufferBytes) => {
  const worlds = [0, 1, 2].map((rank) => worldOf(rank, 3, { folder }));
  expect(await sums(worlds, bufferBytes)).toEqual([6, 6, 6]);
});

test("on several machines, encrypted", async () => {
  const keys = join(folder, "keys");
  await makeKeys({ folder: keys });
  const worlds = [0, 1].map((rank) => worldOf(rank, 2, { host: "localhost", keys }));
  expect(await sums(worlds, 0)).toEqual([3, 3]);
});

test("on several machines of a trusted network, without certificates", async () => {
  const worlds = [0, 1].map((rank) => worldOf(rank, 2, { host: "127.0.0.1", trustedNetwork: true }));
  expect(await sums(worlds, 0)).toEqual([3, 3]);
});

test("several machines without keys are refused", async () => {
  const world = worldOf(0, 2, { host: "localhost" });
  const heap = Heap.create({ maxBytes: 2 ** 24 });
  await expect(joinGroup(store(), world, { heap })).rejects.toThrow(/without keys/);
});
