// A service: listens at an address, keeps connections in order and hands calls to handlers.
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { AppliedCalls } from "./applied.ts";
import { BodyPool } from "./body-pool.ts";
import { Budget } from "./budget.ts";
import { ClientCalls, type NamedMethod } from "./client-calls.ts";
import { type ConnectionError, RpcError } from "./error.ts";
import { kinds } from "./frame.ts";
import { none } from "./link.ts";
import { encodeWelcome } from "./messages.ts";
import { type LinkLimits, linkLimits } from "./options.ts";
import { ServerConnection } from "./server-connection.ts";
import { type Listener, listen } from "./sockets.ts";
import type { Handlers, KeysOption, LinkOptions, Peer } from "./types.ts";

export interface ServerOptions extends LinkOptions {
  /** `tcp://127.0.0.1:0`, `unix:///PATH` or `tls://HOST:PORT`; port 0 lets the system choose. */
  readonly address: string;
  readonly handlers: Handlers;
  /** For `tls://`. The role is "server" unless it is given. */
  readonly keys?: KeysOption;
  /** What was applied before a restart. Default: nothing. */
  readonly applied?: AppliedCalls;
  /** A client has connected, also again. */
  readonly onConnect?: (peer: Peer) => void;
  /** A client's connection has ended. `reason` is undefined when it said goodbye. */
  readonly onDisconnect?: (peer: Peer, reason: string | undefined) => void;
  /** A connection was refused or ended because of what the peer sent. Default: nothing. */
  readonly onError?: (error: ConnectionError) => void;
  /** The most connections at once; further ones are closed. Default 4096. */
  readonly maxConnections?: number;
}

/** How often, in milliseconds, keys on disk are looked at. */
const KEYS_MS = 5000;

/**
 * @example
 * const server = await RpcServer.listen({
 *   address: "tcp://127.0.0.1:0",
 *   handlers: {
 *     echo: (body) => [body],
 *     add: { once: true, handle: (body) => { total += body[0]!; return []; } },
 *   },
 * });
 * const client = await RpcClient.connect({ address: server.address });
 * await client.call("echo", [new Uint8Array([1, 2, 3])]);
 */
export class RpcServer {
  /** Which calls of `once` methods were applied: for snapshots. */
  readonly applied: AppliedCalls;
  readonly #options: ServerOptions;
  readonly #limits: LinkLimits;
  readonly #methods: readonly NamedMethod[];
  readonly #welcome: Uint8Array;
  readonly #budget: Budget;
  readonly #pool = new BodyPool();
  readonly #connections = new Set<ServerConnection>();
  readonly #clients = new Map<bigint, { readonly calls: ClientCalls; goneMs: number }>();
  #listener!: Listener;
  #timer: NodeJS.Timeout | undefined;
  #keysAge = 0;
  #closed = false;

  private constructor(options: ServerOptions) {
    this.#options = options;
    this.#limits = linkLimits("RpcServer.listen", options, 2 ** 29);
    this.#budget = new Budget(this.#limits.maxInFlightBytes);
    this.applied = options.applied ?? new AppliedCalls();
    this.#methods = Object.entries(options.handlers).map(([name, method]) =>
      typeof method === "function"
        ? { name, handle: method, once: false, borrows: false }
        : { name, handle: method.handle, once: method.once ?? false, borrows: method.borrows ?? false },
    );
    this.#welcome = encodeWelcome({
      server: randomBytes(8).toString("hex"),
      methods: this.#methods.map(({ name, once }) => [name, once]),
      maxFrameBytes: this.#limits.maxFrameBytes,
    });
  }

  /** @throws ConnectionError when the address or the keys are not usable; Error that names a wrong option */
  static async listen(options: ServerOptions): Promise<RpcServer> {
    const server = new RpcServer(options);
    const { address, keys } = options;
    server.#listener = await listen({
      address,
      keys,
      reuse: true,
      onSocket: (socket) => server.#accept(socket),
      onRefused: (error) => options.onError?.(error),
    });
    const { heartbeatMs } = server.#limits;
    server.#timer = setInterval(() => server.#tick(heartbeatMs), heartbeatMs).unref();
    return server;
  }

  /** Where clients connect, with the port that the system chose. */
  get address(): string {
    return this.#listener.address;
  }

  /** The clients that are connected now. */
  get peers(): Peer[] {
    return [...this.#clients.values()].filter(({ calls }) => calls.link !== undefined).map(({ calls }) => calls.peer);
  }

  /** Takes up keys that were replaced on disk. Running connections stay. It happens by itself every five seconds. */
  async reloadKeys(): Promise<void> {
    await this.#listener.reloadKeys();
  }

  /**
   * Ends all connections; clients wait for the server to come back. Running handlers are aborted by their signals and
   * have `graceMs` to end: their replies still go out, and `applied` knows of them.
   */
  async close({ graceMs = 1000 }: { readonly graceMs?: number } = {}): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    const closed = this.#listener.close();
    for (const connection of this.#connections) {
      connection.closing = true;
      connection.link.pause();
    }
    const clients = Array.from(this.#clients.values(), ({ calls }) => calls);
    for (const calls of clients) calls.abortAll(new RpcError("unavailable", "the server is closing"));
    if (clients.some(({ running }) => running > 0)) {
      await within(graceMs, Promise.all(clients.map((calls) => calls.ended())));
    }
    for (const connection of this.#connections) connection.link.end("the server is closing");
    await closed;
  }

  #accept(socket: Socket): void {
    if (this.#closed || this.#connections.size >= (this.#options.maxConnections ?? 4096)) {
      socket.destroy();
      return;
    }
    const connection: ServerConnection = new ServerConnection(
      socket,
      this.#options.address,
      this.#limits,
      { budget: this.#budget, pool: this.#pool },
      {
        onHello: (peer) => this.#greet(connection, peer),
        onClose: (error) => this.#ended(connection, error),
      },
    );
    this.#connections.add(connection);
  }

  #greet(connection: ServerConnection, peer: Peer): ClientCalls {
    let client = this.#clients.get(peer.client);
    if (client === undefined) {
      client = { calls: new ClientCalls(peer, this.#methods, this.applied, this.#pool), goneMs: 0 };
      this.#clients.set(peer.client, client);
    }
    const { calls } = client;
    const old = calls.link;
    calls.link = connection.link;
    calls.peer = peer;
    client.goneMs = 0;
    old?.destroy();
    connection.link.send({ ...none, kind: kinds.welcome }, [this.#welcome]);
    this.#options.onConnect?.(peer);
    return calls;
  }

  #ended(connection: ServerConnection, error: ConnectionError | undefined): void {
    this.#connections.delete(connection);
    const { calls, peer } = connection;
    if (error !== undefined && (calls === undefined || !error.temporary)) this.#options.onError?.(error);
    if (calls === undefined || peer === undefined || calls.link !== connection.link) return;
    calls.link = undefined;
    const reason = error?.message ?? `${peer.description} ended the connection without a goodbye`;
    this.#options.onDisconnect?.(peer, connection.link.goodbye === undefined ? reason : undefined);
  }

  #tick(milliseconds: number): void {
    const now = performance.now();
    for (const connection of this.#connections) connection.tick(milliseconds);
    for (const [id, client] of this.#clients) {
      const { calls } = client;
      calls.abortLate(now);
      if (calls.link !== undefined) continue;
      client.goneMs += milliseconds;
      if (client.goneMs < this.#limits.silenceMs) continue;
      calls.abortAll(new RpcError("unavailable", `${calls.peer.description} has gone`));
      if (calls.running === 0) this.#clients.delete(id);
    }
    this.#keysAge += milliseconds;
    if (this.#options.keys === undefined || this.#keysAge < KEYS_MS) return;
    this.#keysAge = 0;
    this.#listener.reloadKeys().catch((error: ConnectionError) => this.#options.onError?.(error));
  }
}

/** Waits for the work, but no longer. */
async function within(milliseconds: number, work: Promise<unknown>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  await Promise.race([work, promise]);
  clearTimeout(timer);
}
