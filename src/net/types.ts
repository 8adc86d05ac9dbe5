// What callers and handlers of remote calls see: options, handlers and their context.

/** Where certificates are: a folder made by `flotilla keys`, and whose certificate in it this process shows. */
export type KeysOption = string | { readonly folder: string; readonly role?: string };

/** Faults on purpose, so that any test can run with them. Also by the environment: `FLOTILLA_FAULTS=drop=0.1,delayMs=5`. */
export interface Faults {
  /** The share of outgoing calls and replies that are not sent. Default 0. */
  readonly drop?: number;
  /** Outgoing calls and replies wait up to so long, keeping their order. Default 0. */
  readonly delayMs?: number;
  /** The chance, at each outgoing call or reply, that the connection breaks; half of the time in the middle of the frame. Default 0. */
  readonly disconnect?: number;
  /** Of the random numbers. Default 1. */
  readonly seed?: number;
}

/** Limits and intervals that both sides have. */
export interface LinkOptions {
  /** The most bytes of one body; a larger one ends the connection (received) or fails the call (sent). Default 256 MiB. */
  readonly maxFrameBytes?: number;
  /** The most bytes of bodies that are under way at once; more wait. Default 512 MiB on a server, 64 MiB on a client. One body is always let through. */
  readonly maxInFlightBytes?: number;
  /** How often each side shows that it lives. Default 1000. */
  readonly heartbeatMs?: number;
  /** A peer that was not heard of for so long is given up: the connection ends. Default 15 000. */
  readonly silenceMs?: number;
  /** Default: none, or those of `FLOTILLA_FAULTS`. */
  readonly faults?: Faults;
}

/** Who called. The same object for all calls over one connection. */
export interface Peer {
  /** Random, chosen by the client, the same for its whole life over all its connections. */
  readonly client: bigint;
  /** What the client calls itself, as "worker 3". */
  readonly name: string;
  /** The name in the peer's certificate; undefined without TLS. */
  readonly certificate: string | undefined;
  /** For messages: name, address, certificate. */
  readonly description: string;
}

export interface CallContext {
  readonly peer: Peer;
  /** `peer.client`. */
  readonly client: bigint;
  /** Counts the calls of a client from 1. A repeated call has the number of the first. */
  readonly sequence: number;
  /** When the caller stops waiting, on the clock of `performance.now()` here. */
  readonly deadline: number;
  /**
   * Memory for parts of the reply, with arbitrary contents: it serves for later ones when this one has been sent, while fresh
   * memory costs the system more than all the rest of a large reply.
   */
  memory(bytes: number): Uint8Array;
  /** Aborted when the caller cancels, stops waiting or does not come back, and when the server closes. */
  readonly signal: AbortSignal;
}

/**
 * Answers one call. The body starts at a multiple of 8 in its buffer and belongs to the handler. The parts of the reply are
 * sent one after the other as one body, without a copy: they stay as they are until they are sent, so memory that the next
 * call reuses must be copied. Calls of one client begin in the order in which it made them; a handler that is not async
 * also ends in this order.
 */
export type Handler = (
  body: Uint8Array,
  context: CallContext,
) => readonly Uint8Array[] | Promise<readonly Uint8Array[]>;

export interface MethodOptions {
  readonly handle: Handler;
  /** Its calls are applied once: a reply is kept until the caller has it, and a repeated call gets it again. Default false. */
  readonly once?: boolean;
  /** The handler needs no byte of the body once it has answered, so that its memory serves for later bodies. Default false. */
  readonly borrows?: boolean;
}

/** A handler, or a handler and how it is called. */
export type Method = Handler | MethodOptions;

/** By the names under which clients call them. */
export type Handlers = Readonly<Record<string, Method>>;

export interface CallOptions {
  /** How long the caller waits for the reply, all tries together. Default 180 000. */
  readonly deadlineMs?: number;
  /** How often the call is sent again after the connection broke with no reply. Waiting for a connection does not count. Default 3. */
  readonly retries?: number;
  /** Cancels the call: it fails at once, and the handler's signal is aborted. */
  readonly signal?: AbortSignal | undefined;
  /** Where the reply is written if it fits; the promise then gives its part of it. Not touched once the call has settled. */
  readonly into?: Uint8Array | undefined;
}
