// Whose memory bodies lie in, over every transport: memory that is used again must not be used too early.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Place, type TransportName, transports, until } from "./testing.ts";

const MIB = 2 ** 20;

describe.each(transports)("bodies of remote calls over %s", (transport: TransportName) => {
  let place: Place;
  beforeEach(async () => {
    place = new Place(transport);
    await place.prepare();
  });
  afterEach(() => place.dispose());

  it("come from shared memory and go to it", async () => {
    const server = await place.listen({ handlers: { echo: (body) => [body] } });
    const client = await place.connect(server);
    for (const length of [100, MIB >> 1]) {
      const shared = new Uint8Array(new SharedArrayBuffer(2 * length));
      shared.fill(9, 0, length);
      const reply = await client.call("echo", [shared.subarray(0, length)], { into: shared.subarray(length) });
      expect([reply.buffer === shared.buffer, reply.byteOffset, reply.byteLength]).toEqual([true, length, length]);
      expect(shared.every((value) => value === 9)).toBe(true);
      const elsewhere = await client.call("echo", [shared], { into: shared.subarray(0, length) });
      expect(elsewhere.buffer === shared.buffer).toBe(false);
      expect(Buffer.compare(elsewhere, shared)).toBe(0);
    }
  });

  it("are borrowed: their memory serves for later ones, but never what a reply still needs", async () => {
    const seen: Uint8Array[] = [];
    const server = await place.listen({
      handlers: {
        take: {
          borrows: true,
          handle: (body) => {
            seen.push(body);
            return [];
          },
        },
        echo: { borrows: true, handle: (body) => [body] },
      },
    });
    const client = await place.connect(server);
    await client.call("take", [new Uint8Array(100_000).fill(1)]);
    await client.call("take", [new Uint8Array(100_000).fill(2)]);
    expect(seen[0]!.buffer === seen[1]!.buffer).toBe(true);
    const replies = await Promise.all(
      Array.from({ length: 16 }, (_, i) => client.call("echo", [new Uint8Array(100_000).fill(i)])),
    );
    expect(replies.every((reply, i) => reply.every((value) => value === i))).toBe(true);
  });

  it("are not given back where they share memory with others", async () => {
    const server = await place.listen({
      handlers: {
        borrow: { borrows: true, handle: () => [] },
        later: {
          borrows: true,
          handle: async (body) => {
            await new Promise((resolve) => setTimeout(resolve, 1));
            return [body];
          },
        },
      },
    });
    const client = await place.connect(server);
    const replies = await Promise.all(
      Array.from({ length: 400 }, async (_, i) => {
        const length = i % 5 === 0 ? 65_536 : 300 + 20 * i;
        await client.call("borrow", [new Uint8Array(length).fill(255)]);
        return client.call("later", [new Uint8Array(length).fill(i)]);
      }),
    );
    expect(replies.every((reply, i) => reply.every((value) => value === i % 256))).toBe(true);
  });

  it("of replies give their memory to later ones when they are sent", async () => {
    const used: ArrayBufferLike[] = [];
    const server = await place.listen({
      handlers: {
        fill: (body, context) => {
          const memory = context.memory(300_000).fill(body[0]!);
          used.push(memory.buffer);
          return [memory.subarray(0, 100_000), memory.subarray(100_000)];
        },
      },
    });
    const client = await place.connect(server);
    const ask = async (i: number): Promise<boolean> => {
      const reply = await client.call("fill", [Uint8Array.of(i)]);
      return reply.byteLength === 300_000 && reply.every((value) => value === i);
    };
    const all = await Promise.all(Array.from({ length: 60 }, (_, i) => ask(i)));
    expect(all).toEqual(all.map(() => true));
    for (let i = 60; i < 80; i++) expect(await ask(i)).toBe(true);
    expect(new Set(used).size).toBeLessThan(used.length);
  });

  it("leave memory alone once their calls have settled", async () => {
    const big = new Uint8Array(8 * MIB).fill(5);
    const server = await place.listen({ handlers: { big: () => [big], ping: () => [] } });
    const client = await place.connect(server);
    const into = new Uint8Array(big.length);
    const controller = new AbortController();
    const call = client.call("big", [], { into, signal: controller.signal });
    await until(() => into[0] === 5);
    controller.abort();
    await expect(call).rejects.toMatchObject({ code: "cancelled" });
    into.fill(0);
    await client.call("ping");
    expect(into.every((value) => value === 0)).toBe(true);
  });
});
