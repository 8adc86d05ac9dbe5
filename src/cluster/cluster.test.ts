// Members over real sockets, in this process and in processes that are killed.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { RpcClient } from "../net/index.ts";
import {
  Coordinator,
  type CoordinatorOptions,
  Member,
  type MemberEvent,
  type MemberOptions,
  type World,
} from "./index.ts";
import { KeyValues } from "./key-values.ts";
import { MemberProcess } from "./testing.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Cluster {
  readonly coordinator: Coordinator;
  readonly events: MemberEvent[];
  /** Resolves with the first event that fits. */
  event(kind: MemberEvent["kind"], rank: number): Promise<MemberEvent>;
  world(rank: number, role?: "worker" | "server", attempt?: number): World;
  connect(rank: number, options?: MemberOptions): Promise<Member>;
  start(rank: number, attempt?: number): Promise<MemberProcess>;
}

async function cluster(workers: number, options: Partial<CoordinatorOptions> = {}): Promise<Cluster> {
  const folder = mkdtempSync(join(tmpdir(), "flotilla-cluster-"));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  const events: MemberEvent[] = [];
  const waiting = new Set<() => void>();
  const coordinator = await Coordinator.start({
    address: `unix://${folder}/c`,
    workers,
    servers: 1,
    ...options,
    onEvent: (event) => {
      events.push(event);
      for (const look of waiting) look();
    },
  });
  cleanups.push(() => coordinator.close());
  const world = (rank: number, role: "worker" | "server" = "worker", attempt = 0): World => ({
    ...{ job: "test", role, rank, workers, servers: 1, coordinator: coordinator.address, attempt },
  });
  return {
    coordinator,
    events,
    world,
    event: (kind, rank) =>
      new Promise((resolve) => {
        const look = (): void => {
          const found = events.find((event) => event.kind === kind && event.member.rank === rank);
          if (found === undefined) return;
          waiting.delete(look);
          resolve(found);
        };
        waiting.add(look);
        look();
      }),
    async connect(rank, memberOptions) {
      const member = await Member.connect(world(rank), memberOptions);
      cleanups.push(() => member.close());
      return member;
    },
    async start(rank, attempt) {
      const process = await MemberProcess.start(world(rank, "worker", attempt));
      cleanups.push(() => process.kill());
      return process;
    },
  };
}

// Processes start slowly where many run.
const options = { timeout: 120_000 };

describe("membership", options, () => {
  it("gives the addresses of all ranks when the last has joined", async () => {
    const { connect, start } = await cluster(3);
    const [a, b] = await Promise.all([connect(0), connect(1)]);
    const c = await start(2);
    await Promise.all([a.join({ addresses: ["a"] }), b.join({ addresses: ["b1", "b2"] })]);
    const waiting = a.members("worker", 3);
    await c.do("join", "c");
    const members = await waiting;
    expect(members.map(({ rank, addresses }) => [rank, addresses])).toEqual([
      [0, ["a"]],
      [1, ["b1", "b2"]],
      [2, ["c"]],
    ]);
    expect(members[2]).toMatchObject({ pid: c.child.pid, state: "alive", attempt: 0 });
    expect(await c.do("members", "3")).toEqual(["a", "b1", "c"]);
  });

  it("says who is missing", async () => {
    const { connect } = await cluster(4);
    const a = await connect(1);
    await a.join();
    await expect(a.members("worker", 4, { timeoutMs: 50 })).rejects.toThrow(
      "waiting for 4 workers: given up after 0.05 s; 1 of 4 workers are there; missing: workers 0, 2, 3",
    );
    await expect(a.members("server", 1, { signal: AbortSignal.timeout(20) })).rejects.toMatchObject({
      code: "cancelled",
    });
  });

  it("names a process that was killed, with its process id, and takes its successor", async () => {
    const { connect, start, coordinator, event } = await cluster(2, { returnMs: 10 });
    const a = await connect(0);
    await a.join();
    const told: MemberEvent[] = [];
    a.watch((event) => told.push(event));
    const b = await start(1);
    await b.do("join", "b");
    await b.kill();
    const { text, member } = await event("died", 1);
    expect(text).toMatch(
      new RegExp(
        `^worker 1 \\(pid ${b.child.pid} on .*\\) died at \\d\\d:\\d\\d:\\d\\d, .* after it joined: .* connection`,
      ),
    );
    expect(member).toMatchObject({ state: "dead", pid: b.child.pid });
    expect(coordinator.members().map(({ state }) => state)).toEqual(["alive", "dead"]);

    const back = a.members("worker", 2);
    const again = await start(1, 1);
    await again.do("join", "b2");
    expect((await back)[1]).toMatchObject({ addresses: ["b2"], attempt: 1, pid: again.child.pid });
    await again.do("leave");
    await event("left", 1);
    await expect.poll(() => told.map(({ kind }) => kind)).toEqual(["joined", "died", "joined", "left"]);
  });

  it("holds a process that is stopped for dead, and takes it back", async () => {
    const { connect, start, event } = await cluster(2, { silenceMs: 300, returnMs: 10 });
    const a = await connect(0, { heartbeatMs: 50 });
    await a.join();
    const b = await start(1);
    await b.do("join");
    b.child.kill("SIGSTOP");
    expect((await event("died", 1)).text).toContain("was silent for 0.3 s");
    expect((await a.list()).map(({ state }) => state)).toEqual(["alive", "dead"]);
    b.child.kill("SIGCONT");
    expect(await a.members("worker", 2)).toHaveLength(2);
  });

  it("stays a member through connections that break", async () => {
    const { connect, events } = await cluster(2);
    const faults = { disconnect: 0.2, seed: 7 };
    const [a, b] = await Promise.all([connect(0, { faults }), connect(1, { faults })]);
    await Promise.all([a.join(), b.join()]);
    for (let i = 0; i < 20; i++) {
      await Promise.all([a.barrier("step", 2), b.barrier("step", 2)]);
      await a.set("i", String(i));
      expect(Buffer.from(await b.get("i")).toString()).toBe(String(i));
    }
    expect(events.map(({ kind }) => kind)).toEqual(["joined", "joined"]);
  });

  it("refuses places that are not there, taken, or of an earlier attempt", async () => {
    const { connect, world } = await cluster(2);
    const [a, b, c] = await Promise.all([connect(0), connect(1), connect(1)]);
    await a.join();
    await b.join({ attempt: 2 });
    await expect(c.join({ rank: 2 })).rejects.toThrow("worker 2 cannot join: the job has 2 workers, ranks start at 0");
    await expect(c.join({ rank: 0 })).rejects.toThrow(/^worker 0 cannot join: worker 0 .* is alive$/);
    await expect(c.join({ attempt: 1 })).rejects.toThrow("attempt 2 has already joined");
    await expect(a.join()).rejects.toThrow("has already joined");
    await expect(c.barrier("x", 1)).rejects.toThrow("this process has not joined");
    expect(world(0).coordinator).toMatch(/^unix:/);
  });

  it("names a member that stalls while another goes on", async () => {
    const { connect, event } = await cluster(2, { stallMs: 100 });
    const [a, b] = await Promise.all([connect(0), connect(1)]);
    await Promise.all([a.join(), b.join()]);
    b.report({ step: 7, activity: "push table ctr", loss: Number.NaN });
    let step = 0;
    const timer = setInterval(() => a.report({ step: ++step, samplesPerSecond: 12.5 }), 20);
    cleanups.push(() => clearInterval(timer));
    const { text, member } = await event("stalled", 1);
    expect(text).toMatch(/^worker 1 .* is [\d.]+ s behind at push table ctr, in step 7$/);
    expect(member.report).toEqual({ step: 7, activity: "push table ctr" });
    expect((await a.list())[0]!.report).toMatchObject({ samplesPerSecond: 12.5 });
  });

  it("names the member that others wait for, and in what", async () => {
    const { connect, event } = await cluster(2, { stallMs: 100 });
    const [a, b] = await Promise.all([connect(0), connect(1)]);
    await Promise.all([a.join(), b.join()]);
    const report = (): void => {
      a.report({ step: 7, waitsIn: "bucket 2" });
      b.report({ step: 7, activity: "reading data" });
    };
    report();
    const timer = setInterval(report, 50);
    cleanups.push(() => clearInterval(timer));
    const { text } = await event("stalled", 1);
    expect(text).toMatch(/^worker 1 .* is [\d.]+ s behind at reading data, in step 7; worker 0 waits in bucket 2$/);
  });

  it("tells a member that its coordinator is gone", async () => {
    const { connect, coordinator } = await cluster(1);
    const lost = new Promise<Error>((onLost) => connect(0, { lostMs: 50, onLost }).then((member) => member.join()));
    await expect.poll(() => coordinator.members().length).toBe(1);
    await coordinator.close();
    expect((await lost).message).toContain("unix://");
  });
});

describe("barriers", options, () => {
  it("let all go when the last comes, again and again", async () => {
    const { connect } = await cluster(3);
    const members = await Promise.all([0, 1, 2].map((rank) => connect(rank)));
    await Promise.all(members.map((member) => member.join()));
    const order: string[] = [];
    await Promise.all(
      members.map(async (member, rank) => {
        for (let round = 0; round < 10; round++) {
          order.push(`${round}`);
          await member.barrier("b", 3);
          expect(
            order.filter((entry) => entry === `${round}`),
            `rank ${rank}`,
          ).toHaveLength(3);
        }
      }),
    );
  });

  it("say who came, and refuse another count", async () => {
    const { connect } = await cluster(2);
    const [a, b] = await Promise.all([connect(0), connect(1)]);
    await Promise.all([a.join(), b.join()]);
    await expect(a.barrier("b", 2, { timeoutMs: 30 })).rejects.toThrow(
      'barrier "b": given up after 0.03 s; 1 of 2 came: worker 0',
    );
    const waiting = a.barrier("b", 2);
    await expect(b.barrier("b", 3)).rejects.toThrow(/worker 1 .* waits for 3 members, but others for 2/);
    await expect(a.barrier("b", 2)).rejects.toThrow(/worker 0 .* is already waiting there/);
    await b.barrier("b", 2);
    await waiting;
  });

  it("fail by name when a member dies, or wait for its return", async () => {
    const { connect, start, event } = await cluster(2, { returnMs: 10 });
    const a = await connect(0);
    await a.join();
    const b = await start(1);
    await b.do("join");
    const failing = a.barrier("x", 2).catch((error: Error) => error.message);
    const waiting = a.barrier("y", 2, { whenDead: "wait" });
    await b.kill();
    expect(await failing).toMatch(/^barrier "x": worker 1 \(pid \d+ on .*\) is dead: /);
    await event("died", 1);
    const again = await start(1, 1);
    await again.do("join");
    expect(await again.do("barrier", "y", "2")).toBeNull();
    await waiting;
  });
});

describe("values", () => {
  it("are awaited, kept, and set once", async () => {
    const { connect } = await cluster(2);
    const [a, b] = await Promise.all([connect(0), connect(1)]);
    const waiting = a.get("k");
    expect(await b.peek("k")).toBeUndefined();
    expect(await b.set("k", new Uint8Array([1, 0, 255]))).toBe(true);
    expect([...(await waiting)]).toEqual([1, 0, 255]);
    expect(await a.set("k", "other", { ifAbsent: true })).toBe(false);
    expect([...(await a.peek("k"))!]).toEqual([1, 0, 255]);
    await a.delete("k");
    await expect(b.get("k", { timeoutMs: 10 })).rejects.toThrow(
      'waiting for the value of "k": given up after 0.01 s; nobody has set it',
    );
    expect(await a.set("e", "")).toBe(true);
    expect(await b.get("e")).toHaveLength(0);
  });

  it("are refused beyond what fits", () => {
    const values = new KeyValues({ maxBytes: 8, maxKeys: 3 });
    expect(values.set("a", new Uint8Array(6), false)).toBe(true);
    expect(() => values.set("b", new Uint8Array(3), false)).toThrow("all values together may have 8 bytes and 3 keys");
    expect(values.set("a", new Uint8Array(2), false)).toBe(true);
    for (const key of ["b", "c"]) expect(values.set(key, new Uint8Array(3), false)).toBe(true);
    expect(() => values.set("d", new Uint8Array(0), false)).toThrow("3 keys");
    values.delete("b");
    expect(values.set("d", new Uint8Array(3), false)).toBe(true);
  });
});

describe("leases", options, () => {
  it("give every unit to one member, and those of a dead one to others with its note", async () => {
    const { connect, start } = await cluster(2, { returnMs: 10 });
    const a = await connect(0);
    await a.join();
    const b = await start(1);
    await b.do("join");
    await b.do("lease", "epoch", "uvw");
    expect(await b.do("next", "epoch", "half")).toMatchObject({ index: 0, item: "u" });
    const queue = await a.lease("epoch", ["u", "v", "w"]);
    const done: string[] = [];
    for (const item of ["v", "w"]) {
      const unit = await queue.next();
      expect(unit).toMatchObject({ item, noted: undefined });
      await unit!.done();
      await unit!.done();
      done.push(unit!.item);
    }
    const last = queue.next();
    await b.kill();
    const unit = await last;
    expect(unit).toMatchObject({ item: "u", noted: "half" });
    await unit!.done();
    expect(await queue.next()).toBeUndefined();
  });

  it("are lost by a member that was held for dead", async () => {
    const { connect, coordinator } = await cluster(2);
    const [a, b] = await Promise.all([connect(0), connect(1)]);
    await Promise.all([a.join(), b.join()]);
    const unit = (await (await a.lease("w", ["x"])).next())!;
    coordinator.declareDead({ role: "worker", rank: 0 }, 0, "for a test");
    expect(await (await b.lease("w", ["x"])).next()).toMatchObject({ item: "x" });
    await expect(unit.done()).rejects.toMatchObject({
      code: "lost",
      message: expect.stringContaining("went to worker 1"),
    });
  });

  it("refuse another list", async () => {
    const { connect } = await cluster(1);
    const a = await connect(0);
    await a.join();
    await a.lease("w", ["x", "y"]);
    await expect(a.lease("w", ["x", "z"])).rejects.toThrow('item 1 is "z" instead of "y"');
    await expect(a.lease("w", ["x"])).rejects.toThrow("1 items instead of 2");
    const nothing = await a.lease("none", []);
    expect(await nothing.next()).toBeUndefined();
  });
});

describe("the service", () => {
  it("answers bodies that are no calls by an error, and goes on", async () => {
    const { coordinator, connect } = await cluster(1);
    const client = await RpcClient.connect({ address: coordinator.address });
    cleanups.push(() => client.close());
    const bodies = [
      [],
      [1, 2],
      [255, 255, 255, 255],
      [2, 0, 0, 0, 123, 33],
      [2, 0, 0, 0, 123, 125],
      [4, 0, 0, 0, 110, 117, 108, 108],
    ];
    for (const method of [
      "join",
      "members",
      "events",
      "arrive",
      "wait",
      "set",
      "get",
      "open",
      "next",
      "done",
      "report",
    ]) {
      for (const body of bodies) {
        await expect(
          client.call(`cluster.${method}`, [new Uint8Array(body)]),
          `${method} ${body}`,
        ).rejects.toMatchObject({
          code: expect.stringMatching(/^(invalid|refused)$/),
        });
      }
    }
    await (await connect(0)).join();
    expect(coordinator.members()).toHaveLength(1);
  });

  it("refuses options by name", async () => {
    const options = { address: "tcp://127.0.0.1:0", workers: 0, servers: 0 };
    await expect(Coordinator.start(options)).rejects.toThrow(/workers/);
  });
});

describe("a rendezvous by a file", () => {
  it("brings tasks together whichever comes first, past the file of an earlier job, and ends when all have left", async () => {
    const folder = mkdtempSync(join(tmpdir(), "flotilla-meet-"));
    cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
    const coordinator = pathToFileURL(join(folder, "shared", "coordinator.json")).href;
    const worlds = [0, 1, 2].map(
      (rank): World => ({
        ...{ job: "meet", role: "worker", rank, workers: 3, servers: 0, attempt: 0, coordinator },
        folder: join(folder, "private"),
      }),
    );
    const early = worlds.slice(1).map((world) => Member.connect(world));
    const first = await Member.connect(worlds[0]!);
    const members = [first, ...(await Promise.all(early))];
    await Promise.all(members.map((member) => member.join()));
    await Promise.all(members.map((member) => member.barrier("all", 3)));
    let left = false;
    const leaving = first.leave().then(() => {
      left = true;
    });
    await members[1]!.members("worker", 0);
    expect(left).toBe(false);
    await Promise.all([members[1]!.leave(), members[2]!.leave()]);
    await leaving;
  });

  it("makes keys that name all machines", async () => {
    const folder = mkdtempSync(join(tmpdir(), "flotilla-meet-"));
    cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
    const coordinator = pathToFileURL(join(folder, "coordinator.json")).href;
    const hosts = ["localhost", "no-such-host.invalid"];
    const members = await Promise.all(
      hosts.map((host, rank) =>
        Member.connect({
          ...{ job: "meet", role: "worker", rank, workers: 2, servers: 0, attempt: 0, coordinator },
          ...{ host, keys: join(folder, "keys") },
        }),
      ),
    );
    await Promise.all(members.map((member) => member.join({ addresses: [member.world.host!] })));
    const found = await members[1]!.members("worker", 2);
    expect(found[0]!.addresses).toEqual(["localhost"]);
    expect(found[1]!.addresses[0]).not.toBe("no-such-host.invalid");
    await Promise.all(members.map((member) => member.leave()));
  });
});
