// What remote calls promise, over every transport.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RpcError } from "./error.ts";
import { Place, type TransportName, transports, until } from "./testing.ts";
import type { CallContext, Peer } from "./types.ts";

const MIB = 2 ** 20;
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

/** A promise with its means of settling, for handlers that wait for the test. */
function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}

describe.each(transports)("remote calls over %s", (transport: TransportName) => {
  let place: Place;
  beforeEach(async () => {
    place = new Place(transport);
    await place.prepare();
  });
  afterEach(() => place.dispose());

  it.each([0, 1, 7, 8192, 8193, 70_000, 2 * MIB + 3])("carry a body of %d bytes in parts both ways", async (length) => {
    const server = await place.listen({
      handlers: { halves: (body) => [body.subarray(0, length >> 1), body.subarray(length >> 1), bytes(1)] },
    });
    const client = await place.connect(server);
    const body = Uint8Array.from({ length }, (_, i) => (i * 7) ^ (i >> 8));
    const third = Math.floor(length / 3);
    const reply = await client.call("halves", [body.subarray(0, third), bytes(), body.subarray(third)]);
    expect(Buffer.compare(reply, Buffer.concat([body, bytes(1)]))).toBe(0);
    expect(reply.byteOffset % 8).toBe(0);
    expect(reply.constructor).toBe(Uint8Array);
    expect(client.traffic.sent).toBeGreaterThan(length);
    expect(client.traffic.received).toBeGreaterThan(length);
  });

  it("begin in order and are answered as they end", async () => {
    const order: number[] = [];
    const gates = [gate(), gate(), gate()];
    const server = await place.listen({
      handlers: {
        wait: async (body) => {
          order.push(body[0]!);
          await gates[body[0]!]!.opened;
          return [body];
        },
      },
    });
    const client = await place.connect(server);
    const calls = [0, 1, 2].map((i) => client.call("wait", [bytes(i)]));
    await until(() => order.length === 3);
    expect(order).toEqual([0, 1, 2]);
    const ended: number[] = [];
    for (const call of calls) call.then((reply) => ended.push(reply[0]!));
    for (const i of [2, 0, 1]) {
      gates[i]!.open();
      await calls[i];
    }
    expect(ended).toEqual([2, 0, 1]);
  });

  it("answer thousands at once, whatever their size", async () => {
    const server = await place.listen({ handlers: { echo: async (body) => [body] }, maxInFlightBytes: MIB });
    const client = await place.connect(server, { maxInFlightBytes: 3 * MIB });
    const replies = await Promise.all(
      Array.from({ length: 1200 }, (_, i) => client.call("echo", [new Uint8Array((i * 37) % 20_000).fill(i)])),
    );
    expect(replies.every((reply, i) => reply.length === (i * 37) % 20_000 && reply.every((b) => b === i % 256))).toBe(
      true,
    );
  });

  it("give the caller the handler's error with its code", async () => {
    const server = await place.listen({
      handlers: {
        refuse: () => {
          throw new RpcError("not a number", "worker 3, table ctr, key 7: NaN");
        },
        break: async () => {
          throw new TypeError("oh");
        },
        once: { once: true, handle: () => Promise.reject(new RpcError("full", "no")) },
      },
    });
    const client = await place.connect(server);
    await expect(client.call("refuse")).rejects.toMatchObject({
      name: "RpcError",
      code: "not a number",
      message: "worker 3, table ctr, key 7: NaN",
    });
    await expect(client.call("break")).rejects.toMatchObject({ code: "internal", message: "oh" });
    await expect(client.call("once")).rejects.toMatchObject({ code: "full" });
    await expect(client.call("nothing")).rejects.toMatchObject({
      code: "unknown method",
      message: expect.stringMatching(/has no method nothing; it has refuse, break, once$/),
    });
  });

  it("stop waiting at the deadline and tell the handler", async () => {
    const reasons: unknown[] = [];
    const contexts: CallContext[] = [];
    const server = await place.listen({
      handlers: {
        wait: (_, context) => {
          contexts.push(context);
          return new Promise((resolve) =>
            context.signal.addEventListener("abort", () => {
              reasons.push(context.signal.reason);
              resolve([]);
            }),
          );
        },
      },
    });
    const client = await place.connect(server);
    await expect(client.call("wait", [], { deadlineMs: 30 })).rejects.toMatchObject({
      code: "deadline",
      message: `call wait to ${server.address} reached its deadline: no reply came`,
    });
    await until(() => reasons.length === 1);
    expect(reasons[0]).toMatchObject({ code: "cancelled" });
    expect(contexts[0]!.deadline).toBeLessThan(performance.now() + 1000);
    await expect(client.call("wait", [], { deadlineMs: 0 }).catch((error) => error.message)).resolves.toMatch(
      /above 0/,
    );
  });

  it("are cancelled by a signal, before and after they were sent", async () => {
    const aborted: number[] = [];
    const server = await place.listen({
      handlers: {
        wait: ({ length }, { signal }) =>
          new Promise((resolve) => signal.addEventListener("abort", () => resolve([bytes(aborted.push(length))]))),
        ping: () => [],
      },
    });
    const client = await place.connect(server);
    const controller = new AbortController();
    const call = client.call("wait", [bytes(1, 2)], { signal: controller.signal });
    await client.call("ping");
    controller.abort(new Error("enough"));
    await expect(call).rejects.toMatchObject({ code: "cancelled", cause: new Error("enough") });
    await until(() => aborted.length === 1);
    await expect(client.call("wait", [], { signal: controller.signal })).rejects.toMatchObject({ code: "cancelled" });
    expect(await client.call("ping")).toEqual(bytes());
    expect(aborted).toEqual([2]);
  });

  it("refuse bodies above the limit of either side, and go on", async () => {
    const server = await place.listen({ handlers: { echo: (body) => [body] }, maxFrameBytes: 1000_000 });
    const client = await place.connect(server);
    await expect(client.call("echo", [new Uint8Array(1000_001)])).rejects.toMatchObject({ code: "too large" });
    expect((await client.call("echo", [new Uint8Array(1000_000)])).length).toBe(1000_000);
    const small = await place.connect(server, { maxFrameBytes: 2000 });
    await expect(small.call("echo", [new Uint8Array(2001)])).rejects.toMatchObject({
      code: "too large",
      message: expect.stringMatching(
        /^the reply of echo has 2001 bytes where the caller takes 2000; ask for it in pieces/,
      ),
    });
    expect((await small.call("echo", [new Uint8Array(2000)])).length).toBe(2000);
  });

  it("wait for a server that comes back, with the same number", async () => {
    const contexts: CallContext[] = [];
    const handlers = {
      note: (_: Uint8Array, context: CallContext) => {
        contexts.push(context);
        return [];
      },
    };
    const first = await place.listen({ handlers });
    const events: string[] = [];
    const client = await place.connect(first, {
      name: "worker 3",
      onDisconnect: (error) => events.push(error.message),
      onReconnect: () => events.push("back"),
    });
    await client.call("note");
    await first.close();
    await until(() => !client.connected);
    expect(events).toEqual([`the server at ${first.address} ended the connection: the server is closing`]);
    const call = client.call("note");
    const late = client.call("note", [], { deadlineMs: 20 });
    await expect(late).rejects.toMatchObject({ code: "deadline", message: expect.stringMatching("no connection") });
    await place.listen({ handlers, address: first.address });
    await call;
    expect(events[1]).toBe("back");
    expect(contexts.map(({ sequence }) => sequence)).toEqual([1, 2]);
    expect(contexts.every((context) => context.client === client.id && context.peer.name === "worker 3")).toBe(true);
    expect(contexts[0]!.peer.description).toMatch(/^worker 3 at /);
    expect(contexts[0]!.peer.certificate).toBe(transport === "tls" ? "worker" : undefined);
  });

  it("tell the server who came and who went", async () => {
    const events: [string, Peer, string | undefined][] = [];
    const server = await place.listen({
      handlers: {},
      onConnect: (peer) => events.push(["came", peer, undefined]),
      onDisconnect: (peer, reason) => events.push(["went", peer, reason]),
    });
    const client = await place.connect(server, { name: "worker 0" });
    expect(server.peers.map(({ name }) => name)).toEqual(["worker 0"]);
    await client.close();
    await until(() => events.length === 2);
    expect(events.map(([what, { name }, reason]) => [what, name, reason])).toEqual([
      ["came", "worker 0", undefined],
      ["went", "worker 0", undefined],
    ]);
    expect(server.peers).toEqual([]);
  });

  it("fail when their client is closed", async () => {
    const server = await place.listen({ handlers: { wait: () => new Promise(() => {}) } });
    const client = await place.connect(server);
    const call = client.call("wait");
    await client.close();
    await expect(call).rejects.toMatchObject({ code: "unavailable", message: expect.stringMatching("was closed") });
    await expect(client.call("wait")).rejects.toMatchObject({ code: "unavailable" });
  });
});
