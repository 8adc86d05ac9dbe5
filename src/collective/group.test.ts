// Groups: calls in flight, order, threads that start what others prepared, ranks that differ, die or never come.
import { fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { Heap, moduleUrl } from "../memory/index.ts";
import { Group } from "./group.ts";
import type { TransportSpec } from "./open-transport.ts";
import { partOf } from "./schedule.ts";
import { listenOn } from "./sockets/address.ts";
import type { StarterData } from "./testing-group-thread.ts";
import { createThreadGroup } from "./threads.ts";

const heap = Heap.create({ maxBytes: 2 ** 27 });
const folder = mkdtempSync(join(tmpdir(), "flotilla-group-"));
const open: Group[] = [];
let sockets = 0;

afterEach(async () => {
  await Promise.all(open.splice(0).map((group) => group.close()));
});
afterAll(() => rmSync(folder, { recursive: true }));

const addressesOf = (size: number): string[] => {
  sockets++;
  return Array.from({ length: size }, (_, rank) => `unix://${folder}/${sockets}-${rank}`);
};

async function groups(size: number, transport: TransportSpec, options: { stallMs?: number } = {}): Promise<Group[]> {
  const opened = await Promise.all(
    Array.from({ length: size }, (_, rank) => Group.open({ rank, size, heap, transport, ...options })),
  );
  open.push(...opened);
  return opened;
}
const threads = (size: number): TransportSpec => ({ kind: "threads", group: createThreadGroup(heap, size) });
const filled = (count: number, value: number): number => {
  const address = heap.alloc(4 * count);
  heap.f32(address, count).fill(value);
  return address;
};

describe.each([
  ["threads", (size: number) => threads(size)],
  ["unix", (size: number): TransportSpec => ({ kind: "unix", addresses: addressesOf(size) })],
])("a group over %s", (_, spec) => {
  test("many calls are in flight at once and end in order", async () => {
    const all = await groups(3, spec(3));
    const buffers = all.map((_, rank) => Array.from({ length: 40 }, (_, i) => filled(100 + i, rank + i)));
    const tickets = all.map((group, rank) =>
      buffers[rank]!.map((address, i) => group.allReduce(address, 100 + i, { op: "sum", name: `bucket ${i}` })),
    );
    await Promise.all(all.map((group, rank) => group.done(tickets[rank]!.at(-1)!)));
    for (const [rank, group] of all.entries()) {
      for (const [i, ticket] of tickets[rank]!.entries()) {
        expect(group.queue.isDone(ticket)).toBe(true);
        expect(heap.f32(buffers[rank]![i]!, 100 + i).every((x) => x === 3 + 3 * i)).toBe(true);
      }
    }
  });

  test("every collective by its method", async () => {
    const all = await groups(2, spec(2));
    const [mean, gather, scatter, spread, from, to] = [0, 1, 2, 3, 4, 5].map(
      () => [filled(7, 1), filled(7, 3)] as const,
    );
    for (const [rank, group] of all.entries()) {
      heap.f32(from![rank]!, 4).set([0, 1, 2, 3].map((i) => 10 * rank + i));
      group.allReduce(mean![rank]!, 7, { op: "mean", wire: "f16" });
      group.allGather(gather![rank]!, 7);
      group.reduceScatter(scatter![rank]!, 7, { op: "max" });
      group.broadcast(spread![rank]!, 7, { root: 1 });
      group.allToAll(from![rank]!, to![rank]!, 4);
      group.barrier("end");
    }
    await Promise.all(all.map((group) => group.done(group.barrier())));
    for (const rank of [0, 1]) {
      expect([...heap.f32(mean![rank]!, 7)]).toEqual(new Array(7).fill(2));
      expect([...heap.f32(gather![rank]!, 7)]).toEqual([1, 1, 1, 3, 3, 3, 3]);
      const { start, count } = partOf({ start: 0, count: 7 }, 2, rank);
      expect([...heap.f32(scatter![rank]! + 4 * start, count)]).toEqual(new Array(count).fill(3));
      expect([...heap.f32(spread![rank]!, 7)]).toEqual(new Array(7).fill(3));
      expect([...heap.f32(to![rank]!, 4)]).toEqual([2 * rank, 2 * rank + 1, 10 + 2 * rank, 11 + 2 * rank]);
    }
  });

  test("ranks that start different calls learn both", async () => {
    const all = await groups(2, spec(2));
    const address = filled(10, 1);
    const tickets = [
      all[0]!.allReduce(address, 10, { name: "weights" }),
      all[1]!.broadcast(address, 10, { name: "weights" }),
    ];
    const errors = await Promise.all(
      all.map((group, rank) => group.done(tickets[rank]!).catch((error: Error) => error)),
    );
    for (const error of errors) expect(error).toBeInstanceOf(Error);
    const text = errors.map((error) => (error as Error).message).join("\n");
    expect(text).toMatch(/ranks disagree: call 1 of rank/);
    expect(text).toMatch(/all-reduce "weights"/);
    expect(text).toMatch(/broadcast "weights"/);
    await expect(async () => all[0]!.allReduce(address, 10)).rejects.toThrow(/ranks disagree/);
  });
});

test("another thread starts what this one prepared, and blocks until it is done", async () => {
  const all = await groups(2, threads(2));
  const addresses = [filled(1000, 1), filled(1000, 3)];
  const done = all.map((group, rank) => {
    const { id } = group.prepare({ collective: "all-reduce", address: addresses[rank]!, count: 1000, op: "mean" });
    const data: StarterData = { memory: heap.memory, queue: group.queue.address, call: id, times: 300 };
    return new Promise((resolve, reject) =>
      new Worker(moduleUrl(import.meta.url, "./testing-group-thread"), { workerData: data })
        .once("message", resolve)
        .once("error", reject),
    );
  });
  expect(await Promise.all(done)).toEqual(["done", "done"]);
  expect(heap.f32(addresses[0]!, 1000).every((x) => x === 2)).toBe(true);
});

test("a killed process is named within seconds", async () => {
  const transport: TransportSpec = { kind: "unix", addresses: addressesOf(2) };
  const script = fileURLToPath(moduleUrl(import.meta.url, "./testing-group-process"));
  const child = fork(script, [JSON.stringify({ rank: 1, size: 2, transport })], { execArgv: [] });
  const running = new Promise((resolve) => child.once("message", resolve));
  const [group] = await Promise.all([Group.open({ rank: 0, size: 2, heap, transport })]);
  open.push(group);
  const address = filled(1000, 1);
  const failure = (async () => {
    for (let step = 0; ; step++) await group.done(group.allReduce(address, 1000, { name: `step ${step}` }));
  })();
  failure.catch(() => undefined);
  await running;
  child.kill("SIGKILL");
  await expect(failure).rejects.toMatchObject({ name: "PeerError", rank: 1 });
  await expect(failure).rejects.toThrow(/all-reduce "step \d+".*rank 1 died/);
});

test("strangers at the address of a rank are turned away", async () => {
  const addresses = addressesOf(2);
  const { fd, address } = listenOn(addresses[0]!);
  const strangers = ["GET / HTTP/1.1\r\n\r\n", "", "\0".repeat(24)].map((text) => {
    const socket = connect({ path: address.slice("unix://".length) });
    socket.on("error", () => undefined);
    socket.end(text);
    return socket;
  });
  await Promise.all(strangers.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
  const specs = [{ listener: fd }, {}].map((listener): TransportSpec => ({ kind: "unix", addresses, ...listener }));
  const all = await Promise.all(specs.map((transport, rank) => Group.open({ rank, size: 2, heap, transport })));
  open.push(...all);
  const buffers = all.map((_, rank) => filled(10, rank));
  await Promise.all(all.map((group, rank) => group.done(group.allReduce(buffers[rank]!, 10))));
  expect(heap.f32(buffers[0]!, 10)[9]).toBe(1);
});

test("a rank that never comes is named", async () => {
  const addresses = addressesOf(3);
  const transport: TransportSpec = { kind: "unix", addresses, connectMs: 300 };
  const missing = [0, 1].map((rank) => Group.open({ rank, size: 3, heap, transport }));
  const results = await Promise.allSettled(missing);
  for (const result of results) {
    expect(result).toMatchObject({ status: "rejected", reason: { name: "PeerError", rank: 2 } });
  }
});

describe("wrong options are refused where they are given", () => {
  const calls = [
    [{ collective: "all-reduce", address: 0, count: -1 }, /all-reduce: count: .*got -1/],
    [{ collective: "all-reduce", address: 2, count: 1 }, /address must be a multiple of an element, got 2/],
    [{ collective: "all-reduce", count: 4, dtype: "bf16" }, /only f32 is reduced, got bf16/],
    [{ collective: "all-reduce", count: 4, algorithm: "rings" }, /algorithm "rings" is unknown; allowed: auto, ring/],
    [{ collective: "broadcast", count: 4, root: 2 }, /root must be a rank below 2, got 2/],
    [{ collective: "all-to-all", count: 4 }, /output must say where/],
    [{ collective: "all-reduce", count: 4, colour: 1 }, /olour/],
  ] as const;

  test("of calls", async () => {
    const [group] = await groups(2, threads(2));
    for (const [options, message] of calls) expect(() => group!.prepare(options as never)).toThrow(message);
  });

  test("places and addresses", async () => {
    const transport: TransportSpec = { kind: "unix", addresses: ["unix:///tmp/a"] };
    await expect(Group.open({ rank: 2, size: 2, heap, transport })).rejects.toThrow(
      /rank must be an integer from 0 to 1/,
    );
    await expect(Group.open({ rank: 0, size: 2, heap, transport })).rejects.toThrow(
      /addresses must name all 2 ranks, got 1/,
    );
    const far: TransportSpec = { kind: "tcp", addresses: ["tcp://192.0.2.1:1", "tcp://192.0.2.2:1"] };
    await expect(Group.open({ rank: 0, size: 2, heap, transport: far })).rejects.toThrow(/192\.0\.2\.1 needs tls/);
  });

  test("a closed group says so", async () => {
    const all = await groups(2, threads(2));
    await Promise.all(all.map((group) => group.close()));
    expect(() => all[0]!.barrier()).toThrow(/group is closed/);
  });
});
