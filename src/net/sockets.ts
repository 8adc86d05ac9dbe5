// Streams of bytes to and from an address, over loopback tcp, unix sockets and TLS 1.3 with certificates on both sides.
import { chmod, unlink } from "node:fs/promises";
import net, { isIP, type Socket } from "node:net";
import tls, { type TLSSocket } from "node:tls";
import { type Address, formatAddress, parseAddress } from "./address.ts";
import { type Credentials, readCredentials } from "./credentials.ts";
import { ConnectionError, isIdentityError } from "./error.ts";
import { reusedMemory, withReusedMemory } from "./reused-reads.ts";
import type { KeysOption } from "./types.ts";

const tlsSettings = {
  minVersion: "TLSv1.3",
  // The first is the fastest where the processor has AES.
  ciphers: "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256",
} as const;

/** How long a handshake may take. */
const HANDSHAKE_MS = 10_000;

export interface Listener {
  /** With the port that the system chose. */
  readonly address: string;
  /** Reads the keys again, for connections from now on. */
  reloadKeys(): Promise<void>;
  /** Takes no more connections; those there are stay. */
  close(): Promise<void>;
}

export interface SocketSettings {
  readonly keys?: KeysOption | undefined;
  /**
   * "data" events may give memory that later ones overwrite, and nothing is read in another way. Fresh memory for each
   * costs eight times as much as the reading.
   */
  readonly reuse?: boolean;
}

export interface ListenSettings extends SocketSettings {
  readonly address: string;
  readonly onSocket: (socket: Socket) => void;
  /** A peer that could not prove who it is, or did not speak TLS. */
  readonly onRefused: (error: ConnectionError) => void;
}

/** @throws ConnectionError that names the address: not bindable, in use, or without keys */
export async function listen(settings: ListenSettings): Promise<Listener> {
  const { address: text, keys, onSocket, onRefused, reuse = false } = settings;
  const address = parseAddress(text);
  const server =
    address.protocol === "tls" ? await tlsServer(text, keys, onSocket, onRefused) : plainServer(onSocket, reuse);
  if (address.protocol === "unix") await removeStale(address.path);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) =>
      reject(new ConnectionError(`cannot listen at ${text}: ${cause.code ?? cause.message}`, { cause })),
    );
    server.listen(endpoint(address), () => resolve());
  });
  server.removeAllListeners("error");
  server.on("error", (cause) => onRefused(new ConnectionError(`${text}: ${cause.message}`, { cause })));
  if (address.protocol === "unix") await chmod(address.path, 0o600);
  return {
    address: formatAddress(
      address.protocol === "unix" ? address : { ...address, port: (server.address() as net.AddressInfo).port },
    ),
    async reloadKeys() {
      if (server instanceof tls.Server) server.setSecureContext(secure(await credentials(text, keys, "server")));
    },
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** @throws ConnectionError that names the address; `temporary` when the service may only be not there yet */
export async function dial(text: string, { keys, reuse = false }: SocketSettings = {}): Promise<Socket> {
  const address = parseAddress(text);
  const memory = reuse ? reusedMemory() : undefined;
  const options = memory === undefined ? {} : { onread: memory.onread };
  const made = <T extends Socket>(socket: T): T => memory?.serves(socket) ?? socket;
  if (address.protocol !== "tls") {
    return await connected(text, made(net.connect({ ...endpoint(address), ...options })), "connect");
  }
  const { ca, identity } = await credentials(text, keys, "worker");
  const name = isIP(address.host) === 0 ? { servername: address.host } : {};
  const socket = tls.connect({
    ...tlsSettings,
    ...name,
    ...options,
    ca,
    cert: identity,
    key: identity,
    host: address.host,
    port: address.port,
  });
  return await connected(text, made(socket), "secureConnect");
}

/** The name in the peer's certificate, as "worker"; undefined without TLS. */
export function certificateName(socket: Socket): string | undefined {
  if (!(socket instanceof tls.TLSSocket)) return undefined;
  const name = socket.getPeerCertificate().subject?.CN;
  return Array.isArray(name) ? name[0] : name;
}

function plainServer(onSocket: (socket: Socket) => void, reuse: boolean): net.Server {
  if (!reuse) return net.createServer({ noDelay: true }, onSocket);
  return net.createServer({ noDelay: true, pauseOnConnect: true }, (socket) => onSocket(withReusedMemory(socket)));
}

async function tlsServer(
  address: string,
  keys: KeysOption | undefined,
  onSocket: (socket: Socket) => void,
  onRefused: (error: ConnectionError) => void,
): Promise<tls.Server> {
  const server = tls.createServer(
    {
      ...secure(await credentials(address, keys, "server")),
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: HANDSHAKE_MS,
    },
    onSocket,
  );
  server.on("tlsClientError", (cause: NodeJS.ErrnoException, socket: TLSSocket) => {
    const peer = socket.remoteAddress ?? "a peer that has gone";
    socket.destroy();
    onRefused(new ConnectionError(`${peer} was refused: ${cause.code ?? cause.message}`, { cause }));
  });
  return server;
}

const secure = ({ ca, identity }: Credentials): tls.SecureContextOptions => ({
  ...tlsSettings,
  ca,
  cert: identity,
  key: identity,
});

function credentials(address: string, keys: KeysOption | undefined, role: string): Promise<Credentials> {
  if (keys === undefined) {
    throw new ConnectionError(`${address} needs keys: give the folder that \`flotilla keys make\` wrote`);
  }
  return typeof keys === "string" ? readCredentials(keys, role) : readCredentials(keys.folder, keys.role ?? role);
}

/** `localhost` is taken as 127.0.0.1, whatever the machine's tables say, so that both sides mean the same. */
function endpoint(address: Address): { path: string } | { host: string; port: number } {
  if (address.protocol === "unix") return { path: address.path };
  const local = address.protocol === "tcp" && address.host === "localhost";
  return { host: local ? "127.0.0.1" : address.host, port: address.port };
}

function connected(address: string, socket: Socket, event: "connect" | "secureConnect"): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const failed = (cause: NodeJS.ErrnoException): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(dialError(address, cause));
    };
    const timer = setTimeout(() => failed(new Error(`no answer within ${HANDSHAKE_MS / 1000} s`)), HANDSHAKE_MS);
    socket.once("error", failed);
    socket.once(event, () => {
      clearTimeout(timer);
      socket.removeListener("error", failed);
      resolve(socket);
    });
  });
}

function dialError(address: string, cause: NodeJS.ErrnoException): ConnectionError {
  const identity = isIdentityError(cause);
  const what = identity
    ? `${cause.message}; both sides need keys of the same \`flotilla keys\` folder`
    : (cause.code ?? cause.message);
  return new ConnectionError(`cannot connect to ${address}: ${what}`, { cause, temporary: !identity });
}

/** A socket file that a dead process left. One that somebody listens at stays, and `listen` then says so. */
async function removeStale(path: string): Promise<void> {
  const stale = await new Promise<boolean>((resolve) => {
    const probe = net.connect({ path });
    probe.once("connect", () => {
      probe.destroy();
      resolve(false);
    });
    probe.once("error", (error: NodeJS.ErrnoException) => resolve(error.code === "ECONNREFUSED"));
  });
  if (stale) await unlink(path);
}
