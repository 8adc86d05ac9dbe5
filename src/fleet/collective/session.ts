// A trainer's part in a group of ranks: its buckets and the collectives over them, equal weights at the start, running
// statistics that are averaged, and what trainer threads need to know.
import { writeFile } from "node:fs/promises";
import type { Membership } from "../../cluster/index.ts";
import { type CallOptions, type Group, joinGroup } from "../../collective/index.ts";
import type { BatchLayout } from "../../data/index.ts";
import type { Plan } from "../../engine/index.ts";
import type { Heap } from "../../memory/index.ts";
import { snapshotName } from "../../program/index.ts";
import type { Job } from "../job.ts";
import type { ModelPrograms } from "../model-programs.ts";
import type { ParameterStore } from "../parameters.ts";
import type { Strategy } from "../strategy.ts";
import { chromeTrace, gatherTraces, type RankTrace } from "./chrome-trace.ts";
import { expectSame } from "./description.ts";
import { prepareDgc } from "./dgc-session.ts";
import { type ExchangeHandle, type NamedCall, TALLY_NUMBERS } from "./handle.ts";
import { type Places, programCalls } from "./program-calls.ts";
import { prepareRows, type RowExchangeHandle } from "./row-exchange.ts";
import { Timeline } from "./timeline.ts";

export interface CollectiveOptions {
  readonly job: Job;
  readonly programs: ModelPrograms;
  readonly layout: BatchLayout;
  readonly strategy: Strategy;
  readonly parameters: ParameterStore;
  /** What all ranks must agree on beside the program. */
  readonly settings: Readonly<Record<string, unknown>>;
}

const TALLY_NAME = "rows of the step";
const TALLY_BYTES = 4 * TALLY_NUMBERS;
const FLAG_BYTES = 64;
/** How long the others may take to come to the group: they may compile a large model. */
const MEET_MS = 600_000;

export class CollectiveSession {
  /** Address of what is exchanged: what plans are bound with. */
  readonly exchange: number;
  /** What trainer threads need to know, once `makeReady` was called. */
  handle!: ExchangeHandle;
  readonly timeline: Timeline;
  readonly #options: CollectiveOptions;
  readonly #groups: readonly Group[];
  readonly #heap: Heap;
  readonly #blocks: number[];
  readonly #tally: number;
  readonly #flag: number;
  #closed = false;
  #lastFailure: Error | undefined;

  private constructor(options: CollectiveOptions, groups: readonly Group[]) {
    const { job, programs } = options;
    const { heap } = job;
    job.closing.add(this);
    this.#options = options;
    this.#groups = groups;
    this.#heap = heap;
    const bytes = exchangeBytes(programs);
    const block = groups[0]?.buffer?.address ?? heap.alloc(bytes + TALLY_BYTES + FLAG_BYTES);
    this.#blocks = groups[0]?.buffer === undefined ? [block] : [];
    this.timeline = Timeline.create(heap);
    this.#blocks.push(this.timeline.address);
    this.exchange = block;
    this.#tally = block + bytes;
    this.#flag = block + bytes + TALLY_BYTES;
  }

  /**
   * Makes the collectives of buckets and of the step's own instructions ready.
   * @param step the plan of the only thread, and where it will lie
   */
  makeReady(step: Plan, places: Omit<Places, "exchange">): void {
    const { job, programs, layout, strategy } = this.#options;
    const { buckets, offsets } = programs.exchange!;
    const { wire, algorithm, groupSize } = strategy;
    const options = Object.fromEntries(
      Object.entries({ wire, algorithm, groupSize }).filter(([, value]) => value !== undefined),
    );
    const own = programCalls(step, { ...places, exchange: this.exchange });
    if (own.size > 0 && job.threads > 1) {
      throw new Error(
        `strategy: the program exchanges tensors within a step ("${[...own.keys()][0]}"), for which a rank has one thread, not ${job.threads}; init({ threads: 1 })`,
      );
    }
    const calls: Record<string, NamedCall> = {};
    for (const [name, call] of own) calls[name] = this.#prepare(call, 0);
    const streams = Math.max(1, this.#groups.length);
    const inStep = new Set(step.instructions.filter(({ kind }) => kind === "bucket").map(({ attrs }) => attrs.name));
    const placed = buckets.map((bucket, i) => ({ bucket, address: this.exchange + offsets[i]!, stream: i % streams }));
    const rows: Record<string, RowExchangeHandle> = {};
    for (const { bucket, address, stream } of placed) {
      const { name, length: count } = bucket;
      let call: CallOptions = { collective: "all-reduce", name, address, count, ...options };
      if (bucket.rows !== undefined) {
        const ids = places.arena + step.inputs[bucket.rows.column]!.offset;
        const ready = prepareRows({
          ...{ bucket, address, ids, rank: job.rank, ranks: job.worldSize, wire: wire ?? "f32" },
          allocate: (bytes) => this.#allocate(bytes),
        });
        call = ready.call;
        rows[name] = ready.handle;
      }
      calls[name] = { ...this.#prepare(call, stream), gradients: inStep.has(name) };
    }
    const dgc = prepareDgc({
      ...{ heap: this.#heap, rank: job.rank, ranks: job.worldSize, strategy, batch: layout.batch },
      ...{ parameters: this.#options.parameters, optimizerOf: programs.rules.optimizerOf.parameter },
      buckets: placed.filter(({ bucket }) => bucket.compressed === true),
      prepare: (call, stream) => this.#prepare(call, stream).id,
      allocate: (bytes) => this.#allocate(bytes),
    });
    if (dgc !== undefined && job.threads > 1) {
      throw new Error(
        `strategy: dgc is for one thread a rank, not ${job.threads}; init({ threads: 1 }) and more workers`,
      );
    }
    const tickets = this.#allocate(4 * (Object.keys(calls).length + 1));
    const address = this.#tally;
    const tally: CallOptions = { collective: "all-reduce", name: TALLY_NAME, address, count: TALLY_NUMBERS };
    this.handle = {
      ...{ rank: job.rank, queues: this.#groups.map(({ queue }) => queue.address) },
      ...{ calls, tickets, batch: layout.batch, timeline: this.timeline.address },
      tally: { ...this.#prepare(tally, 0), address },
      rows,
      settles: strategy.elastic !== undefined,
      ...(dgc === undefined ? {} : { dgc }),
    };
  }

  /** @throws Error where the ranks are not about to train the same */
  static async open(options: CollectiveOptions): Promise<CollectiveSession> {
    const { job, programs, strategy, settings } = options;
    const { rank, workers, member } = job.workers;
    if (workers === 1) return new CollectiveSession(options, []);
    if (member === undefined) {
      throw new Error(
        `strategy: mode "collective" with ${workers} workers needs a coordinator; start the script with flotilla launch --workers ${workers} …`,
      );
    }
    const { streams = 1 } = strategy;
    const { generation } = job.workers.roster;
    // Who has come back since has not counted what the others have in earlier generations.
    const number = `${generation}-${job.workers.count(`collective/${generation}`)}`;
    const life = `collective/life/${number}/${job.workers.own.rank}`;
    if (!(await member.set(life, "", { ifAbsent: true }))) {
      throw new Error(
        `worker ${job.workers.own.rank} was started again, and the group that it was in has ended; with elastic in the strategy a group takes workers in again`,
      );
    }
    const lines = Object.entries({ ...settings, threads: job.threads }).map(
      ([key, value]) => `${key}: ${JSON.stringify(value)}`,
    );
    const text = [...lines, programs.exchange!.description].join("\n");
    // Whoever dies before all have come is named at once.
    const meeting: Pick<Membership, "set" | "get"> = {
      set: (key, value, options) => member.set(key, value, options),
      get: (key, { timeoutMs = MEET_MS } = {}) => job.workers.valueOf(key, timeoutMs),
    };
    await expectSame(meeting, { rank, workers }, `collective/program/${number}`, text);
    const groups: Group[] = [];
    try {
      for (let stream = 0; stream < streams; stream++) {
        const name = `c${number}-${stream}`;
        const bufferBytes = stream === 0 ? exchangeBytes(programs) + TALLY_BYTES + FLAG_BYTES : 0;
        groups.push(await joinGroup(meeting, { ...job.world, rank, workers }, { heap: job.heap, name, bufferBytes }));
      }
      return new CollectiveSession(options, groups);
    } catch (error) {
      await Promise.all(groups.map((group) => group.close()));
      throw error;
    }
  }

  /** The name of the collective that this rank is at, and in which it may wait for others. */
  get waitsIn(): string | undefined {
    if (this.#closed) return undefined;
    for (const [stream, { queue }] of this.#groups.entries()) {
      const id = queue.current;
      if (id === undefined) continue;
      if (id === this.handle.tally.id && stream === this.handle.tally.stream) return TALLY_NAME;
      const calls = Object.entries(this.handle.calls);
      return calls.find(([, call]) => call.id === id && call.stream === stream)?.[0] ?? "a collective";
    }
    return undefined;
  }

  /** Why the group has ended; undefined while it has not. */
  get failure(): Error | undefined {
    if (this.#closed) return this.#lastFailure;
    return this.#groups.map(({ queue }) => queue.failure).find((error) => error !== undefined);
  }

  /** Gives all ranks the weights and the optimizer state of one. */
  async share(root = 0): Promise<void> {
    const [group] = this.#groups;
    const { parameters } = this.#options;
    for (const name of parameters.trainableNames) {
      const snapshot = snapshotName(name);
      if (parameters.names.includes(snapshot)) parameters.view(snapshot).set(parameters.view(name));
    }
    if (group === undefined) return;
    await group.done(group.broadcast(parameters.address, parameters.bytes / 4, { root, name: "parameters" }));
  }

  /** Gives all ranks the mean of the running statistics, which each moves by its own batches. */
  async averageStatistics(): Promise<void> {
    const [group] = this.#groups;
    if (group === undefined) return;
    const { parameters } = this.#options;
    const tickets = parameters.statistics.map((name) =>
      group.allReduce(parameters.addressOf(name), parameters.view(name).length, { op: "mean", name }),
    );
    if (tickets.length > 0) await group.done(tickets.at(-1)!);
  }

  /** Collectives by the numbers that events of the timeline have. */
  get calls(): RankTrace["calls"] {
    const named = Object.entries(this.handle.calls).map(([name, { stream }]) => ({ name, stream }));
    return [...named, { name: TALLY_NAME, stream: 0 }];
  }

  /** Writes the trace of all ranks, where this is rank 0. @param groups names of the parts of the model */
  async writeTrace(path: string | undefined, groups: readonly string[]): Promise<void> {
    const { rank, workers, member } = this.#options.job.workers;
    const own: RankTrace = { rank, events: this.timeline.events(), groups, calls: this.calls };
    const key = `collective/trace/${this.#options.job.workers.count("trace")}`;
    const all = await gatherTraces(member, { workers, key }, own);
    if (all !== undefined && path !== undefined) await writeFile(path, chromeTrace(all));
  }

  /** Whether something is so on any rank. */
  async any(here: boolean): Promise<boolean> {
    const [group] = this.#groups;
    if (group === undefined) return here;
    const flag = this.#heap.f32(this.#flag, 1);
    flag[0] = here ? 1 : 0;
    await group.done(group.allReduce(this.#flag, 1, { op: "max", name: "whether rows are left" }));
    return flag[0] > 0;
  }

  /** Ends the part in the group; ranks that wait for this one learn that it has left. */
  async close(): Promise<void> {
    this.#options.job.closing.delete(this);
    this.#lastFailure = this.failure;
    this.#closed = true;
    await Promise.all(this.#groups.map((group) => group.close()));
    for (const block of this.#blocks.splice(0)) this.#heap.free(block);
  }

  /** What whole f32 gradients of a step would make a rank send. */
  get denseBytes(): number {
    const { job, programs } = this.#options;
    const elements = programs.exchange!.buckets.reduce((sum, { length }) => sum + length, 0);
    return (2 * 4 * elements * (job.worldSize - 1)) / job.worldSize;
  }

  #prepare(call: CallOptions, stream: number): NamedCall {
    const { id = 0, bytes = 0 } = this.#groups[stream]?.prepare(call) ?? {};
    return { stream, id, bytes };
  }

  /** Zeros, until the session ends. */
  #allocate(bytes: number): number {
    const address = this.#heap.alloc(bytes);
    this.#heap.u8(address, bytes).fill(0);
    this.#blocks.push(address);
    return address;
  }
}

const exchangeBytes = ({ exchange }: ModelPrograms): number => exchange!.bytes;
