// The caller's side of remote calls: one connection that is made again when it breaks, and the calls that wait for it.
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { CallQueue } from "./call-queue.ts";
import { ConnectionError, RpcError } from "./error.ts";
import { type Frame, kinds } from "./frame.ts";
import { Link, none } from "./link.ts";
import { decodeFailure, decodeWelcome, encodeHello, MAX_WELCOME_BYTES, type Welcome } from "./messages.ts";
import { type LinkLimits, linkLimits, wrongCallOption } from "./options.ts";
import { dial } from "./sockets.ts";
import type { CallOptions, KeysOption, LinkOptions } from "./types.ts";

export interface ClientOptions extends LinkOptions {
  /** What `RpcServer.address` says. */
  readonly address: string;
  /** For `tls://`. The role is "worker" unless it is given. */
  readonly keys?: KeysOption;
  /** What this client calls itself in the server's messages, as "worker 3". Default: the process id. */
  readonly name?: string;
  /** Whether the connection keeps the process alive while no call waits for a reply. Default true. */
  readonly keepAlive?: boolean;
  /** How long `connect` waits for a server that is not there yet. Default 30 000. */
  readonly connectMs?: number;
  /** A call without a reply is sent again after so long, over the same connection. Default: never, with `faults.drop` 100. */
  readonly resendMs?: number;
  /** The connection was lost, and the client tries to get it back. */
  readonly onDisconnect?: (error: ConnectionError) => void;
  /** There is a connection again. */
  readonly onReconnect?: () => void;
}

const BACK_OFF_MS = { first: 10, last: 2000 };
/** How long a server may take to say its methods. */
const WELCOME_MS = 10_000;

export class RpcClient {
  /** Random: what the server knows this client by. */
  readonly id: bigint = randomBytes(8).readBigUInt64LE();
  readonly address: string;
  readonly #options: ClientOptions;
  readonly #limits: LinkLimits;
  readonly #queue: CallQueue;
  readonly #stop = new AbortController();
  readonly #heartbeat: NodeJS.Timeout;
  #link: Link | undefined;
  #waiting = 0;
  #bytesSent = 0;
  #bytesReceived = 0;

  private constructor(options: ClientOptions) {
    this.#options = options;
    this.address = options.address;
    this.#limits = linkLimits("RpcClient.connect", options, 2 ** 26);
    const resendMs = options.resendMs ?? (this.#limits.lossy ? 100 : undefined);
    this.#queue = new CallQueue(options.address, this.#limits.maxInFlightBytes, resendMs);
    const { heartbeatMs } = this.#limits;
    this.#heartbeat = setInterval(() => this.#link?.tick(heartbeatMs), heartbeatMs).unref();
  }

  /**
   * @throws ConnectionError when there is no server within `connectMs`, or at once when it refuses this client or the
   * address or the keys are not usable; Error that names a wrong option
   */
  static async connect(options: ClientOptions): Promise<RpcClient> {
    const client = new RpcClient(options);
    try {
      await client.#connect(performance.now() + (options.connectMs ?? 30_000));
    } catch (error) {
      await client.close();
      throw error;
    }
    return client;
  }

  /** Whether there is a connection now. Calls may be made in either case. */
  get connected(): boolean {
    return this.#link !== undefined;
  }

  /** Bytes over all connections so far, with headers, without TLS. */
  get traffic(): { readonly sent: number; readonly received: number } {
    return {
      sent: this.#bytesSent + (this.#link?.bytesSent ?? 0),
      received: this.#bytesReceived + (this.#link?.bytesReceived ?? 0),
    };
  }

  /**
   * Calls a method of the server. The parts are sent one after the other as one body, without a copy: they must stay as
   * they are until the promise settles. The reply starts at a multiple of 8 in its buffer and belongs to the caller.
   *
   * When the connection breaks, the call waits for the next one and is sent again under its number; a `once` method is
   * applied once all the same.
   * @throws RpcError with the code of the handler or a `NetErrorCode`
   */
  call(method: string, parts: readonly Uint8Array[] = [], options: CallOptions = {}): Promise<Uint8Array> {
    const wrong = wrongCallOption(method, options);
    if (wrong !== undefined) return Promise.reject(wrong);
    const reply = this.#queue.add(method, parts, options);
    if (this.#options.keepAlive === false) this.#holdFor(reply);
    return reply;
  }

  #holdFor(reply: Promise<unknown>): void {
    const release = (): void => {
      if (--this.#waiting === 0) this.#link?.hold(false);
    };
    if (this.#waiting++ === 0) this.#link?.hold(true);
    reply.then(release, release);
  }

  /** Fails the calls that wait and ends the connection. */
  async close(): Promise<void> {
    this.#stop.abort();
    clearInterval(this.#heartbeat);
    this.#queue.close(new RpcError("unavailable", `the client of ${this.address} was closed`));
    this.#link?.end("closed");
  }

  /** @throws ConnectionError when it is refused, or not there until `until` */
  async #connect(until: number): Promise<void> {
    for (let wait = BACK_OFF_MS.first; ; wait = Math.min(2 * wait, BACK_OFF_MS.last)) {
      try {
        await this.#open();
        return;
      } catch (error) {
        if (this.#stop.signal.aborted || !(error instanceof ConnectionError) || !error.temporary) throw error;
        // Clients that lost the same server do not all come back at the same moment.
        const pause = wait * (0.5 + Math.random());
        if (performance.now() + pause > until) throw error;
        await sleep(pause, undefined, { signal: this.#stop.signal });
      }
    }
  }

  async #open(): Promise<void> {
    const { address, keys, name = `process ${process.pid}` } = this.#options;
    const socket = await dial(address, { keys, reuse: true });
    if (this.#stop.signal.aborted) {
      socket.destroy();
      throw new ConnectionError(`the client of ${address} was closed`);
    }
    await new Promise<void>((resolve, reject) => {
      let welcome: Welcome | undefined;
      const link: Link = new Link(socket, {
        maxFrameBytes: MAX_WELCOME_BYTES,
        silenceMs: this.#limits.silenceMs,
        faults: this.#limits.faults,
        peer: () => `the server at ${address}`,
        onFrame: (frame) => {
          if (welcome !== undefined) {
            this.#receive(frame);
            return;
          }
          if (frame.kind !== kinds.welcome) throw new ConnectionError("did not begin with a welcome");
          welcome = decodeWelcome(frame.body);
          clearTimeout(timer);
          link.maxFrameBytes = this.#limits.maxFrameBytes;
          this.#link = link;
          if (this.#options.keepAlive === false) link.hold(this.#waiting > 0);
          this.#queue.connected(link, welcome);
          resolve();
        },
        place: (frame, bytes) => this.#queue.place(frame, bytes),
        onDrain: () => this.#queue.send(),
        onClose: (error) => {
          clearTimeout(timer);
          const lost =
            error ?? new ConnectionError(`the server at ${address} ended the connection`, { temporary: true });
          if (welcome === undefined) reject(lost);
          else this.#lost(link, lost);
        },
      });
      const timer = setTimeout(
        () => link.destroy(new ConnectionError(`the server at ${address} sent no welcome`, { temporary: true })),
        WELCOME_MS,
      );
      link.send({ ...none, kind: kinds.hello }, [
        encodeHello({ client: this.id, name, maxFrameBytes: this.#limits.maxFrameBytes }),
      ]);
    });
  }

  #lost(link: Link, error: ConnectionError): void {
    this.#bytesSent += link.bytesSent;
    this.#bytesReceived += link.bytesReceived;
    this.#link = undefined;
    this.#queue.disconnected(error);
    if (this.#stop.signal.aborted) return;
    this.#options.onDisconnect?.(error);
    this.#reconnect().catch((cause: Error) => {
      if (!this.#stop.signal.aborted) {
        this.#queue.close(new RpcError("refused", cause.message, { cause }));
      }
    });
  }

  async #reconnect(): Promise<void> {
    await this.#connect(Number.POSITIVE_INFINITY);
    this.#options.onReconnect?.();
  }

  #receive(frame: Frame): void {
    if (frame.kind === kinds.reply) this.#queue.settle(frame.sequence, frame.body, undefined);
    else if (frame.kind === kinds.error) this.#queue.settle(frame.sequence, undefined, decodeFailure(frame.body));
    else throw new ConnectionError(`sent a frame of kind ${frame.kind}, which no server sends`);
  }
}
