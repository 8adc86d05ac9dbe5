// The calls of a client that have no reply yet: in which order and how many at once they are sent, when they are sent again
// and when they have waited for long enough.
import { type ConnectionError, RpcError } from "./error.ts";
import { type FrameFields, kinds } from "./frame.ts";
import { type Link, none } from "./link.ts";
import type { Welcome } from "./messages.ts";
import { cancelled, type PendingCall } from "./pending-call.ts";
import type { CallOptions } from "./types.ts";

/** How far a client runs ahead of its oldest `once` call without a reply: servers keep as many replies. */
const MAX_AHEAD = 1024;
/** How many calls are sent at once over a new connection after one broke; each reply lets two more go. */
const FIRST_AFTER_LOSS = 4;
const DEADLINE_MS = 180_000;
const RETRIES = 3;
/** Timers beyond this are due at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export class CallQueue {
  readonly #address: string;
  readonly #maxInFlightBytes: number;
  readonly #resendMs: number;
  /** By sequence, in order. */
  readonly #calls = new Map<number, PendingCall>();
  /** Those of `once` methods that were sent at least once. */
  readonly #once = new Set<number>();
  /** To be sent, in order; those before `#next` are done with. */
  #unsent: PendingCall[] = [];
  #next = 0;
  #sequence = 0;
  #inFlightBytes = 0;
  #inFlight = 0;
  /** The most calls in flight: few after a loss, so that a bad connection still gets some replies through. */
  #window = Number.POSITIVE_INFINITY;
  #link: Link | undefined;
  #methods = new Map<string, { readonly number: number; readonly once: boolean }>();
  #maxFrameBytes = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #timerDue = Number.POSITIVE_INFINITY;
  #closed: RpcError | undefined;

  constructor(address: string, maxInFlightBytes: number, resendMs = Number.POSITIVE_INFINITY) {
    this.#address = address;
    this.#maxInFlightBytes = maxInFlightBytes;
    this.#resendMs = resendMs;
  }

  add(method: string, parts: readonly Uint8Array[], options: CallOptions): Promise<Uint8Array> {
    const { signal } = options;
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (signal?.aborted) return Promise.reject(cancelled(method, signal));
    let bytes = 0;
    for (const part of parts) bytes += part.byteLength;
    return new Promise((resolve, reject) => {
      const sequence = ++this.#sequence;
      const onAbort = signal === undefined ? undefined : () => this.#cancel(sequence, cancelled(method, signal));
      const call: PendingCall = {
        method,
        parts,
        bytes,
        sequence,
        deadline: performance.now() + (options.deadlineMs ?? DEADLINE_MS),
        retries: options.retries ?? RETRIES,
        resolve,
        reject,
        signal,
        onAbort,
        into: options.into,
        tries: 0,
        sent: false,
        resend: Number.POSITIVE_INFINITY,
        once: false,
      };
      if (onAbort !== undefined) signal!.addEventListener("abort", onAbort, { once: true });
      this.#calls.set(sequence, call);
      this.#unsent.push(call);
      this.#wake(call.deadline);
      this.send();
    });
  }

  connected(link: Link, welcome: Welcome): void {
    this.#link = link;
    this.#maxFrameBytes = welcome.maxFrameBytes;
    this.#methods = new Map(welcome.methods.map(([name, once], number) => [name, { number, once }]));
    this.send();
  }

  /** Calls that were sent wait to be sent again, before the others. */
  disconnected(error: ConnectionError): void {
    this.#link = undefined;
    this.#window = FIRST_AFTER_LOSS;
    const again: PendingCall[] = [];
    for (const call of this.#calls.values()) {
      if (!call.sent) continue;
      this.#takeBack(call);
      if (call.tries <= call.retries) again.push(call);
      else
        this.#reject(
          call,
          new RpcError("unavailable", this.#about(call, `was sent ${call.tries} times; ${error.message}`)),
        );
    }
    this.#unsent = [...again, ...this.#unsent.slice(this.#next)];
    this.#next = 0;
  }

  /** Where the body of a received frame is to lie. */
  place({ kind, sequence }: FrameFields, bytes: number): Uint8Array | undefined {
    if (kind !== kinds.reply) return undefined;
    const into = this.#calls.get(sequence)?.into;
    return into === undefined || bytes > into.byteLength ? undefined : into.subarray(0, bytes);
  }

  settle(sequence: number, body: Uint8Array | undefined, error: RpcError | undefined): void {
    const call = this.#calls.get(sequence);
    if (call === undefined) return;
    if (call.sent) this.#takeBack(call);
    this.#window = this.#window > MAX_AHEAD ? Number.POSITIVE_INFINITY : this.#window + 1;
    if (body !== undefined) {
      this.#forget(call);
      call.resolve(body);
    } else {
      this.#reject(call, error!);
    }
    this.send();
  }

  /** All calls fail, also later ones. */
  close(error: RpcError): void {
    this.#closed ??= error;
    clearTimeout(this.#timer);
    for (const call of this.#calls.values()) this.#reject(call, error);
    this.#unsent = [];
    this.#next = 0;
  }

  /** Sends what may be sent now. */
  send(): void {
    const link = this.#link;
    if (link === undefined) return;
    while (this.#next < this.#unsent.length && !link.congested && !link.closed) {
      const call = this.#unsent[this.#next]!;
      const method = this.#methods.get(call.method);
      if (this.#calls.has(call.sequence) && method !== undefined && this.#mustWait(call)) break;
      // Before the call is sent, because the connection may break at it and change the queue.
      this.#next++;
      if (!this.#calls.has(call.sequence)) continue;
      if (method === undefined) this.#reject(call, this.#unknown(call));
      else if (call.bytes > this.#maxFrameBytes) this.#reject(call, this.#tooLarge(call));
      else this.#sendCall(link, call, method);
    }
    if (this.#next === this.#unsent.length) {
      this.#unsent.length = 0;
      this.#next = 0;
    } else if (this.#next > 4096) {
      this.#unsent = this.#unsent.slice(this.#next);
      this.#next = 0;
    }
  }

  #mustWait(call: PendingCall): boolean {
    if (this.#inFlight === 0) return false;
    return (
      this.#inFlight >= this.#window ||
      this.#inFlightBytes + call.bytes > this.#maxInFlightBytes ||
      call.sequence - this.#oldestOnce(call) >= MAX_AHEAD
    );
  }

  #oldestOnce(call: PendingCall): number {
    for (const sequence of this.#once) return Math.min(sequence, call.sequence);
    return call.sequence;
  }

  #sendCall(link: Link, call: PendingCall, method: { readonly number: number; readonly once: boolean }): void {
    call.once = method.once;
    if (method.once) this.#once.add(call.sequence);
    call.tries++;
    call.sent = true;
    this.#inFlight++;
    this.#inFlightBytes += call.bytes;
    const now = performance.now();
    if (this.#resendMs !== Number.POSITIVE_INFINITY) {
      call.resend = now + this.#resendMs;
      this.#wake(call.resend);
    }
    link.send(
      {
        kind: kinds.call,
        method: method.number,
        sequence: call.sequence,
        milliseconds: call.deadline - now,
        settled: call.sequence - this.#oldestOnce(call),
      },
      call.parts,
    );
  }

  #takeBack(call: PendingCall): void {
    call.sent = false;
    this.#inFlight--;
    this.#inFlightBytes -= call.bytes;
  }

  #cancel(sequence: number, error: RpcError): void {
    const call = this.#calls.get(sequence);
    if (call === undefined) return;
    if (call.sent) {
      this.#takeBack(call);
      this.#link?.send({ ...none, kind: kinds.cancel, sequence }, []);
    }
    this.#reject(call, error);
    this.send();
  }

  #reject(call: PendingCall, error: RpcError): void {
    if (call.into !== undefined) this.#link?.divert(call.sequence);
    this.#forget(call);
    call.reject(error);
  }

  #forget(call: PendingCall): void {
    this.#calls.delete(call.sequence);
    if (call.once) this.#once.delete(call.sequence);
    if (call.onAbort !== undefined) call.signal!.removeEventListener("abort", call.onAbort);
  }

  /** One timer for all deadlines: it is set to the earliest. */
  #wake(due: number): void {
    if (due >= this.#timerDue) return;
    clearTimeout(this.#timer);
    this.#timerDue = due;
    const wait = Math.min(MAX_TIMER_MS, Math.max(1, Math.ceil(due - performance.now())));
    this.#timer = setTimeout(() => this.#check(), wait).unref();
  }

  #check(): void {
    this.#timerDue = Number.POSITIVE_INFINITY;
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    for (const call of this.#calls.values()) {
      if (call.deadline <= now) {
        const where = call.tries === 0 ? "there was no connection" : "no reply came";
        this.#cancel(call.sequence, new RpcError("deadline", this.#about(call, `reached its deadline: ${where}`)));
        continue;
      }
      if (call.sent && call.resend <= now) this.#sendAgain(call);
      next = Math.min(next, call.deadline, call.sent ? call.resend : Number.POSITIVE_INFINITY);
    }
    this.#wake(next);
  }

  #sendAgain(call: PendingCall): void {
    call.resend = Number.POSITIVE_INFINITY;
    this.#takeBack(call);
    if (call.tries <= call.retries) {
      this.#unsent.splice(this.#next, 0, call);
      this.send();
    } else {
      this.#reject(
        call,
        new RpcError("unavailable", this.#about(call, `was sent ${call.tries} times without a reply`)),
      );
    }
  }

  #about(call: PendingCall, what: string): string {
    return `call ${call.method} to ${this.#address} ${what}`;
  }

  #unknown(call: PendingCall): RpcError {
    const known = [...this.#methods.keys()].join(", ");
    return new RpcError(
      "unknown method",
      `the server at ${this.#address} has no method ${call.method}; it has ${known}`,
    );
  }

  #tooLarge(call: PendingCall): RpcError {
    const what = `has a body of ${call.bytes} bytes where the server takes ${this.#maxFrameBytes}; send it in pieces or raise maxFrameBytes`;
    return new RpcError("too large", this.#about(call, what));
  }
}
