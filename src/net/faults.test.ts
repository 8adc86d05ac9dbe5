// Calls under faults: lost, late and cut messages, servers that are killed, peers that fall silent.
import { createServer, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { AppliedCalls } from "./applied.ts";
import { RpcClient } from "./client.ts";
import { FaultSource, faultsFromEnvironment } from "./faults.ts";
import { kinds } from "./frame.ts";
import { encodeWelcome } from "./messages.ts";
import { frameBytes, helloBytes, Place, rawSocket, until, untilClosed } from "./testing.ts";
import type { Handlers } from "./types.ts";

const patient = { retries: Number.POSITIVE_INFINITY };
let place = new Place("unix");
afterEach(async () => {
  await place.dispose();
  place = new Place("unix");
});

/** A handler that only adds ones, and how often it did. */
function counter(): { total: number; readonly handlers: Handlers } {
  const count = {
    total: 0,
    handlers: {
      add: {
        once: true,
        handle: () => {
          count.total++;
          return [Uint8Array.of(count.total & 0xff)];
        },
      },
      addLater: {
        once: true,
        handle: async () => {
          await new Promise((resolve) => setImmediate(resolve));
          count.total++;
          return [];
        },
      },
    },
  };
  return count;
}

describe("calls of a handler that only adds ones", () => {
  it.each([
    ["the client's connection breaks", { disconnect: 0.05 }, undefined],
    ["the server's connections break", undefined, { disconnect: 0.05 }],
    ["calls are lost", { drop: 0.1 }, undefined],
    ["replies are lost", undefined, { drop: 0.1 }],
    ["messages are late", { delayMs: 5 }, { delayMs: 5 }],
    ["everything at once", { drop: 0.05, disconnect: 0.02, delayMs: 2 }, { drop: 0.05, disconnect: 0.02, delayMs: 2 }],
  ])("add exactly N while %s", async (_, ofClient, ofServer) => {
    const count = counter();
    const server = await place.listen({ handlers: count.handlers, ...(ofServer && { faults: ofServer }) });
    const clients = await Promise.all(
      [1, 2].map((seed) => place.connect(server, { resendMs: 50, ...(ofClient && { faults: { ...ofClient, seed } }) })),
    );
    const calls = clients.flatMap((client) =>
      Array.from({ length: 300 }, (_, i) => client.call(i % 2 === 0 ? "add" : "addLater", [], patient)),
    );
    await Promise.all(calls);
    expect(count.total).toBe(calls.length);
  });

  it("add exactly N over restarts of the server that keep what was applied", async () => {
    const count = counter();
    let server = await place.listen({ handlers: count.handlers });
    const client = await place.connect(server);
    let done = 0;
    const calls = Array.from({ length: 2000 }, () =>
      client.call("addLater", [new Uint8Array(500)], patient).then(() => done++),
    );
    for (let restart = 1; restart <= 5; restart++) {
      await until(() => done >= 200 * restart);
      await server.close();
      const applied = new AppliedCalls();
      applied.import(structuredClone(server.applied.export()));
      server = await place.listen({ handlers: count.handlers, address: server.address, applied });
    }
    await Promise.all(calls);
    expect(count.total).toBe(2000);
    expect(server.applied.highest(client.id)).toBe(2000);
  });

  it("fail rather than add twice when the reply is gone", async () => {
    const count = counter();
    const applied = new AppliedCalls();
    const server = await place.listen({ handlers: count.handlers, applied });
    const client = await place.connect(server);
    applied.record(client.id, 4);
    applied.settle(client.id, 5);
    await expect(client.call("add")).rejects.toMatchObject({ code: "forgotten" });
    expect(count.total).toBe(0);
  });

  it("fail after their retries", async () => {
    const server = await place.listen({ handlers: { add: () => [] } });
    const client = await place.connect(server, { faults: { disconnect: 1 } });
    await expect(client.call("add", [], { retries: 2 })).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringMatching(/was sent 3 times; the server at .* was disconnected by a fault/),
    });
  });
});

describe("a call that runs when its connection breaks", () => {
  it("is not begun again: the repeated call gets its reply", async () => {
    let begun = 0;
    const { promise, resolve } = Promise.withResolvers<readonly Uint8Array[]>();
    const barrier = (): typeof promise => {
      begun++;
      return promise;
    };
    const server = await place.listen({ handlers: { barrier } });
    const [one, two] = await Promise.all([rawSocket(server.address), rawSocket(server.address)]);
    const call = frameBytes({ kind: kinds.call, sequence: 1, milliseconds: 10_000 });
    one.write(Buffer.concat([helloBytes(7n), call]));
    await until(() => begun === 1);
    const closed = untilClosed(one);
    two.write(Buffer.concat([helloBytes(7n), call]));
    await closed;
    const received: Buffer[] = [];
    two.on("data", (chunk: Buffer) => received.push(chunk));
    resolve([Buffer.from("here it is")]);
    await until(() => Buffer.concat(received).includes("here it is"));
    expect(begun).toBe(1);
    two.destroy();
  });

  it("is aborted when the client does not come back", async () => {
    const reasons: string[] = [];
    const server = await place.listen({
      handlers: {
        wait: (_, { signal }) =>
          new Promise((resolve) =>
            signal.addEventListener("abort", () => {
              reasons.push(signal.reason.message);
              resolve([]);
            }),
          ),
      },
      heartbeatMs: 10,
      silenceMs: 50,
    });
    const socket = await rawSocket(server.address);
    socket.write(Buffer.concat([helloBytes(7n), frameBytes({ kind: kinds.call, sequence: 1, milliseconds: 60_000 })]));
    await until(() => server.peers.length === 1);
    socket.destroy();
    await until(() => reasons.length === 1);
    expect(reasons[0]).toMatch(/^raw at .* has gone$/);
  });
});

describe("replies in memory of the server", () => {
  it("are whole though connections end while they are sent", async () => {
    let calls = 0;
    const server = await place.listen({
      handlers: {
        fill: (body, context) => {
          calls++;
          return [context.memory(200_000 + 8 * body[0]!).fill(body[0]!)];
        },
      },
    });
    const client = await place.connect(server);
    const wanted = Array.from({ length: 200 }, (_, i) => i);
    const replies = Promise.all(wanted.map((i) => client.call("fill", [Uint8Array.of(i)], patient)));
    for (let taken = 0; taken < 10; taken++) {
      await until(() => calls > 15 * taken);
      // Whoever says hello as the same client ends its other connection.
      const other = await rawSocket(server.address);
      other.write(helloBytes(client.id));
      await untilClosed(other);
    }
    const right = (reply: Uint8Array, i: number): boolean =>
      reply.byteLength === 200_000 + 8 * i && reply.every((value) => value === i);
    expect((await replies).map(right)).toEqual(wanted.map(() => true));
    expect(calls).toBeGreaterThan(200);
  });
});

describe("peers that fall silent", () => {
  it("are given up by the server, by name", async () => {
    const gone: (string | undefined)[] = [];
    const server = await place.listen({
      handlers: {},
      heartbeatMs: 10,
      silenceMs: 50,
      onDisconnect: (_, reason) => gone.push(reason),
    });
    const socket = await rawSocket(server.address);
    socket.write(helloBytes(7n));
    await untilClosed(socket);
    expect(gone).toEqual([expect.stringMatching(/^raw at .* was silent for 0.05 s and is given up$/)]);
  });

  it("are kept by heartbeats, however little there is to say", async () => {
    const server = await place.listen({ handlers: { ping: () => [] }, heartbeatMs: 10, silenceMs: 200 });
    const lost: Error[] = [];
    const client = await place.connect(server, {
      heartbeatMs: 10,
      silenceMs: 200,
      onDisconnect: (error) => lost.push(error),
    });
    const before = client.traffic;
    await until(() => client.traffic.received > before.received + 40 * 40);
    await client.call("ping");
    expect(lost).toEqual([]);
  });

  it("are left by the client for the next connection", async () => {
    const welcome = encodeWelcome({ server: "1", methods: [["ping", false]], maxFrameBytes: 1000 });
    const sockets: Socket[] = [];
    const path = `${place.folder}/silent.sock`;
    const silent = createServer((socket) => {
      sockets.push(socket.resume());
      socket.on("error", () => {});
      socket.write(frameBytes({ kind: kinds.welcome }, welcome));
      // Only the second connection answers.
      if (sockets.length === 2) socket.once("data", () => socket.write(frameBytes({ kind: kinds.reply, sequence: 1 })));
    });
    await new Promise<void>((resolve) => silent.listen(path, resolve));
    const client = await RpcClient.connect({ address: `unix://${path}`, heartbeatMs: 10, silenceMs: 60 });
    expect(await client.call("ping")).toEqual(new Uint8Array(0));
    expect(sockets.length).toBe(2);
    await client.close();
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
});

describe("faults", () => {
  it("come from the environment too, checked", () => {
    expect(faultsFromEnvironment({})).toBeUndefined();
    expect(faultsFromEnvironment({ FLOTILLA_FAULTS: "drop=0.1,delayMs=5" })).toEqual({ drop: 0.1, delayMs: 5 });
    for (const text of ["drop", "drop=", "drop=2", "loss=0.1", "drop=-1", "drop=x"]) {
      expect(() => faultsFromEnvironment({ FLOTILLA_FAULTS: text }), text).toThrow(JSON.stringify(text));
    }
  });

  it("come as often as they should, the same for the same seed", () => {
    const draws = (seed: number): string[] => {
      const source = new FaultSource({ drop: 0.2, disconnect: 0.25, seed });
      return Array.from({ length: 10_000 }, () => source.next());
    };
    const share = (fault: string): number => draws(1).filter((each) => each === fault).length / 10_000;
    expect(share("drop")).toBeCloseTo(0.2, 1);
    expect(share("cut") + share("disconnect")).toBeCloseTo(0.2, 1);
    expect(draws(1)).toEqual(draws(1));
    expect(draws(1)).not.toEqual(draws(2));
  });
});
