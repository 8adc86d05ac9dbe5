// A live server under bytes that no client sends: it goes on, holds little, and serves the others.
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RpcClient } from "./client.ts";
import type { ConnectionError } from "./error.ts";
import { type Kind, kinds } from "./frame.ts";
import type { RpcServer } from "./server.ts";
import { frameBytes, helloBytes, ofOtherVersion, Place, rawSocket, until, untilClosed } from "./testing.ts";

const MIB = 2 ** 20;
const MAX_IN_FLIGHT = 64 * MIB;
const place = new Place("unix");
const errors: ConnectionError[] = [];
let server: RpcServer;
let client: RpcClient;
let nextClient = 1n;

beforeAll(async () => {
  server = await place.listen({
    handlers: { echo: (body) => [body], later: async (body) => [body] },
    maxFrameBytes: 32 * MIB,
    maxInFlightBytes: MAX_IN_FLIGHT,
    onError: (error) => errors.push(error),
  });
  client = await place.connect(server);
});
afterAll(() => place.dispose());

/** Sends bytes, ends, and resolves when the server has ended the connection; then the other client still gets answers. */
async function sendRaw(bytes: Uint8Array): Promise<Buffer> {
  const socket = await rawSocket(server.address);
  const closed = untilClosed(socket);
  socket.end(bytes);
  const received = await closed;
  expect(await client.call("echo", [Uint8Array.of(1, 2)])).toEqual(Uint8Array.of(1, 2));
  return received;
}

const garbage = fc.uint8Array({ maxLength: 2000 });
const call = fc.record({
  kind: fc.constantFrom<Kind>(...Object.values(kinds)),
  method: fc.oneof(fc.nat(2), fc.nat(0xffff)),
  sequence: fc.maxSafeNat(),
  milliseconds: fc.nat(0xffffffff),
  settled: fc.nat(0xffffffff),
  body: fc.uint8Array({ maxLength: 300 }),
});

describe("a server", () => {
  it("survives random bytes, before and after a hello", async () => {
    await fc.assert(
      fc.asyncProperty(garbage, fc.boolean(), async (bytes, greeted) => {
        await sendRaw(greeted ? Buffer.concat([helloBytes(nextClient++), bytes]) : bytes);
      }),
      { numRuns: 60 },
    );
  });

  it("survives frames that no client sends, cut anywhere, with flipped bits", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(call, { maxLength: 6 }),
        fc.nat(),
        fc.array(fc.nat(), { maxLength: 2 }),
        async (calls, end, flips) => {
          const frames = calls.map(({ body, ...fields }) => frameBytes(fields, body));
          const bytes = Buffer.concat([helloBytes(nextClient++), ...frames]);
          for (const flip of flips) bytes[(flip >> 3) % bytes.length]! ^= 1 << (flip & 7);
          await sendRaw(bytes.subarray(0, bytes.length - (end % bytes.length)));
        },
      ),
      { numRuns: 80 },
    );
  });

  it.each([32 * MIB + 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1])(
    "ends a connection that announces %d bytes, and says why",
    async (length) => {
      errors.length = 0;
      const frame = frameBytes({ kind: kinds.call, sequence: 1 }, new Uint8Array(0), length);
      const received = await sendRaw(Buffer.concat([helloBytes(nextClient++), frame]));
      expect(received.toString("latin1")).toContain(`sent a frame of ${length} bytes where ${32 * MIB} are allowed`);
      expect(errors.map(({ message }) => message)).toEqual([
        expect.stringMatching(new RegExp(`^raw at .* sent a frame of ${length} bytes`)),
      ]);
    },
  );

  it("ends a connection that announces more than a hello before it has said who it is", async () => {
    const received = await sendRaw(frameBytes({ kind: kinds.hello }, new Uint8Array(0), 5000));
    expect(received.toString("latin1")).toContain("sent a frame of 5000 bytes where 4096 are allowed");
  });

  it.each([
    ["another version", ofOtherVersion(helloBytes(1n)), "speaks version 2 of the frames"],
    ["no hello", frameBytes({ kind: kinds.call }), "did not begin with a hello"],
    ["a hello that is no JSON", frameBytes({ kind: kinds.hello }, Buffer.from("{")), "hello that cannot be read"],
    ["a hello of nobody", frameBytes({ kind: kinds.hello }, Buffer.from('{"client":-1}')), "hello that cannot be read"],
    ["HTTP", Buffer.from("GET / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n"), "no frame of flotilla"],
  ])("tells %s apart", async (_, bytes, reason) => {
    expect((await sendRaw(bytes)).toString("latin1")).toContain(reason);
  });

  it("holds no more than its budget for bodies that never come, and serves others meanwhile", async () => {
    const before = process.memoryUsage().arrayBuffers;
    const sockets = await Promise.all(Array.from({ length: 40 }, () => rawSocket(server.address)));
    const announced = server.peers.length;
    for (const socket of sockets) {
      const frame = frameBytes({ kind: kinds.call, sequence: 1 }, new Uint8Array(8), 16 * MIB);
      socket.write(Buffer.concat([helloBytes(nextClient++), frame]));
    }
    await until(() => server.peers.length === announced + sockets.length);
    const large = client.call("echo", [new Uint8Array(MIB)]);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(MAX_IN_FLIGHT + 16 * MIB);
    // What was announced holds the budget; a body that fits beside it need not wait, others wait for its end.
    for (const socket of sockets) socket.destroy();
    expect((await large).length).toBe(MIB);
    await until(() => server.peers.length === announced);
    expect((await client.call("later", [new Uint8Array(32 * MIB)])).length).toBe(32 * MIB);
  });
});
