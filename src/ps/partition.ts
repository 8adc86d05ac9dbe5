// A partition: answers the calls of workers, one after the other. Whoever must wait, for other workers (mode `sync`) or for
// the disk, waits in a promise; the state itself changes at once.
import { randomBytes } from "node:crypto";
import type { Heap } from "../memory/index.ts";
import { type CallContext, type Handlers, RpcError } from "../net/index.ts";
import { joinParts, malformed } from "./body.ts";
import { decodePull, decodePush, type PullView } from "./messages.ts";
import {
  decodeRequest,
  encodeJson,
  methods,
  type PartitionClient,
  type PartitionStatistics,
  type PsMethod,
  parse,
} from "./requests.ts";
import { decodeChanges, decodeRows } from "./row-messages.ts";
import { loadPartition, savePartition } from "./saved-partition.ts";
import { Scans } from "./scans.ts";
import { PartitionState, type PushEntry, type StateOptions } from "./state.ts";
import { SyncStep, type WaitingPush } from "./sync-step.ts";
import { shrink } from "./upkeep.ts";

/** Who calls, and which of its calls this is. */
export type Caller = Pick<CallContext, "client" | "sequence">;

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
  #frozen: Promise<unknown> | undefined;
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
        this.#pulls++;
        return this.#counted(this.state.pull(decodePull(body), body, this.#frozen !== undefined));
      case "changes":
        return this.#counted(this.state.changes(decodeChanges(body)));
      case "dense":
        return [this.#denseColumn(decodeRequest("dense", body)).slice()].map(bytesOf);
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
      return method === "push" ? this.#steps() : [];
    }
    const replies = calls.map(({ body }) => this.#apply(push ? "push" : method, body));
    return method === "pushPull" ? [] : (replies[0] ?? []);
  }

  /** Whom mode `sync` waits for from now on. */
  setWorkers(ranks: Iterable<number>): void {
    if (this.#frozen === undefined) this.#sync?.setRanks(ranks);
    else void this.#frozen.then(() => this.setWorkers(ranks));
  }

  /** While `work` runs, the state stays as it is: changes wait, pulls create nothing. */
  async frozen<T>(work: () => Promise<T>): Promise<T> {
    while (this.#frozen !== undefined) await this.#frozen;
    const running = work();
    this.#frozen = running.catch(() => {}).then(() => (this.#frozen = undefined));
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

  #change(method: PsMethod, body: Uint8Array, caller: Caller): Reply | Promise<Reply> {
    if (this.#frozen !== undefined) return this.#frozen.then(() => this.#change(method, body, caller));
    try {
      if (method === "save")
        return this.frozen(() => savePartition(this.state, this.#scans, decodeRequest("save", body))).then(encodeJson);
      if (method === "load") return this.#load(decodeRequest("load", body).folder);
      if (method === "push" || method === "pushPull") return this.#push(method, body, caller);
      const reply = this.#apply(method, body);
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
      if (pull === undefined) return this.#steps();
      this.#pulls++;
      return this.#counted(this.state.pull(pull.view, pull.body, this.#frozen !== undefined));
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

  /** Changes that need nobody else. */
  #apply(method: PsMethod, body: Uint8Array): Reply {
    const { state } = this;
    switch (method) {
      case "define":
        return this.#define(body);
      case "push":
        state.push({ view: decodePush(body), body });
        return this.#steps();
      case "initialise":
        state.initialise({ view: decodePush(body), body });
        return [];
      case "putDense":
        return this.#putDense(body);
      case "putRows": {
        const { partitions } = state.expectModel();
        this.#scans.put(state.tables, decodeRows(body), { partition: state.partition, partitions });
        state.enforceLimit();
        return [];
      }
      case "setSteps":
        state.steps = decodeRequest("setSteps", body).steps;
        return [];
      case "scan":
        return encodeJson(this.#scans.begin(state.tables, decodeRequest("scan", body)));
      case "shrink": {
        state.expectModel();
        const dropped = state.tables.reduce((sum, table) => sum + shrink(state.heap, state.scratch, table), 0);
        return encodeJson({ dropped, rows: state.tables.reduce((sum, table) => sum + table.rows, 0) });
      }
      default:
        throw new RpcError("unknown method", `a partition has no method "${method}" that changes it`);
    }
  }

  #define(body: Uint8Array): Reply {
    const { state } = this;
    state.define(parse("define", body));
    const { mode, workers } = state.expectModel();
    if (mode === "sync") {
      this.#sync ??= new SyncStep(
        Array.from({ length: workers }, (_, rank) => rank),
        (pushes) => this.#step(pushes),
      );
    }
    return encodeJson({ definition: state.definition, steps: state.steps });
  }

  #denseColumn({ dense, slot }: { dense: number; slot?: number | undefined }): Float32Array {
    const column = this.state.dense.get(dense)?.column(slot);
    if (column !== undefined) return column;
    throw new RpcError("malformed", `no piece of parameter ${dense} with slot ${slot ?? "none"} is here`);
  }

  #putDense(body: Uint8Array): Reply {
    const end = body.indexOf(0);
    if (end < 0) throw malformed("putDense: there is no NUL behind the request");
    const column = this.#denseColumn(decodeRequest("dense", body.subarray(0, end)));
    const start = Math.ceil((end + 1) / 8) * 8;
    if (body.byteLength - start !== column.byteLength) {
      throw malformed(`putDense: ${body.byteLength - start} bytes of values for ${column.length} numbers`);
    }
    column.set(new Float32Array(body.buffer, body.byteOffset + start, column.length));
    return [];
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

  #steps(): Reply {
    const reply = new BigUint64Array([BigInt(this.state.steps)]);
    return [bytesOf(reply)];
  }

  #counted(reply: Reply): Reply {
    for (const { byteLength } of reply) this.#bytesOut += byteLength;
    return reply;
  }
}

const callOf = ({ client, sequence }: Caller, body: Uint8Array): AppliedCall => ({ client, sequence, body });
const bytesOf = (view: ArrayBufferView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
