// A model made concrete for batches of one layout: its parameters and tables in the heap, its plans bound in every trainer
// thread.
import type { BatchLayout } from "../data/index.ts";
import { bind, type Prepared } from "../engine/index.ts";
import { attachProvider } from "../engine/providers/index.ts";
import type { Model } from "../models/index.ts";
import { Table } from "../table/index.ts";
import type { Job } from "./job.ts";
import { expectRoom, type MemoryReport, memoryNote, memoryReport } from "./memory-report.ts";
import { type ModelPrograms, modelPrograms, type OptimizerGroups, type ProgramOptions } from "./model-programs.ts";
import { ParameterStore } from "./parameters.ts";
import type { ScalarInput } from "./protocol.ts";
import type { Strategy } from "./strategy.ts";
import { relocateGradients, withOwnStatistics } from "./sync-plan.ts";

let sessions = 0;

export class Session {
  readonly layout: BatchLayout;
  readonly parameters: ParameterStore;
  readonly tables: Readonly<Record<string, Table>>;
  /** Keys by which the threads know the plans. */
  readonly keys: { readonly train: string; readonly score: string; readonly update?: string };
  readonly scalars: readonly ScalarInput[];
  /** What training takes of the heap, tables aside. */
  readonly memory: MemoryReport;
  /** The same in words, where it is much. */
  readonly memoryNote: string | undefined;
  readonly #owned: AsyncDisposableStack;

  private constructor(
    layout: BatchLayout,
    parts: Pick<Session, "parameters" | "tables" | "keys" | "scalars" | "memory" | "memoryNote">,
    owned: AsyncDisposableStack,
  ) {
    this.layout = layout;
    this.parameters = parts.parameters;
    this.tables = parts.tables;
    this.keys = parts.keys;
    this.scalars = parts.scalars;
    this.memory = parts.memory;
    this.memoryNote = parts.memoryNote;
    this.#owned = owned;
  }

  static async open(
    job: Job,
    model: Model,
    layout: BatchLayout,
    options: { readonly optimizers: OptimizerGroups; readonly strategy: Strategy; readonly seed: number },
  ): Promise<Session> {
    const { heap, pool, threads } = job;
    const { optimizers, strategy, seed } = options;
    const provider = attachProvider(heap, { ...job.provider, byRule: strategy.deterministic });
    const programOptions: ProgramOptions = {
      layout,
      optimizers,
      syncThreads: strategy.mode === "sync" ? threads : 0,
      provider,
      addressType: heap.addressType,
      recompute: strategy.recompute,
    };
    const programs = modelPrograms(model, programOptions);
    const memory = memoryOf(programs, threads);
    let again: MemoryReport | undefined;
    const recomputed = (): MemoryReport =>
      (again ??= memoryOf(modelPrograms(model, { ...programOptions, recompute: { segments: "auto" } }), threads));
    const alternative = strategy.recompute === undefined ? recomputed : undefined;
    const { capacity, liveBytes } = heap;
    expectRoom(
      memory,
      { free: capacity - liveBytes, capacity },
      { model: `model ${model.name}`, batch: layout.batch, halfPrecision: false, recomputed: alternative },
    );
    const note = memoryNote(memory, alternative);
    // What was taken so far is freed where a later part fails.
    await using owned = new AsyncDisposableStack();
    const own = <T>(thing: T, free: (thing: T) => void): T => owned.adopt(thing, free);
    const { shared } = programs;
    const parameters = own(
      new ParameterStore(heap, shared.sharedBytes, shared.parameters, programs.parameters, seed),
      (store) => store.free(),
    );
    const tables = Object.fromEntries(
      Object.entries(programs.tables).map(([name, spec]) => [
        name,
        own(Table.create(heap, spec), (table) => table.dispose()),
      ]),
    );
    const tableHandles = Object.fromEntries(Object.entries(tables).map(([name, { handle }]) => [name, handle]));
    const arenaOf = ({ plan }: Prepared): number =>
      own(heap.alloc(Math.max(64, plan.arenaBytes)), (arena) => heap.free(arena));
    const follower = strategy.mode === "sync" ? withOwnStatistics(programs.training) : programs.training;
    const training = (thread: number): Prepared => (thread === 0 ? programs.training : follower);
    // A thread trains or scores, never both: the two plans share its arena.
    const arenas = Array.from({ length: threads }, (_, thread) =>
      arenaOf(
        training(thread).plan.arenaBytes > programs.inference.plan.arenaBytes ? training(thread) : programs.inference,
      ),
    );
    const apply = programs.apply?.map((prepared) =>
      relocateGradients({ apply: prepared, shared: parameters.address, step: programs.training.plan, arenas }),
    );
    const applyArenas = apply?.map(arenaOf) ?? [];

    const name = `${model.name}#${sessions++}`;
    const keys = {
      train: `${name}/train`,
      score: `${name}/score`,
      ...(apply === undefined ? {} : { update: `${name}/update` }),
    };
    // Binding once here lets the provider choose its way for every shape; the threads then take the same ways.
    for (const prepared of [programs.training, programs.inference]) {
      bind(prepared, { heap, provider, tables, arena: arenas[0]!, shared: parameters.address }).dispose();
    }
    // A thread that has died, or was ended with its job, holds nothing.
    owned.defer(() =>
      pool
        .all(() => ({ type: "release", keys: Object.values(keys) }))
        .then(
          () => undefined,
          () => undefined,
        ),
    );
    const common = { type: "bind", provider: provider.describe(), tables: tableHandles } as const;
    const place = { shared: parameters.address };
    const checkFinite = strategy.debug?.nan === true;
    const train = { ...common, ...place, key: keys.train, checkFinite };
    await pool.all((t) => ({ ...train, prepared: training(t), arena: arenas[t]! }));
    await pool.all((t) => ({ ...common, ...place, key: keys.score, prepared: programs.inference, arena: arenas[t]! }));
    if (apply !== undefined && keys.update !== undefined) {
      const key = keys.update;
      await pool.all((t) => ({ ...common, key, checkFinite, prepared: apply[t]!, arena: applyArenas[t]!, shared: 0 }));
    }
    const inputs = [programs.training, ...(apply ?? [])].flatMap(({ plan }) => Object.keys(plan.inputs));
    const scalars = scalarInputs(new Set(inputs), optimizers);
    return new Session(layout, { parameters, tables, keys, scalars, memory, memoryNote: note }, owned.move());
  }

  /** What a batch's columns are called in the plans, and where they lie in a slot. */
  get columns(): { input: string; offset: number; bytes: number }[] {
    return this.layout.columns.map((column, i) => {
      const end = this.layout.columns[i + 1]?.offset ?? this.layout.bytes;
      return { input: column.name, offset: column.offset, bytes: end - column.offset };
    });
  }

  /** Numbers that training moves: dense weights and, by row, the tables' weights; optimizer state not counted. */
  get parameterCount(): number {
    const dense = this.parameters.trainableNames.reduce((n, name) => n + this.parameters.view(name).length, 0);
    return Object.values(this.tables).reduce(
      (n, table) => n + table.size() * table.spec.fields.reduce((width, { dim }) => width + dim, 0),
      dense,
    );
  }

  /** Frees everything, in the threads too. */
  close(): Promise<void> {
    return this.#owned.disposeAsync();
  }
}

/** What the session of these programs will take. A thread trains or scores, never both: the two plans share its arena. */
function memoryOf(
  { training, inference, apply = [], parameters, shared }: ModelPrograms,
  threads: number,
): MemoryReport {
  const larger = training.plan.arenaBytes > inference.plan.arenaBytes ? training.plan : inference.plan;
  const arenas = [...Array.from({ length: threads }, () => larger), ...apply.map(({ plan }) => plan)];
  return memoryReport({ parameters, shared, arenas });
}

/** Which optimizer supplies each `scalar:GROUP.NAME` input. */
function scalarInputs(inputs: ReadonlySet<string>, optimizers: OptimizerGroups): ScalarInput[] {
  return [...inputs].flatMap((input) => {
    const scalar = input.startsWith("scalar:") ? input.slice("scalar:".length) : "";
    const optimizer = optimizers[scalar.slice(0, scalar.lastIndexOf("."))];
    return optimizer === undefined ? [] : [{ input, scalar, optimizer }];
  });
}
