// A partition: answers the calls of workers, one after the other. Whoever must wait, for other workers (mode `sync`) or for
// the disk, waits in a promise; the state itself changes at once.
import { randomBytes } from "node:crypto";
import type { Heap } from "../memory/index.ts";
import type { CallContext, Handlers } from "../net/index.ts";
import { applyCall, denseReply, stepsReply } from "./apply.ts";
import { joinParts, malformed } from "./body.ts";
import { changesReply } from "./changes-reply.ts";
import { decodePull, decodePush, type PullView } from "./messages.ts";
import {
  decodeRequest,
  encodeJson,
  methods,
  type PartitionClient,
  type PartitionStatistics,
  type PsMethod,
  type SaveMode,
} from "./requests.ts";
import { decodeChanges } from "./row-messages.ts";
import { loadPartition, savePartition } from "./saved-partition.ts";
import { Scans } from "./scans.ts";
import { PartitionState, type PullOptions, type PushEntry, type StateOptions } from "./state.ts";
import { SyncStep, type WaitingPush } from "./sync-step.ts";

/** Who calls, and which of its calls this is. */
export type Caller = Pick<CallContext, "client" | "sequence"> & Partial<Pick<CallContext, "memory">>;

export interface AppliedCall extends Caller {
  readonly body: Uint8Array;
}

/** What has changed the state: calls of one method that were applied together. */
export interface AppliedRecord {
  readonly method: PsMethod;
  readonly calls: readonly AppliedCall[];
}

/** Where applied calls are written down before they are acknowledged. */
export interface PartitionLog {
  append(record: AppliedRecord): void;
  /** Resolves when all that was appended is safe. */
  committed(): Promise<void>;
  /** Makes the whole state safe: after what no record can tell again. */
  snapshot(): Promise<void>;
  readonly journalBytes: number;
}

type Reply = readonly Uint8Array[];

export class Partition {
  readonly state: PartitionState;
  /** Set by whoever makes the state durable. */
  log: PartitionLog | undefined;
  readonly #scans: Scans;
  #sync: SyncStep | undefined;
  /** Whom mode `sync` waits for, once somebody has said so. */
  #ranks: readonly number[] | undefined;
  #frozen: Promise<unknown> | undefined;
  /** Clients with changes that wait while the state is frozen. */
  readonly #behind = new Set<bigint>();
  #pulls = 0;
  #pushes = 0;
  #refused = 0;
  #bytesIn = 0;
  #bytesOut = 0;

  constructor(heap: Heap, options: StateOptions) {
    this.state = new PartitionState(heap, options);
    this.#scans = new Scans(heap, this.state.scratch);
  }

  /** @throws RpcError for a call that is refused; it has then changed nothing */
  call(method: PsMethod, body: Uint8Array, caller: Caller): Reply | Promise<Reply> {
    this.#bytesIn += body.byteLength;
    switch (method) {
      case "pull":
        return this.#pull(body, caller);
      case "changes":
        return this.#counted(changesReply(this.state, decodeChanges(body), this.#pullOptions(caller).memory));
      case "dense":
        return denseReply(this.state, decodeRequest("dense", body));
      case "scanRows":
        return this.#counted(this.#scans.rows(this.state.tables, decodeRequest("scanRows", body)));
      case "endScan":
        this.#scans.end(decodeRequest("endScan", body).scan);
        return [];
      case "statistics":
        return encodeJson(this.statistics());
      case "inspect":
        return encodeJson(this.#scans.inspect(this.state.tables, decodeRequest("inspect", body)));
      case "workers":
        this.setWorkers(decodeRequest("workers", body).ranks);
        return [];
      default:
        return this.#change(method, body, caller);
    }
  }

  /**
   * Applies what a log tells, and gives the reply to each of its calls: of a push-and-pull an empty one, which tells the
   * caller to pull again.
   * @throws when the log does not fit the state
   */
  replay({ method, calls }: AppliedRecord): Reply {
    const push = method === "push" || method === "pushPull";
    if (push && this.state.model?.mode === "sync") {
      this.state.pushTogether(calls.map(({ body }) => ({ view: decodePush(body), body })));
      return method === "push" ? stepsReply(this.state) : [];
    }
    const replies = calls.map(({ body }) => this.#apply(push ? "push" : method, body));
    return method === "pushPull" ? [] : (replies[0] ?? []);
  }

  /** Whom mode `sync` waits for from now on. */
  setWorkers(ranks: Iterable<number>): void {
    this.#ranks = [...ranks];
    if (this.#frozen === undefined) this.#sync?.setRanks(this.#ranks);
    else void this.#frozen.then(() => this.#sync?.setRanks(this.#ranks!));
  }

  /** While `work` runs, the state stays as it is: changes wait, pulls create nothing. */
  async frozen<T>(work: () => Promise<T>): Promise<T> {
    while (this.#frozen !== undefined) await this.#frozen;
    const running = work();
    this.#frozen = running
      .catch(() => {})
      .then(() => {
        this.#behind.clear();
        this.#frozen = undefined;
      });
    return running;
  }

  statistics(): PartitionStatistics {
    const { state } = this;
    return {
      partition: state.partition,
      steps: state.steps,
      pulls: this.#pulls,
      pushes: this.#pushes,
      refused: this.#refused,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
      bytes: state.bytes,
      journalBytes: this.log?.journalBytes ?? 0,
      tables: state.tables.map((table) => table.statistics()),
      waitingFor: this.#sync?.missing ?? [],
      waitingMs: Math.round(this.#sync?.waitingMs ?? 0),
    };
  }

  /** The methods for a server. */
  handlers(): Handlers {
    return Object.fromEntries(
      (Object.keys(methods) as PsMethod[]).map((method) => [
        method,
        {
          once: methods[method].once,
          // All that is kept of a body is copied before its call is answered.
          borrows: true,
          handle: (body: Uint8Array, context: CallContext) => this.call(method, body, context),
        },
      ]),
    ) as Handlers;
  }

  /** Calls in the same thread, as over the network. */
  client(): PartitionClient {
    const client = randomBytes(8).readBigUInt64LE();
    let sequence = 0;
    return {
      call: async (method, parts) => {
        const reply = await this.call(method, joinParts(parts), { client, sequence: ++sequence });
        return joinParts(reply);
      },
    };
  }

  dispose(): void {
    this.state.dispose();
  }

  /** A client sees what it has pushed before, though the push may still wait. */
  #pull(body: Uint8Array, caller: Caller): Reply | Promise<Reply> {
    if (this.#behind.has(caller.client)) return this.#frozen!.then(() => this.#pull(body, caller));
    this.#pulls++;
    return this.#counted(this.state.pull(decodePull(body), body, this.#pullOptions(caller)));
  }

  #change(method: PsMethod, body: Uint8Array, caller: Caller): Reply | Promise<Reply> {
    if (this.#frozen !== undefined) {
      this.#behind.add(caller.client);
      return this.#frozen.then(() => this.#change(method, body, caller));
    }
    try {
      if (method === "save") return this.#save(decodeRequest("save", body));
      if (method === "load") return this.#load(decodeRequest("load", body).folder);
      if (method === "push" || method === "pushPull") return this.#push(method, body, caller);
      const reply = this.#apply(method, body);
      if (method === "scan" && !changesRows(decodeRequest("scan", body).mode)) return reply;
      return this.#logged({ method, calls: [callOf(caller, body)] }, reply);
    } catch (error) {
      this.#refused++;
      throw error;
    }
  }

  #push(method: "push" | "pushPull", body: Uint8Array, caller: Caller): Reply | Promise<Reply> {
    const view = decodePush(body);
    let pull: { view: PullView; body: Uint8Array } | undefined;
    if (method === "pushPull") {
      const rest = body.subarray(view.bytes);
      pull = { view: decodePull(rest), body: rest };
      this.state.checkPull(pull.view);
    } else if (view.bytes !== body.byteLength) {
      throw malformed(`push: ${body.byteLength - view.bytes} bytes are left behind its end`);
    }
    const own = body.subarray(0, view.bytes);
    const entry: PushEntry = { view, body: own };
    const answer = (): Reply => {
      if (pull === undefined) return stepsReply(this.state);
      this.#pulls++;
      return this.#counted(this.state.pull(pull.view, pull.body, this.#pullOptions(caller)));
    };
    if (this.#sync !== undefined) return this.#pushTogether(entry, caller, method).then(answer);
    this.state.push(entry);
    this.#pushes++;
    return this.#logged({ method, calls: [callOf(caller, own)] }, answer());
  }

  async #pushTogether(entry: PushEntry, { client, sequence }: Caller, method: "push" | "pushPull"): Promise<void> {
    this.state.check(entry);
    await new Promise<void>((resolve, reject) => {
      this.#sync!.add({ ...entry, client, sequence, method, resolve, reject }, this.state.steps);
    });
    await this.log?.committed();
  }

  /** The pushes of all workers have come. */
  #step(pushes: readonly WaitingPush[]): void {
    this.state.pushTogether(pushes);
    this.#pushes += pushes.length;
    // All pulled with their push, or none did; where it is mixed, all pull again after a restart.
    const method = pushes.some((push) => push.method === "pushPull") ? "pushPull" : "push";
    this.log?.append({ method, calls: pushes.map((push) => callOf(push, push.body)) });
    for (const { resolve } of pushes) resolve();
  }

  #apply(method: PsMethod, body: Uint8Array): Reply {
    const reply = applyCall(this.state, this.#scans, method, body);
    if (method === "define") this.#awaitWorkers();
    return reply;
  }

  #awaitWorkers(): void {
    const { mode, workers } = this.state.expectModel();
    if (mode !== "sync") return;
    const ranks = this.#ranks ?? Array.from({ length: workers }, (_, rank) => rank);
    this.#sync ??= new SyncStep(ranks, (pushes) => this.#step(pushes));
  }

  async #save(request: { readonly folder: string; readonly mode: SaveMode }): Promise<Reply> {
    const reply = await this.frozen(() => savePartition(this.state, this.#scans, request));
    if (changesRows(request.mode)) await this.log?.snapshot();
    return encodeJson(reply);
  }

  async #load(folder: string): Promise<Reply> {
    const reply = await this.frozen(() => loadPartition(this.state, this.#scans, folder));
    await this.log?.snapshot();
    return encodeJson(reply);
  }

  #logged(record: AppliedRecord, reply: Reply): Reply | Promise<Reply> {
    if (this.log === undefined) return reply;
    this.log.append(record);
    return this.log.committed().then(() => reply);
  }

  #pullOptions(caller: Caller): PullOptions {
    return { frozen: this.#frozen !== undefined, memory: caller.memory && ((bytes) => caller.memory!(bytes)) };
  }

  #counted(reply: Reply): Reply {
    for (const { byteLength } of reply) this.#bytesOut += byteLength;
    return reply;
  }
}

/** Whether a save of this mode changes the statistics of rows. */
const changesRows = (mode: SaveMode): boolean => mode === "delta" || mode === "daily";
const callOf = ({ client, sequence }: Caller, body: Uint8Array): AppliedCall => ({ client, sequence, body });
