// One connection at a server: who speaks, how fast, and whether it may go on.
import type { Socket } from "node:net";
import type { BodyPool } from "./body-pool.ts";
import type { Budget } from "./budget.ts";
import type { ClientCalls } from "./client-calls.ts";
import { ConnectionError } from "./error.ts";
import { type Frame, kinds } from "./frame.ts";
import { Link } from "./link.ts";
import { decodeHello, MAX_HELLO_BYTES } from "./messages.ts";
import type { LinkLimits } from "./options.ts";
import { certificateName } from "./sockets.ts";
import type { Peer } from "./types.ts";

/** A client that has so many calls running at once is read no further until some end. */
const MAX_RUNNING = 1024;
/** How long a client may take to say who it is. */
const HELLO_MS = 10_000;

/** What all connections of a server share. */
export interface Memory {
  readonly budget: Budget;
  readonly pool: BodyPool;
}

export interface ConnectionEvents {
  readonly onHello: (peer: Peer) => ClientCalls;
  readonly onClose: (error: ConnectionError | undefined) => void;
}

export class ServerConnection {
  readonly link: Link;
  peer: Peer | undefined;
  calls: ClientCalls | undefined;
  /** No more calls are taken. */
  closing = false;
  readonly #limits: LinkLimits;
  readonly #budget: Budget;
  readonly #events: ConnectionEvents;
  readonly #from: string;
  readonly #certificate: string | undefined;
  #ageMs = 0;
  /** Calls of this connection whose bodies are held. */
  #held = 0;
  /** Bytes taken from the budget for a body that is still arriving. */
  #admitted = 0;
  #closed = false;

  constructor(socket: Socket, at: string, limits: LinkLimits, { budget, pool }: Memory, events: ConnectionEvents) {
    this.#limits = limits;
    this.#budget = budget;
    this.#events = events;
    this.#from = socket.remoteAddress === undefined ? at : `${socket.remoteAddress}:${socket.remotePort}`;
    this.#certificate = certificateName(socket);
    this.link = new Link(socket, {
      maxFrameBytes: MAX_HELLO_BYTES,
      silenceMs: limits.silenceMs,
      faults: limits.faults,
      peer: () => this.peer?.description ?? this.#from,
      onFrame: (frame) => this.#receive(frame),
      admit: (bytes) => this.#admit(bytes),
      place: (_, bytes) => (this.calls === undefined ? undefined : pool.take(bytes)),
      onDrain: () => this.#goOn(),
      onClose: (error) => this.#ended(error),
    });
  }

  tick(milliseconds: number): void {
    this.#ageMs += milliseconds;
    if (this.peer === undefined && this.#ageMs > HELLO_MS) {
      this.link.end("no hello came", new ConnectionError(`${this.#from} did not say who it is`));
    } else {
      this.link.tick(milliseconds);
    }
  }

  #receive(frame: Frame): void {
    if (this.calls === undefined) {
      if (frame.kind !== kinds.hello) throw new ConnectionError("did not begin with a hello");
      this.#greet(frame.body);
      return;
    }
    if (frame.kind === kinds.call) {
      const bytes = this.#admitted;
      this.#admitted = 0;
      this.#held++;
      this.calls.begin(frame, () => {
        this.#held--;
        this.#budget.give(bytes);
        this.#goOn();
      });
      if (this.#mustWait()) this.link.pause();
      return;
    }
    if (frame.kind !== kinds.cancel)
      throw new ConnectionError(`sent a frame of kind ${frame.kind}, which no client sends`);
    this.calls.cancel(frame.sequence);
  }

  #greet(body: Uint8Array): void {
    const { client, name, maxFrameBytes } = decodeHello(body);
    const certificate = this.#certificate;
    const proof = certificate === undefined ? "" : `, certificate ${JSON.stringify(certificate)}`;
    this.peer = { client, name, certificate, description: `${name} at ${this.#from}${proof}` };
    this.link.maxFrameBytes = this.#limits.maxFrameBytes;
    this.calls = this.#events.onHello(this.peer);
    this.calls.maxReplyBytes = maxFrameBytes;
  }

  #admit(bytes: number): boolean {
    this.#giveAdmitted();
    if (this.calls === undefined) return true;
    if (this.#budget.take(bytes)) {
      this.#admitted = bytes;
      return true;
    }
    this.#budget.whenFreed(() => this.#goOn());
    return false;
  }

  /** Of the last frame if it was no call. */
  #giveAdmitted(): void {
    this.#budget.give(this.#admitted);
    this.#admitted = 0;
  }

  #mustWait(): boolean {
    return this.#held >= MAX_RUNNING || this.link.congested;
  }

  #goOn(): void {
    if (!this.#closed && !this.closing && this.link.paused && !this.#mustWait()) this.link.resume();
  }

  #ended(error: ConnectionError | undefined): void {
    this.#closed = true;
    this.#giveAdmitted();
    this.#events.onClose(error);
  }
}
