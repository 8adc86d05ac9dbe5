// A partition that survives its process: a snapshot of the state, and a journal of what was applied since. Both also hold
// which calls were applied, so that a call which comes again after a restart is not applied twice.
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { z } from "zod";
import { type JsonValue, openCheckpoint, saveCheckpoint } from "../checkpoint/index.ts";
import { AppliedCalls } from "../net/index.ts";
import { joinParts } from "./body.ts";
import { Journal, readJournal } from "./journal.ts";
import type { AppliedRecord, Partition, PartitionLog } from "./partition.ts";
import { encodeJson } from "./requests.ts";
import type { Storage } from "./spec.ts";
import { wholeStore } from "./whole-rows.ts";

const SNAPSHOT = "snapshot";
const FORMAT = "flotilla-partition/1";
/** Longer replies are those of pulls: an empty one instead tells the caller to pull again. */
const KEPT_REPLY_BYTES = 4096;

const stateSchema = z.object({
  format: z.literal(FORMAT),
  journal: z.int().nonnegative(),
  model: z.unknown(),
  steps: z.int().nonnegative(),
  draws: z.int().nonnegative(),
  applied: z.array(
    z.object({
      client: z.string(),
      floor: z.number(),
      outcomes: z.array(z.tuple([z.number(), z.boolean(), z.string(), z.string()])),
    }),
  ),
});

export interface DurableOptions {
  /** Of this partition alone. */
  readonly folder: string;
  /** What went wrong without anybody waiting for it: the partition must not go on. */
  readonly onFailure: (error: Error) => void;
}

export interface Restored {
  /** Of the snapshot and the journal. */
  readonly steps: number;
  readonly records: number;
  /** Bytes at the end of the journal that a crash cut. */
  readonly tornBytes: number;
}

export class DurablePartition implements PartitionLog {
  readonly applied: AppliedCalls = new AppliedCalls();
  readonly #partition: Partition;
  readonly #folder: string;
  readonly #onFailure: (error: Error) => void;
  #journal: Journal | undefined;
  /** Of the journal that is written, or of the next one. */
  #number = 1;
  #snapshots: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #changed = false;

  private constructor(partition: Partition, options: DurableOptions) {
    this.#partition = partition;
    this.#folder = options.folder;
    this.#onFailure = options.onFailure;
  }

  /**
   * Brings the partition to the state that the folder holds, and from then on keeps it there.
   * @throws Error when files are damaged
   */
  static async open(
    partition: Partition,
    options: DurableOptions,
  ): Promise<{ durable: DurablePartition; restored?: Restored }> {
    await mkdir(options.folder, { recursive: true });
    const durable = new DurablePartition(partition, options);
    const restored = await durable.#restore();
    partition.log = durable;
    return { durable, ...(restored && { restored }) };
  }

  get journalBytes(): number {
    return this.#journal?.bytes ?? 0;
  }

  append(record: AppliedRecord): void {
    this.#changed = true;
    const storage = this.#storage;
    if (storage === undefined || storage.durability === "none") return;
    // The first snapshot tells the model; the journal begins behind it.
    if (record.method === "define") {
      if (this.#snapshots === undefined && this.#timer === undefined && this.#journal === undefined)
        this.#begin(storage);
      return;
    }
    this.#journal?.append(record);
    if (storage.durability !== "journal" || this.#snapshots !== undefined) return;
    if (this.journalBytes > Math.max(storage.journalBytes, this.#partition.state.bytes)) this.#start();
  }

  async committed(): Promise<void> {
    if (this.#journal !== undefined) await this.#journal.committed();
    else await this.#snapshots;
  }

  async snapshot(): Promise<void> {
    if (this.#storage === undefined || this.#storage.durability === "none") return;
    while (this.#snapshots !== undefined) await this.#snapshots;
    await this.#start();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#snapshots?.catch(() => {});
    await this.#journal?.close();
    this.#partition.log = undefined;
  }

  get #storage(): Storage | undefined {
    return this.#partition.state.model?.storage;
  }

  #begin({ durability, snapshotSeconds }: Storage): void {
    this.#start();
    if (durability !== "snapshot") return;
    this.#timer = setInterval(() => {
      if (this.#changed && this.#snapshots === undefined) this.#start();
    }, 1000 * snapshotSeconds).unref();
  }

  /** Takes a snapshot in the background. */
  #start(): Promise<void> {
    const running = this.#partition
      .frozen(() => this.#take())
      .finally(() => {
        this.#snapshots = undefined;
      });
    running.catch((cause: Error) => this.#onFailure(new Error(`no snapshot: ${cause.message}`, { cause })));
    this.#snapshots = running;
    return running;
  }

  async #take(): Promise<void> {
    const storage = this.#storage!;
    const before = this.#number;
    if (storage.durability === "journal") {
      await this.#journal?.committed();
      await this.#journal?.close();
      this.#number++;
      this.#journal = await Journal.create(this.#journalPath(this.#number), storage);
    }
    // What was applied so far has its reply by then, and is among the applied calls.
    await nextTurn();
    this.#changed = false;
    const { state } = this.#partition;
    const tables = state.tables.flatMap(({ stores }, i) =>
      stores.map((store, j) => wholeStore(state.heap, store, `${i}-${j}`)),
    );
    const tensors = [...state.dense].flatMap(([index, part]) =>
      part.columnNames.map((_, i) => {
        const data = part.column(i === 0 ? undefined : i - 1)!;
        return { name: `${index}-${i}`, dtype: "F32" as const, shape: [data.length], data };
      }),
    );
    await saveCheckpoint(join(this.#folder, SNAPSHOT), { tables, tensors, state: this.#describe() });
    for (const number of await this.#journals()) {
      if (number <= before && number < this.#number) await rm(this.#journalPath(number), { force: true });
    }
  }

  #describe(): JsonValue {
    const { model, steps, draws } = this.#partition.state;
    const applied = this.applied.export().map(({ client, floor, outcomes }) => ({
      client: client.toString(16),
      floor,
      outcomes: outcomes.map(([sequence, outcome]) => {
        if (!outcome.ok) return [sequence, false, outcome.code, outcome.message];
        const body = outcome.body.byteLength > KEPT_REPLY_BYTES ? new Uint8Array(0) : outcome.body;
        return [sequence, true, Buffer.from(body).toString("base64"), ""];
      }),
    }));
    const plain = JSON.parse(JSON.stringify(model)) as JsonValue;
    return { format: FORMAT, journal: this.#number, model: plain, steps, draws, applied };
  }

  async #restore(): Promise<Restored | undefined> {
    const first = await this.#restoreSnapshot();
    if (first === undefined) {
      await this.#dropUnborn();
      return undefined;
    }
    const numbers = (await this.#journals()).filter((number) => number >= first);
    let records = 0;
    let tornBytes = 0;
    for (const [i, number] of numbers.entries()) {
      if (number !== first + i) throw new Error(`${this.#folder}: journal ${first + i} is missing; start the job anew`);
      const journal = readJournal(this.#journalPath(number), i === numbers.length - 1);
      for (let next = await journal.next(); ; next = await journal.next()) {
        if (next.done) {
          tornBytes = next.value;
          break;
        }
        this.#replay(next.value);
        records++;
      }
      this.#number = number;
    }
    const storage = this.#storage!;
    this.#number = Math.max(this.#number, first) + 1;
    if (storage.durability === "journal")
      this.#journal = await Journal.create(this.#journalPath(this.#number), storage);
    else this.#begin(storage);
    return { steps: this.#partition.state.steps, records, tornBytes };
  }

  /** Ended before its first snapshot was whole: the journal beside it is empty, since changes wait for the snapshot. */
  async #dropUnborn(): Promise<void> {
    for (const number of await this.#journals()) {
      const path = this.#journalPath(number);
      const { size } = await stat(path);
      if (size > 0)
        throw new Error(`${path} has ${size} bytes, but the snapshot before it is gone; start the job anew`);
      await rm(path);
    }
  }

  /** Returns the number of the first journal behind it; undefined where there is no snapshot. */
  async #restoreSnapshot(): Promise<number | undefined> {
    const entries = await readdir(this.#folder);
    if (!entries.some((name) => name === SNAPSHOT || name.startsWith(`${SNAPSHOT}.`))) return undefined;
    const found = await openCheckpoint(join(this.#folder, SNAPSHOT)).catch((cause: Error) => {
      // The very first one may have been cut by the crash: nothing was acknowledged before it was there.
      if (entries.includes(SNAPSHOT)) throw cause;
      return undefined;
    });
    if (found === undefined) return undefined;
    await using checkpoint = found;
    const saved = stateSchema.parse(checkpoint.state);
    const { state } = this.#partition;
    this.#partition.replay({
      method: "define",
      calls: [{ client: 0n, sequence: 0, body: encodeJson(saved.model)[0]! }],
    });
    for (const [i, { stores }] of state.tables.entries()) {
      for (const [j, store] of stores.entries()) {
        for await (const chunk of checkpoint.table(`${i}-${j}`).chunks()) {
          store.table.load(chunk);
          state.enforceLimit();
        }
      }
    }
    for (const [index, part] of state.dense) {
      for (const i of part.columnNames.keys()) {
        await checkpoint.readTensor(`${index}-${i}`, part.column(i === 0 ? undefined : i - 1)!);
      }
    }
    state.steps = saved.steps;
    state.draws = saved.draws;
    this.applied.import(
      saved.applied.map(({ client, floor, outcomes }) => ({
        client: BigInt(`0x${client}`),
        floor,
        outcomes: outcomes.map(([sequence, ok, a, b]) => [
          sequence,
          ok ? { ok, body: new Uint8Array(Buffer.from(a, "base64")) } : { ok, code: a, message: b },
        ]),
      })),
    );
    return saved.journal;
  }

  #replay(record: AppliedRecord): void {
    const reply = joinParts(this.#partition.replay(record));
    for (const { client, sequence } of record.calls) this.applied.record(client, sequence, { ok: true, body: reply });
  }

  #journalPath(number: number): string {
    return join(this.#folder, `journal-${String(number).padStart(8, "0")}`);
  }

  async #journals(): Promise<number[]> {
    const names = await readdir(this.#folder);
    return names
      .flatMap((name) => {
        const number = /^journal-(\d{8})$/.exec(name)?.[1];
        return number === undefined ? [] : [Number(number)];
      })
      .sort((a, b) => a - b);
  }
}
