// Connections of a relay to all other ranks: to those below it calls, those above call it. Each says who it is first.
import type { Socket } from "node:net";
import { ConnectionError, dial, type KeysOption, listen } from "../../net/index.ts";
import { PeerError } from "../errors.ts";
import { HEADER_BYTES, header, Kind, parseHeader } from "./frames.ts";

export interface ConnectOptions {
  readonly rank: number;
  readonly size: number;
  readonly addresses: readonly string[];
  readonly keys?: KeysOption;
  readonly job: string;
  readonly connectMs: number;
}

export interface Connected {
  readonly peer: number;
  readonly socket: Socket;
  /** What came after the hello. */
  readonly first: Buffer;
}

const RETRY_MS = 50;
const HELLO_MS = 5000;
const VERSION = 1;

/** @throws PeerError that names a rank which did not come in time */
export async function connectAll(options: ConnectOptions): Promise<Connected[]> {
  const { rank, size, addresses, keys, connectMs } = options;
  const deadline = performance.now() + connectMs;
  const found: Connected[] = [];
  let arrived = (): void => undefined;
  const listener = await listen({
    address: addresses[rank]!,
    keys: keys === undefined ? undefined : { role: "worker", ...(typeof keys === "string" ? { folder: keys } : keys) },
    onSocket: (socket) => {
      socket.on("error", () => undefined);
      readHello(socket, options).then(
        (connected) => {
          if (found.some(({ peer }) => peer === connected.peer)) socket.destroy();
          else found.push(connected);
          arrived();
        },
        () => socket.destroy(),
      );
    },
    onRefused: () => undefined,
  });
  try {
    await Promise.all(
      Array.from({ length: rank }, async (_, peer) => {
        const socket = await reach(peer, options, deadline);
        socket.on("error", () => undefined);
        socket.write(hello(options));
        found.push({ peer, socket, first: Buffer.alloc(0) });
      }),
    );
    while (found.length < size - 1) {
      const left = deadline - performance.now();
      const missing = Array.from({ length: size }, (_, peer) => peer).filter(
        (peer) => peer !== rank && !found.some((each) => each.peer === peer),
      );
      if (left <= 0) {
        const names = missing.map((peer) => `rank ${peer}`).join(", ");
        throw new PeerError(missing[0]!, `rank ${rank} waited in vain for ${names} to connect`);
      }
      await new Promise<void>((resolve) => {
        arrived = resolve;
        setTimeout(resolve, left);
      });
    }
    return found;
  } catch (error) {
    for (const { socket } of found) socket.destroy();
    throw error;
  } finally {
    // It takes no more calls from now on; what it waits for is the end of those that it took.
    void listener.close();
  }
}

async function reach(peer: number, { rank, addresses, keys }: ConnectOptions, deadline: number): Promise<Socket> {
  for (;;) {
    try {
      return await dial(addresses[peer]!, { keys });
    } catch (error) {
      if (performance.now() > deadline || (error instanceof ConnectionError && !error.temporary)) {
        throw new PeerError(peer, `rank ${rank} cannot reach rank ${peer}: ${(error as Error).message}`);
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

/** Version, size, rank, and a hash of the job's name. */
function hello({ rank, size, job }: ConnectOptions): Buffer {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(job)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return Buffer.concat([header(Kind.hello, 16), Buffer.from(Uint32Array.of(VERSION, size, rank, hash).buffer)]);
}

/** @throws where who connected is no rank above this one of this job */
async function readHello(socket: Socket, options: ConnectOptions): Promise<Connected> {
  const expected = hello(options);
  const timer = setTimeout(() => socket.destroy(), HELLO_MS);
  try {
    let bytes = Buffer.alloc(0);
    while (bytes.length < expected.length) {
      const chunk = await new Promise<Buffer>((resolve, reject) => {
        const readable = (): void => {
          const some = socket.read() as Buffer | null;
          if (some !== null) resolve(some);
          else socket.once("readable", readable);
        };
        socket.once("close", () => reject(new Error("it closed")));
        readable();
      });
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.length >= HEADER_BYTES && parseHeader(bytes).kind !== Kind.hello) throw new Error("no hello");
    }
    const peer = bytes.readUInt32LE(HEADER_BYTES + 8);
    const same = hello({ ...options, rank: peer }).equals(bytes.subarray(0, expected.length));
    if (!same || peer <= options.rank || peer >= options.size) throw new Error("no rank of this group");
    return { peer, socket, first: bytes.subarray(expected.length) };
  } finally {
    clearTimeout(timer);
  }
}
