// The calls of one client at a server, over all its connections: runs handlers, answers repeated calls, cancels.
import type { AppliedCalls, Outcome } from "./applied.ts";
import type { BodyPool } from "./body-pool.ts";
import { RpcError } from "./error.ts";
import { type Frame, kinds } from "./frame.ts";
import { type Link, none } from "./link.ts";
import { encodeFailure } from "./messages.ts";
import { asRpcError } from "./options.ts";
import type { CallContext, Handler, Peer } from "./types.ts";

export interface NamedMethod {
  readonly name: string;
  readonly handle: Handler;
  readonly once: boolean;
  readonly borrows: boolean;
}

class Call implements CallContext {
  readonly peer: Peer;
  readonly sequence: number;
  readonly deadline: number;
  readonly method: NamedMethod;
  /** Of a handler that takes its time. */
  ended: Promise<void> | undefined;
  /** What the handler has taken for its reply. */
  readonly lent: Uint8Array[] = [];
  readonly #pool: BodyPool;
  #controller: AbortController | undefined;
  #aborted: RpcError | undefined;

  constructor(peer: Peer, method: NamedMethod, sequence: number, milliseconds: number, pool: BodyPool) {
    this.#pool = pool;
    this.peer = peer;
    this.method = method;
    this.sequence = sequence;
    this.deadline = performance.now() + milliseconds;
  }

  get client(): bigint {
    return this.peer.client;
  }

  memory(bytes: number): Uint8Array {
    const taken = this.#pool.take(bytes);
    if (taken === undefined) return new Uint8Array(bytes);
    this.lent.push(taken);
    return taken;
  }

  /** Made when a handler asks for it: most do not. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#aborted !== undefined) this.#controller.abort(this.#aborted);
    return this.#controller.signal;
  }

  abort(error: RpcError): void {
    this.#aborted ??= error;
    this.#controller?.abort(error);
  }
}

export class ClientCalls {
  readonly #methods: readonly NamedMethod[];
  readonly #applied: AppliedCalls;
  readonly #pool: BodyPool;
  readonly #running = new Map<number, Call>();
  /** Where replies go: the client's newest connection. */
  link: Link | undefined;
  /** What the client takes. */
  maxReplyBytes = 0;
  peer: Peer;

  constructor(peer: Peer, methods: readonly NamedMethod[], applied: AppliedCalls, pool: BodyPool) {
    this.peer = peer;
    this.#methods = methods;
    this.#applied = applied;
    this.#pool = pool;
  }

  /** How many calls have begun and not ended. */
  get running(): number {
    return this.#running.size;
  }

  /** Begins a call, or answers one that came again. `release` is called when its body is no longer needed. */
  begin(frame: Frame, release: () => void): void {
    const { sequence, body } = frame;
    const method = this.#methods[frame.method];
    const { client } = this.peer;
    if (method === undefined) {
      this.#fail(sequence, new RpcError("unknown method", `the server has no method of number ${frame.method}`));
      release();
      return;
    }
    if (method.once) {
      this.#applied.settle(client, sequence - frame.settled);
      const outcome = this.#applied.find(client, sequence);
      if (outcome !== undefined) {
        this.#answer(sequence, outcome);
        release();
        return;
      }
    }
    if (this.#running.has(sequence)) {
      release();
      return;
    }
    const call = new Call(this.peer, method, sequence, frame.milliseconds, this.#pool);
    let result: ReturnType<Handler>;
    try {
      result = method.handle(body, call);
    } catch (error) {
      this.#failed(call, error);
      release();
      return;
    }
    if (!(result instanceof Promise)) {
      this.#succeeded(call, result, body);
      release();
      return;
    }
    this.#running.set(sequence, call);
    call.ended = result
      .then(
        (parts) => this.#ended(call, () => this.#succeeded(call, parts, body)),
        (error) => this.#ended(call, () => this.#failed(call, error)),
      )
      .finally(release);
  }

  /** Resolves when the calls that run now have ended. */
  async ended(): Promise<void> {
    await Promise.all(Array.from(this.#running.values(), ({ ended }) => ended));
  }

  cancel(sequence: number): void {
    this.#running.get(sequence)?.abort(new RpcError("cancelled", "the caller no longer waits"));
  }

  abortAll(error: RpcError): void {
    for (const call of this.#running.values()) call.abort(error);
  }

  /** Aborts what the caller no longer waits for. */
  abortLate(now: number): void {
    for (const call of this.#running.values()) {
      if (call.deadline < now) call.abort(new RpcError("deadline", "the caller no longer waits"));
    }
  }

  #ended(call: Call, answer: () => void): void {
    this.#running.delete(call.sequence);
    answer();
  }

  #succeeded(call: Call, parts: readonly Uint8Array[], body: Uint8Array): void {
    const bytes = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
    if (bytes > this.maxReplyBytes) {
      this.#failed(call, this.#tooLarge(call, bytes));
      return;
    }
    const sent = (): void => {
      for (const memory of call.lent.splice(0)) this.#pool.give(memory);
    };
    if (call.method.once) {
      this.#record(call, { ok: true, body: joined(parts, bytes) });
      sent();
    } else this.link?.send({ ...none, kind: kinds.reply, sequence: call.sequence }, parts, sent);
    if (call.method.borrows && !parts.some(({ buffer }) => buffer === body.buffer)) this.#pool.give(body);
  }

  #tooLarge(call: Call, bytes: number): RpcError {
    return new RpcError(
      "too large",
      `the reply of ${call.method.name} has ${bytes} bytes where the caller takes ${this.maxReplyBytes}; ask for it in pieces or raise maxFrameBytes`,
    );
  }

  #failed(call: Call, error: unknown): void {
    const { code, message } = asRpcError(error);
    if (call.method.once) this.#record(call, { ok: false, code, message });
    else this.#fail(call.sequence, { code, message });
  }

  #record(call: Call, outcome: Outcome): void {
    this.#applied.record(this.peer.client, call.sequence, outcome);
    this.#answer(call.sequence, outcome);
  }

  #answer(sequence: number, outcome: Outcome): void {
    if (outcome.ok) this.link?.send({ ...none, kind: kinds.reply, sequence }, [outcome.body]);
    else this.#fail(sequence, outcome);
  }

  #fail(sequence: number, { code, message }: { readonly code: string; readonly message: string }): void {
    this.link?.send({ ...none, kind: kinds.error, sequence }, [encodeFailure(code, message)]);
  }
}

/** A copy: what handlers return may change once it is sent, a kept reply may not. */
function joined(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  const body = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    body.set(part, at);
    at += part.byteLength;
  }
  return body;
}
