// For tests: services at every kind of address, raw connections to them, and frames as bytes.
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { parseAddress } from "./address.ts";
import { type ClientOptions, RpcClient } from "./client.ts";
import { FRAME_VERSION, type FrameFields, HEADER_BYTES, kinds, paddingOf, writeHeader } from "./frame.ts";
import { makeKeys } from "./keys.ts";
import { none } from "./link.ts";
import { encodeHello } from "./messages.ts";
import { RpcServer, type ServerOptions } from "./server.ts";

export const transports = ["unix", "tcp", "tls"] as const;
export type TransportName = (typeof transports)[number];

/** Servers and clients over one transport, all ended by `dispose`. */
export class Place {
  readonly folder = mkdtempSync(join(tmpdir(), "flotilla-net-"));
  readonly keys = join(this.folder, "keys");
  readonly #transport: TransportName;
  readonly #ending: (() => unknown)[] = [];
  #sockets = 0;

  constructor(transport: TransportName) {
    this.#transport = transport;
  }

  async prepare(): Promise<void> {
    if (this.#transport === "tls") await makeKeys({ folder: this.keys });
  }

  async listen(options: Omit<ServerOptions, "address"> & { readonly address?: string }): Promise<RpcServer> {
    const address =
      this.#transport === "unix" ? `unix://${this.folder}/${this.#sockets++}.sock` : `${this.#transport}://127.0.0.1:0`;
    const server = await RpcServer.listen({ address, ...this.#withKeys(), ...options });
    this.#ending.push(() => server.close());
    return server;
  }

  async connect(server: RpcServer, options: Partial<ClientOptions> = {}): Promise<RpcClient> {
    const client = await RpcClient.connect({ address: server.address, ...this.#withKeys(), ...options });
    this.#ending.push(() => client.close());
    return client;
  }

  async dispose(): Promise<void> {
    for (const end of this.#ending.reverse()) await end();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #withKeys(): { keys?: string } {
    return this.#transport === "tls" ? { keys: this.keys } : {};
  }
}

/** A plain socket to a service. */
export function rawSocket(address: string): Promise<Socket> {
  const parsed = parseAddress(address);
  const socket = parsed.protocol === "unix" ? connect(parsed.path) : connect(parsed.port, parsed.host);
  return new Promise((resolve, reject) => {
    socket.once("connect", () => resolve(socket));
    socket.once("error", reject);
  });
}

/** Resolves when the other side has ended the connection, with what it sent before. */
export function untilClosed(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.on("error", () => {});
  return new Promise((resolve) => socket.once("close", () => resolve(Buffer.concat(chunks))));
}

/** A frame as bytes, whose header may claim another length than the body has. */
export function frameBytes(
  fields: Partial<FrameFields> & Pick<FrameFields, "kind">,
  body: Uint8Array = new Uint8Array(0),
  claimedLength = body.byteLength,
): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + body.byteLength + paddingOf(body.byteLength));
  writeHeader(bytes, 0, { ...none, ...fields }, claimedLength, crc32(body));
  bytes.set(body, HEADER_BYTES);
  return bytes;
}

export const helloBytes = (client: bigint): Buffer =>
  frameBytes({ kind: kinds.hello }, encodeHello({ client, name: "raw", maxFrameBytes: 1 << 20 }));

/** The header with another version, and the checksum that goes with it. */
export function ofOtherVersion(frame: Buffer): Buffer {
  const changed = Buffer.from(frame);
  changed[4] = FRAME_VERSION + 1;
  changed.writeUInt32LE(crc32(changed.subarray(0, 36)), 36);
  return changed;
}

/** Checks until it holds; the test's own time limit ends it. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
