// Which calls were applied, with their replies: what makes a repeated call harmless.

export type Outcome =
  | { readonly ok: true; readonly body: Uint8Array }
  | { readonly ok: false; readonly code: string; readonly message: string };

export interface AppliedOptions {
  /** How many replies of one client are kept. Default 1024, which is how far clients run ahead of the oldest without a reply. */
  readonly replies?: number;
  /** How many bytes of replies of one client are kept; of older calls only that they were applied. Default 64 MiB. */
  readonly replyBytes?: number;
  /** How many clients are remembered; the one that has been still for longest is forgotten. Default 4096. */
  readonly clients?: number;
}

interface ClientCalls {
  /** Calls up to here are settled or too old to tell. */
  floor: number;
  highest: number;
  replyBytes: number;
  /** In the order in which they ended. */
  readonly outcomes: Map<number, Outcome>;
}

/** One client as it is written into a snapshot. */
export interface AppliedClient {
  readonly client: bigint;
  readonly floor: number;
  readonly outcomes: readonly (readonly [sequence: number, outcome: Outcome])[];
}

const forgotten: Outcome = {
  ok: false,
  code: "forgotten",
  message: "the call came again after its reply was dropped; it may have been applied",
};

/**
 * The calls of `once` methods that a server has applied. A server that keeps state on disk saves `export()` with its
 * snapshots, calls `record` for what it replays from its journal, and gives the result to `RpcServer.listen`.
 */
export class AppliedCalls {
  readonly #clients = new Map<bigint, ClientCalls>();
  readonly #replies: number;
  readonly #replyBytes: number;
  readonly #maxClients: number;

  constructor({ replies = 1024, replyBytes = 1 << 26, clients = 4096 }: AppliedOptions = {}) {
    this.#replies = replies;
    this.#replyBytes = replyBytes;
    this.#maxClients = clients;
  }

  /** The highest number of a call of the client that was applied; 0 if none was. */
  highest(client: bigint): number {
    return this.#clients.get(client)?.highest ?? 0;
  }

  /** The outcome of an earlier run of the call, or undefined if it is new. */
  find(client: bigint, sequence: number): Outcome | undefined {
    const calls = this.#clients.get(client);
    if (calls === undefined) return undefined;
    return calls.outcomes.get(sequence) ?? (sequence <= calls.floor ? forgotten : undefined);
  }

  /** Remembers the outcome of a call; its body must not change afterwards. */
  record(client: bigint, sequence: number, outcome: Outcome = { ok: true, body: new Uint8Array(0) }): void {
    const calls = this.#of(client);
    calls.outcomes.set(sequence, outcome);
    calls.highest = Math.max(calls.highest, sequence);
    calls.replyBytes += bytesOf(outcome);
    while (calls.outcomes.size > this.#replies) this.#dropOldest(calls);
    while (calls.replyBytes > this.#replyBytes && calls.outcomes.size > 1) this.#dropOldest(calls);
  }

  /** The client has the replies of all calls below `sequence`. */
  settle(client: bigint, sequence: number): void {
    const calls = this.#clients.get(client);
    if (calls === undefined || sequence - 1 <= calls.floor) return;
    calls.floor = sequence - 1;
    for (const [each, outcome] of calls.outcomes) {
      if (each >= sequence) continue;
      calls.outcomes.delete(each);
      calls.replyBytes -= bytesOf(outcome);
    }
  }

  /** Everything, as plain data for a snapshot. */
  export(): AppliedClient[] {
    return [...this.#clients].map(([client, { floor, outcomes }]) => ({ client, floor, outcomes: [...outcomes] }));
  }

  /** Adds what `export` gave. */
  import(clients: readonly AppliedClient[]): void {
    for (const { client, floor, outcomes } of clients) {
      const calls = this.#of(client);
      calls.floor = Math.max(calls.floor, floor);
      calls.highest = Math.max(calls.highest, floor);
      for (const [sequence, outcome] of outcomes) this.record(client, sequence, outcome);
    }
  }

  #dropOldest(calls: ClientCalls): void {
    const [sequence, outcome] = calls.outcomes.entries().next().value!;
    calls.outcomes.delete(sequence);
    calls.replyBytes -= bytesOf(outcome);
    calls.floor = Math.max(calls.floor, sequence);
  }

  /** The client's calls, as those used last. */
  #of(client: bigint): ClientCalls {
    const calls = this.#clients.get(client) ?? { floor: 0, highest: 0, replyBytes: 0, outcomes: new Map() };
    this.#clients.delete(client);
    this.#clients.set(client, calls);
    if (this.#clients.size > this.#maxClients) this.#clients.delete(this.#clients.keys().next().value!);
    return calls;
  }
}

const bytesOf = (outcome: Outcome): number => (outcome.ok ? outcome.body.byteLength : outcome.message.length);
