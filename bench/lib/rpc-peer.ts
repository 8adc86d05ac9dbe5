// The other process of `bench -- rpc`: a service of remote calls, and a plain echo and sink without frames.
import { createServer, type Server, type Socket } from "node:net";
import tls from "node:tls";
import { readCredentials } from "../../src/net/credentials.ts";
import { RpcServer } from "../../src/net/index.ts";

export interface PeerRequest {
  readonly transport: "unix" | "tcp" | "tls";
  readonly folder: string;
}

export interface PeerReady {
  readonly rpc: string;
  readonly plain: { readonly path: string } | { readonly host: string; readonly port: number };
}

/** The first byte of a plain connection says what it is for. */
export const plainModes = { echo: 1, sink: 2 } as const;

function servePlain(socket: Socket): void {
  socket.on("error", () => socket.destroy());
  socket.setNoDelay(true);
  let mode = 0;
  let expected = 0;
  socket.on("data", (chunk: Buffer) => {
    if (mode === 0) {
      mode = chunk[0]!;
      socket.write(chunk.subarray(0, 1));
    } else if (mode === plainModes.echo) {
      socket.write(chunk);
    } else if (mode === plainModes.sink) {
      // Of each message the number of bytes comes first; at its end goes one byte back.
      let at = 0;
      while (at < chunk.length) {
        if (expected === 0) {
          expected = chunk.readUInt32LE(at);
          at += 4;
        }
        const taken = Math.min(expected, chunk.length - at);
        expected -= taken;
        at += taken;
        if (expected === 0) socket.write(chunk.subarray(0, 1));
      }
    }
  });
}

async function main({ transport, folder }: PeerRequest): Promise<PeerReady> {
  const keys = `${folder}/keys`;
  const address = transport === "unix" ? `unix://${folder}/rpc.sock` : `${transport}://127.0.0.1:0`;
  const server = await RpcServer.listen({
    address,
    ...(transport === "tls" && { keys }),
    handlers: {
      echo: (body) => [body],
      sink: { borrows: true, handle: () => [] },
    },
  });
  const plain = await plainServer(transport, keys);
  const path = `${folder}/plain.sock`;
  await new Promise<void>((resolve) =>
    transport === "unix" ? plain.listen(path, resolve) : plain.listen(0, "127.0.0.1", resolve),
  );
  const bound = plain.address();
  if (typeof bound !== "object" || bound === null) return { rpc: server.address, plain: { path } };
  return { rpc: server.address, plain: { host: "127.0.0.1", port: bound.port } };
}

async function plainServer(transport: PeerRequest["transport"], keys: string): Promise<Server> {
  if (transport !== "tls") return createServer({ noDelay: true }, servePlain);
  const { ca, identity } = await readCredentials(keys, "server");
  const settings = { ca, cert: identity, key: identity, requestCert: true, minVersion: "TLSv1.3" } as const;
  return tls.createServer({ ...settings, ciphers: "TLS_AES_128_GCM_SHA256" }, servePlain);
}

process.once("message", async (request: PeerRequest) => process.send!(await main(request)));
process.once("disconnect", () => process.exit());
