// A model made concrete for batches of one layout: its parameters and tables in the heap, its plans bound in every trainer
// thread.
import type { BatchLayout, Pipeline } from "../data/index.ts";
import { bind, noCommunication, type Prepared } from "../engine/index.ts";
import { attachProvider } from "../engine/providers/index.ts";
import type { Model } from "../models/index.ts";
import { Table } from "../table/index.ts";
import type { BatchSource } from "./batch-source.ts";
import { CollectiveSession } from "./collective/session.ts";
import type { SinkWork } from "./gradient-sink.ts";
import type { Job } from "./job.ts";
import { createLossScales, freeLossScales } from "./loss-scale.ts";
import { lossScaleSchema } from "./loss-scale-options.ts";
import type { MemoryReport } from "./memory-report.ts";
import { type ModelPrograms, modelPrograms, type ProgramOptions } from "./model-programs.ts";
import type { OptimizerGroups } from "./optimizer-groups.ts";
import { ParameterStore } from "./parameters.ts";
import type { UpdateWork } from "./protocol.ts";
import { ServedSession } from "./served-session.ts";
import { expectSessionRoom } from "./session-memory.ts";
import { type Strategy, threadMode } from "./strategy.ts";
import { relocateInputs, type Source } from "./sync-plan.ts";
import { ownAccumulators, trainingOf, withAverages } from "./thread-plans.ts";
import { updateWork } from "./update-work.ts";
import type { Weights } from "./weights.ts";

let sessions = 0;

export class Session {
  readonly layout: BatchLayout;
  readonly parameters: ParameterStore;
  readonly tables: Readonly<Record<string, Table>>;
  /** Keys by which the threads know the plans. */
  readonly keys: { readonly train: string; readonly score: Readonly<Record<Weights, string>> };
  /** What each thread is told of the updates. */
  readonly updates: readonly Omit<UpdateWork, "control">[];
  /** Names of the model's measures, in the order of the statistics. */
  readonly measures: readonly string[];
  /** What training takes of the heap, tables aside. */
  readonly memory: MemoryReport;
  /** What a person should know before training starts: memory where it is much, half precision that is emulated. */
  readonly notes: readonly string[];
  /** Present where parameters and tables are on servers; `tables` then is empty. */
  readonly served: ServedSession | undefined;
  /** Present in mode `collective`. */
  readonly collective: CollectiveSession | undefined;
  readonly #owned: AsyncDisposableStack;

  private constructor(
    layout: BatchLayout,
    parts: Pick<
      Session,
      "parameters" | "tables" | "keys" | "updates" | "measures" | "memory" | "notes" | "served" | "collective"
    >,
    owned: AsyncDisposableStack,
  ) {
    this.layout = layout;
    this.parameters = parts.parameters;
    this.tables = parts.tables;
    this.keys = parts.keys;
    this.updates = parts.updates;
    this.measures = parts.measures;
    this.memory = parts.memory;
    this.notes = parts.notes;
    this.served = parts.served;
    this.collective = parts.collective;
    this.#owned = owned;
  }

  static async open(
    job: Job,
    model: Model,
    layout: BatchLayout,
    options: { readonly optimizers: OptimizerGroups; readonly strategy: Strategy; readonly seed: number },
  ): Promise<Session> {
    const { heap, pool, threads, servers } = job;
    const { optimizers, strategy, seed } = options;
    const provider = attachProvider(heap, {
      ...job.provider,
      byRule: strategy.deterministic,
      winograd: strategy.winograd,
    });
    const programOptions: ProgramOptions = {
      layout,
      optimizers,
      strategy,
      threads,
      ranks: job.worldSize,
      networked: job.world.host !== undefined,
      provider,
      addressType: heap.addressType,
      recompute: strategy.recompute,
      served: servers !== undefined,
    };
    const programs = modelPrograms(model, programOptions);
    const recomputed = (): ModelPrograms =>
      modelPrograms(model, { ...programOptions, recompute: { segments: "auto" } });
    const { capacity, liveBytes } = heap;
    const { memory, notes } = expectSessionRoom(
      { model: model.name, batch: layout.batch, threads, strategy, provider, programs, recomputed },
      { free: capacity - liveBytes, capacity },
    );
    // What was taken so far is freed where a later part fails.
    await using owned = new AsyncDisposableStack();
    const own = <T>(thing: T, free: (thing: T) => void | Promise<void>): T => owned.adopt(thing, free);
    const { shared } = programs;
    const parameters = own(
      new ParameterStore(heap, shared.sharedBytes, shared.parameters, programs.parameters, seed),
      (store) => store.free(),
    );
    const name = `${model.name}#${sessions++}`;
    const served =
      servers &&
      own(
        await ServedSession.open({ job, servers, name: model.name, programs, layout, strategy, parameters }),
        (session) => session.close(),
      );
    const collective =
      strategy.mode === "collective"
        ? own(
            await CollectiveSession.open({
              ...{ job, programs, layout, strategy, parameters },
              settings: { model: [model.name, model.config], optimizers, strategy, seed, columns: layout.columns },
            }),
            (session) => session.close(),
          )
        : undefined;
    const exchanged = collective === undefined ? {} : { exchange: collective.exchange };
    const tables = Object.fromEntries(
      Object.entries(served === undefined ? programs.tables : {}).map(([name, spec]) => [
        name,
        own(Table.create(heap, spec), (table) => table.dispose()),
      ]),
    );
    const tableHandles = Object.fromEntries(Object.entries(tables).map(([name, { handle }]) => [name, handle]));
    const handles = {
      train: served?.handles("train") ?? tableHandles,
      score: served?.handles("score") ?? tableHandles,
    };
    const arenaOf = ({ plan }: Prepared): number =>
      own(heap.alloc(Math.max(64, plan.arenaBytes)), (arena) => heap.free(arena));
    const training = Array.from({ length: threads }, (_, thread) => trainingOf(programs, thread, strategy));
    // A thread trains or scores, never both: the two plans share its arena.
    const arenas = training.map((prepared) =>
      arenaOf(prepared.plan.arenaBytes > programs.inference.plan.arenaBytes ? prepared : programs.inference),
    );
    collective?.makeReady(training[0]!.plan, { arena: arenas[0]!, shared: parameters.address });
    const sources: Source[][] = training.map(({ plan }, t) => [{ plan, arena: arenas[t]! }]);
    const updates = (programs.updates ?? []).map((phase) => {
      const parts = phase.map((prepared, t) => {
        const own = threadMode(strategy) === "async" ? ownAccumulators(prepared, programs, t) : prepared;
        const update = relocateInputs({ update: own, shared: parameters.address, ...exchanged, sources });
        return { prepared: update, arena: arenaOf(update) };
      });
      for (const [t, { prepared, arena }] of parts.entries()) sources[t]!.push({ plan: prepared.plan, arena });
      return parts;
    });

    const keys = {
      train: `${name}/train`,
      score: { trained: `${name}/score`, ema: `${name}/score-ema` },
    };
    const averageKey = `${name}/average`;
    const updateKeys = updates.map((_, phase) => `${name}/update/${phase}`);
    // Binding once here lets the provider choose its way for every shape; the threads then take the same ways.
    for (const kind of ["train", "score"] as const) {
      const prepared = kind === "train" ? programs.training : programs.inference;
      const attached = Object.entries(handles[kind]).map(([table, handle]) => [table, Table.attach(heap, handle)]);
      const tables = Object.fromEntries(attached) as Record<string, Table>;
      const own = { heap, provider, tables, arena: arenas[0]!, shared: parameters.address };
      bind(prepared, { ...own, ...exchanged, communication: noCommunication }).dispose();
      for (const table of Object.values(tables)) table.detach();
    }
    // A thread that has died, or was ended with its job, holds nothing.
    owned.defer(() =>
      pool
        .all(() => ({ type: "release", keys: [keys.train, ...Object.values(keys.score), ...updateKeys, averageKey] }))
        .then(
          () => undefined,
          () => undefined,
        ),
    );
    const communicating = collective === undefined ? {} : { communication: collective.handle, ...exchanged };
    const common = { type: "bind", provider: provider.describe(), tables: handles.score, ...communicating } as const;
    const place = { shared: parameters.address };
    const checkFinite = strategy.debug?.nan === true;
    const train = { ...common, ...place, tables: handles.train, key: keys.train, checkFinite };
    await pool.all((t) => ({ ...train, prepared: training[t]!, arena: arenas[t]! }));
    const { trained, ema } = keys.score;
    await pool.all((t) => ({ ...common, ...place, key: trained, prepared: programs.inference, arena: arenas[t]! }));
    if (strategy.ema !== undefined) {
      const prepared = withAverages(programs);
      await pool.all((t) => ({ ...common, ...place, key: ema, prepared, arena: arenas[t]! }));
    }
    for (const [phase, parts] of updates.entries()) {
      const key = updateKeys[phase]!;
      await pool.all((t) => ({ ...common, key, checkFinite, ...parts[t]!, shared: 0 }));
    }
    const average = programs.exchange?.average;
    if (average !== undefined) {
      // The first thread runs it.
      const arena = arenaOf(average);
      await pool.all(() => ({ ...common, ...place, key: averageKey, prepared: average, arena }));
    }
    const lossScales =
      strategy.amp === "fp16"
        ? own(createLossScales(heap, threads, lossScaleSchema.parse(strategy.lossScale ?? {})), (them) =>
            freeLossScales(heap, them),
          )
        : [];
    const work = updateWork({
      ...{ job, strategy, optimizers, seed, batch: layout.batch, programs, parameters, collective, lossScales },
      ...{ step: training[0]!, updates: updates.map((parts) => parts.map(({ prepared }) => prepared)) },
      keys: { updates: updateKeys, average: averageKey },
    });
    const { measures } = programs;
    const parts = { parameters, tables, keys, updates: work, measures, memory, notes, served, collective };
    return new Session(layout, parts, owned.move());
  }

  /** What a batch's columns are called in the plans, and where they lie in a slot. */
  columns(kind: "train" | "score"): { input: string; offset: number; bytes: number }[] {
    const columns = this.layout.columns.map((column, i) => {
      const end = this.layout.columns[i + 1]?.offset ?? this.layout.bytes;
      return { input: column.name, offset: column.offset, bytes: end - column.offset };
    });
    return [...columns, ...(this.served?.columns(kind) ?? [])];
  }

  /** Lets the trainer threads work on the batches of a pipeline. */
  async overBatches(
    kind: "train" | "score",
    pipeline: Pipeline,
    work: (source: (thread: number) => BatchSource, sink: (thread: number) => SinkWork | undefined) => Promise<void>,
  ): Promise<void> {
    if (this.served !== undefined) await this.served.run(kind, pipeline, work);
    else
      await work(
        () => ({ pipeline: pipeline.handle }),
        () => undefined,
      );
  }

  /** Numbers that training moves: dense weights and, by row, the tables' weights; optimizer state not counted. */
  get parameterCount(): number {
    const dense = this.parameters.trainableNames.reduce((n, name) => n + this.parameters.view(name).length, 0);
    const specs =
      this.served?.model.tables.map(({ spec }) => spec) ?? Object.values(this.tables).map(({ spec }) => spec);
    const widthOf = ({ fields }: (typeof specs)[number]): number => fields.reduce((width, { dim }) => width + dim, 0);
    const { tableSizes } = this;
    return specs.reduce((n, spec) => n + (tableSizes[spec.name] ?? 0) * widthOf(spec), dense);
  }

  /** Rows of each table. */
  get tableSizes(): Readonly<Record<string, number>> {
    if (this.served !== undefined) return this.served.tableSizes;
    return Object.fromEntries(Object.entries(this.tables).map(([name, table]) => [name, table.size()]));
  }

  /** Frees everything, in the threads too. */
  close(): Promise<void> {
    return this.#owned.disposeAsync();
  }
}
