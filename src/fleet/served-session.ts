// A trainer's parameters and tables on servers: the model told to them, a communicator for this process, and what trainer
// threads need to know of both.
import type { BatchLayout, Pipeline } from "../data/index.ts";
import { definitionOf, type ServedModel } from "../ps/index.ts";
import {
  CommunicatorHandle,
  type GeoLayout,
  type GradientLayout,
  isStepwise,
  type PreparedLayout,
  preparedLayout,
  RemotePartitions,
  type RunRings,
  type Traffic,
  WholeState,
  withOldWeights,
  withoutSlots,
  workerTable,
} from "../ps/worker/index.ts";
import { Table, type TableHandle } from "../table/index.ts";
import type { BatchSource } from "./batch-source.ts";
import type { SinkTable, SinkWork } from "./gradient-sink.ts";
import type { Job } from "./job.ts";
import type { ModelPrograms } from "./model-programs.ts";
import type { ParameterStore } from "./parameters.ts";
import { gradientsOf, lookupsIn, servedModel, servedNames } from "./served-model.ts";
import type { Servers } from "./servers.ts";
import { type Strategy, servedMode } from "./strategy.ts";

const DEFAULTS = { prefetch: 1, sendQueueSize: 16, sendWaitTimes: 5 } as const;
/** Gradients that wait take at most so much memory, beyond two batches a thread. */
const MAX_WAITING_BYTES = 2 ** 29;

type Kind = "train" | "score";

export interface ServedOptions {
  readonly job: Job;
  readonly servers: Servers;
  readonly name: string;
  readonly programs: ModelPrograms;
  readonly layout: BatchLayout;
  readonly strategy: Strategy;
  readonly parameters: ParameterStore;
}

export class ServedSession {
  readonly model: ServedModel;
  readonly state: WholeState;
  /** Names of the parameters in the order of the model. */
  readonly names: readonly string[];
  /** Rows of each table at the last look: after training and loading. */
  tableSizes: Readonly<Record<string, number>> = {};
  readonly #options: ServedOptions;
  readonly #remote: RemotePartitions;
  readonly #gradients: GradientLayout;
  readonly #layouts: Readonly<Record<Kind, PreparedLayout>>;
  /** What gathers read the rows of a batch by, and in mode `geo` the rows that trainers move. */
  readonly #tables: readonly Table[];
  readonly #local: readonly Table[];
  #communicator!: CommunicatorHandle;
  readonly #blocks: number[] = [];

  private constructor(options: ServedOptions, remote: RemotePartitions) {
    const { job, servers, programs, layout, strategy, parameters } = options;
    const { heap } = job;
    this.#options = options;
    this.#remote = remote;
    const lengthOf = (name: string): number => parameters.view(name).length;
    const partitions = servers.addresses.length;
    this.model = servedModel(programs, lengthOf, { strategy, workers: servers.workers, partitions });
    this.names = servedNames(programs);
    this.state = new WholeState(remote.clients, this.model);
    this.#gradients = gradientsOf(programs, this.model, parameters, strategy);
    const { training, inference } = programs.served!.lookups;
    const geo = strategy.mode === "geo";
    const layoutFor = (lookups: typeof training): PreparedLayout =>
      preparedLayout(layout.bytes, lookupsIn(layout, this.model, lookups), this.model);
    // In mode `geo` steps look up by themselves, but every id must have its row before.
    this.#layouts = { train: layoutFor(geo ? inference : training), score: layoutFor(inference) };
    this.#tables = this.model.tables.map(({ spec }) => Table.create(heap, withoutSlots(spec)));
    this.#local = geo ? this.model.tables.map(({ spec }) => Table.create(heap, withOldWeights(spec))) : [];
  }

  static async open(options: ServedOptions): Promise<ServedSession> {
    const { servers } = options;
    const remote = await RemotePartitions.connect({
      ...{ addresses: servers.addresses, deadlineMs: servers.deadlineMs, name: `worker ${servers.rank}` },
      ...(servers.keys === undefined ? {} : { keys: servers.keys }),
      onDisconnect: (address, error) => servers.say(`the server at ${address} is gone: ${error.message}; waiting`),
      onReconnect: (address) => servers.say(`the server at ${address} is back`),
    });
    const session = new ServedSession(options, remote);
    options.job.closing.add(session);
    try {
      await session.#begin();
    } catch (error) {
      await session.close();
      throw error;
    }
    return session;
  }

  /** Handles of the tables by which plans of a kind are bound. */
  handles(kind: Kind): Readonly<Record<string, TableHandle>> {
    const tables = kind === "train" && this.#local.length > 0 ? this.#local : this.#tables;
    return Object.fromEntries(tables.map(({ name, handle }) => [name, handle]));
  }

  /** What plans of a kind read beside the columns of a batch. */
  columns(kind: Kind): { input: string; offset: number; bytes: number }[] {
    return this.#inputs(kind).map(({ input }, i) => {
      const { handles, occurrences } = this.#layouts[kind].lookups[i]!;
      return { input, offset: handles, bytes: 4 * occurrences };
    });
  }

  /** Optimizer steps that servers have told of. */
  get steps(): number {
    return this.#communicator.traffic.steps;
  }

  /** Whether servers wait for all workers before they answer. */
  get inStep(): boolean {
    return this.model.mode === "sync";
  }

  /** The request to servers that is under way. */
  get request(): string | undefined {
    const { pushing, pulling } = this.traffic;
    const names = this.model.tables.map(({ spec }) => spec.name);
    const what = names.length === 0 ? "weights" : `${names.length === 1 ? "table" : "tables"} ${names.join(", ")}`;
    return pushing > 0 ? `push ${what}` : pulling > 0 ? `pull ${what}` : undefined;
  }

  get traffic(): Traffic {
    return this.#communicator.traffic;
  }

  /** Lets trainer threads work on batches of a pipeline; `sources` and `sinks` are by thread. */
  async run(
    kind: Kind,
    pipeline: Pipeline,
    work: (source: (thread: number) => BatchSource, sink: (thread: number) => SinkWork | undefined) => Promise<void>,
  ): Promise<void> {
    if (kind === "score") await this.#communicator.pullDense();
    const layout = this.#layouts[kind];
    const inputs = this.#inputs(kind);
    await this.#communicator.run(kind, pipeline.handle, layout, ({ prepared, gradients }: RunRings) =>
      work(
        (thread) => ({ pipeline: pipeline.handle, prepared: { ring: prepared[thread]!, layout, inputs } }),
        (thread) => this.#sink(gradients[thread]),
      ),
    );
    if (kind === "train") await this.refresh();
  }

  /** Takes over what the servers have: dense weights, and how many rows. */
  async refresh(): Promise<void> {
    await this.#communicator.pullDense();
    const all = await this.state.statistics();
    const rowsOf = (table: number): number => all.reduce((sum, { tables }) => sum + tables[table]!.rows, 0);
    this.tableSizes = Object.fromEntries(this.model.tables.map(({ spec }, table) => [spec.name, rowsOf(table)]));
  }

  async close(): Promise<void> {
    const { heap, closing } = this.#options.job;
    if (!closing.delete(this)) return;
    await this.#communicator?.close();
    await this.#remote.close();
    for (const table of [...this.#tables, ...this.#local]) table.dispose();
    for (const block of this.#blocks.splice(0)) heap.free(block);
  }

  #inputs(kind: Kind): { input: string; zeroRow: number }[] {
    const { training, inference } = this.#options.programs.served!.lookups;
    return (kind === "train" ? training : inference).map(({ input, table }) => ({
      input,
      zeroRow: this.#tables.find(({ name }) => name === table)!.zeroRow,
    }));
  }

  #sink(ring: RunRings["gradients"][number] | undefined): SinkWork | undefined {
    const { strategy, programs } = this.#options;
    if (ring === undefined || strategy.mode === "geo") return undefined;
    const { contributions, parameters } = programs.served!;
    const tables = Object.entries(contributions).map(([name, list]): SinkTable => {
      const table = this.model.tables.findIndex(({ spec }) => spec.name === name);
      const { spec } = this.model.tables[table]!;
      return {
        ...{ name, table, contributions: list },
        fields: spec.fields.map((field) => ({ name: field.name, dim: field.dim })),
        strideBytes: workerTable(this.model.tables[table]!).layout.strideBytes,
        zeroRow: this.#tables[table]!.zeroRow,
      };
    });
    const { layout } = this.#options;
    const offsetOf = (name: string): number | undefined =>
      layout.columns.find((column) => column.name === name)?.offset;
    const samples = { batch: layout.batch, weights: offsetOf("weight")!, labels: offsetOf("label") };
    return { ring, layout: this.#gradients, prepared: this.#layouts.train, tables, parameters, samples };
  }

  /** The worker of rank 0 creates everything on the servers, with the start values of a single process. */
  async #begin(): Promise<void> {
    const { servers, parameters, name, job, strategy } = this.#options;
    const key = `ps/${name}/${definitionOf(this.model)}`;
    await servers.first(key, async () => {
      // Servers that come back from disk have done steps.
      if ((await this.state.define()) === 0) {
        await this.state.initialise(this.names.map((each) => parameters.view(each)));
      }
    });
    // Refused here by name where this process has another model.
    await this.state.define();
    const { threads, heap } = job;
    const { mode, prefetch = DEFAULTS.prefetch, sendWaitTimes = DEFAULTS.sendWaitTimes } = strategy;
    const { sendQueueSize = DEFAULTS.sendQueueSize, maxMergeGrads = sendQueueSize } = strategy;
    const room = Math.max(2 * threads, Math.floor(MAX_WAITING_BYTES / Math.max(1, this.#gradients.bytes)));
    // Who says how many are merged wants so many.
    const wantedGrads = Math.min(strategy.maxMergeGrads ?? threads, sendQueueSize, room);
    const gradients = this.#gradients;
    const geo = mode === "geo" ? this.#geo() : undefined;
    this.#communicator = new CommunicatorHandle({
      ...{ heap, threads, gradients: geo?.gradients ?? gradients, geo: geo?.layout, model: this.model },
      ...{ addresses: servers.addresses, keys: servers.keys, worker: servers.rank, deadlineMs: servers.deadlineMs },
      send: { sendQueueSize: Math.min(sendQueueSize, room), maxMergeGrads, wantedGrads, sendWaitTimes },
      zeroRows: this.#tables.map(({ zeroRow }) => zeroRow),
      prefetch: isStepwise(servedMode(strategy)) ? 1 : prefetch,
    });
    await this.refresh();
  }

  #geo(): { layout: GeoLayout; gradients: GradientLayout } {
    const { job, servers, strategy } = this.#options;
    const { heap } = job;
    const block = (length: number): number => {
      const address = heap.alloc(4 * length);
      this.#blocks.push(address);
      return address;
    };
    const moved = this.#gradients.dense.filter(({ gradient }) => gradient >= 0);
    return {
      layout: {
        every: strategy.geo?.every ?? 100,
        workers: servers.workers,
        tables: this.#local.map(({ handle }) => handle),
        dense: moved.map(({ weights, length }) => ({ local: weights, old: block(length), length })),
      },
      // What servers answer must not overwrite what trainers move.
      gradients: {
        ...this.#gradients,
        dense: this.#gradients.dense.map((each) =>
          each.gradient < 0 ? each : { ...each, weights: block(each.length) },
        ),
      },
    };
  }
}
