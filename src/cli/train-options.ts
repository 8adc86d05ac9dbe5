// What `flotilla train` was asked for, checked and turned into the configuration of a run.
import { type Dataset, expandPatterns } from "../data/index.ts";
import { type ClickModelName, clickModelNames, create, type Model } from "../models/index.ts";
import { type DataOptions, datasetOf, requireLabels, sameKindOfData, shown, withoutUndefined } from "./data-source.ts";
import type { RunConfig } from "./run-config.ts";
import { parseOptimizerOption } from "./settings.ts";
import { oneOf, UsageError } from "./usage.ts";

/** Options of `flotilla train` as commander gives them; absent ones were not given. */
export interface TrainFlags extends DataOptions {
  readonly model?: string;
  readonly dim?: number;
  readonly hidden?: number[];
  readonly activation?: string;
  readonly dropout?: number;
  readonly norm?: string;
  readonly crossLayers?: number;
  readonly validation?: string[];
  readonly holdOut?: number;
  readonly epochs?: number;
  readonly evaluateEvery?: number;
  readonly patience?: number;
  readonly optimizer?: string;
  readonly lr?: number;
  readonly schedule?: string;
  readonly warmup?: number;
  readonly wideOptimizer?: string;
  readonly mode?: "async" | "sync";
  readonly threads?: number;
  readonly engine?: "auto" | "onednn" | "wasm";
  readonly seed?: number;
  readonly checkpointEvery?: number;
  readonly name?: string;
  readonly runs?: string;
  readonly overwrite?: boolean;
  readonly resume?: string;
  readonly profile?: boolean;
  readonly quiet?: boolean;
}

/** Flags that a model's configuration knows under the same name. */
const modelFlags = ["dim", "hidden", "activation", "dropout", "norm", "crossLayers"] as const;
const CHECKPOINT_SECONDS = 300;

/** The configuration of a new run. @throws UsageError */
export function configFrom(patterns: readonly string[], flags: TrainFlags, cores: number): RunConfig {
  if (patterns.length === 0) {
    throw new UsageError(
      "name the data to train on, as in flotilla train clicks.tsv, or a run to go on with: --resume runs/NAME",
    );
  }
  const { seed = 1, threads = cores, mode = "async", engine = "auto", epochs = 1 } = flags;
  const whole = datasetOf(patterns, dataOptions(flags));
  requireLabels(whole);
  const { data, validation } = split(whole, flags);
  if (validation === undefined) {
    for (const [flag, name] of [
      ["patience", "--patience"],
      ["evaluateEvery", "--evaluate-every"],
    ] as const) {
      if (flags[flag] !== undefined)
        throw new UsageError(`${name} needs held-out data: --validation FILE or --hold-out 0.1`);
    }
  }
  const model = modelFrom(whole, flags, seed);
  return {
    model: { name: model.name, ...model.config },
    data: data.fileSpec,
    ...(validation === undefined ? {} : { validation: validation.fileSpec }),
    optimizers: optimizersFrom(model, flags),
    strategy: { mode },
    epochs,
    ...withoutUndefined({ evaluateEvery: flags.evaluateEvery, patience: flags.patience }),
    checkpointSeconds: flags.checkpointEvery ?? CHECKPOINT_SECONDS,
    threads,
    engine,
    seed,
  };
}

function dataOptions(flags: TrainFlags): DataOptions {
  const { format, schema, batch, buckets, readers, order, shuffle, onBadLine } = flags;
  if (order === "file" && shuffle !== undefined) {
    throw new UsageError("--order file keeps the order of the files, --shuffle changes it; give one");
  }
  return withoutUndefined({ format, schema, batch, buckets, readers, order, shuffle, onBadLine }) as DataOptions;
}

/** Training and held-out data. */
function split(whole: Dataset, flags: TrainFlags): { data: Dataset; validation?: Dataset } {
  const { validation, holdOut } = flags;
  if (validation !== undefined && holdOut !== undefined) {
    throw new UsageError("--validation names held-out data, --hold-out takes it from the training data; give one");
  }
  const bad = flags.onBadLine === undefined ? {} : { onBadLine: flags.onBadLine };
  if (validation !== undefined) {
    const held = sameKindOfData(whole.fileSpec, validation, bad);
    requireLabels(held);
    return { data: whole, validation: held };
  }
  if (holdOut === undefined) return { data: whole };
  const packed = expandPatterns(whole.spec.patterns).find((path) => path.endsWith(".gz"));
  if (packed !== undefined) {
    throw new UsageError(
      `--hold-out cannot cut ${shown(packed)}, which is compressed; unpack it, or name other files with --validation`,
    );
  }
  const from = 1 - holdOut;
  return { data: whole.where({ rows: { to: from } }), validation: whole.where({ rows: { from } }) };
}

function modelFrom(data: Dataset, flags: TrainFlags, seed: number): Model {
  const name = oneOf("--model", flags.model ?? "deepFM", clickModelNames);
  const known = create(name, {}).config;
  const given: Record<string, unknown> = {};
  for (const flag of modelFlags) {
    if (flags[flag] === undefined) continue;
    if (!(flag in known))
      throw new UsageError(`${dashed(flag)} does not apply to ${name}; it is for ${modelsWith(flag)}`);
    given[flag] = flags[flag];
  }
  try {
    return create(name, { ...columnsOf(data), seed, ...given });
  } catch (error) {
    throw new UsageError(`--model ${name}: ${(error as Error).message}`);
  }
}

/** What a model must know of the data: how many columns of which kind. */
function columnsOf({ layout }: Dataset): { dense: number; categorical: number; bags: string[] } {
  const width = (name: string): number => layout.columns.find((column) => column.name === name)?.width ?? 0;
  const names = layout.columns.map(({ name }) => name);
  const bags = names.filter((name) => !["label", "weight", "dense", "categorical"].includes(name));
  return { dense: width("dense"), categorical: width("categorical"), bags };
}

const dashed = (flag: string): string => `--${flag.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
const modelsWith = (flag: string): string =>
  clickModelNames.filter((name: ClickModelName) => flag in create(name, {}).config).join(", ");

/** Models that keep one weight a feature for a linear part. */
const wide: readonly string[] = ["logisticRegression", "factorizationMachine", "wideAndDeep", "deepFM"];

function optimizersFrom(model: Model, flags: TrainFlags): RunConfig["optimizers"] {
  const rate = withoutUndefined({ lr: flags.lr, schedule: flags.schedule, warmup: flags.warmup });
  const main = parseOptimizerOption("--optimizer", flags.optimizer ?? "adagrad", rate);
  if (flags.wideOptimizer === undefined) return { default: main };
  if (!wide.includes(model.name)) {
    throw new UsageError(`--wide-optimizer: ${model.name} has no wide part; it is for ${wide.join(", ")}`);
  }
  return { default: main, linear: parseOptimizerOption("--wide-optimizer", flags.wideOptimizer) };
}

/** What a resumed run may change; everything else is part of what it is. */
const resumable = new Set([
  ...["resume", "epochs", "threads", "engine", "readers", "evaluateEvery", "patience", "checkpointEvery", "onBadLine"],
  ...["profile", "quiet"],
]);

/** The configuration of a run that goes on. @throws UsageError for what cannot change any more */
export function resumedConfig(config: RunConfig, patterns: readonly string[], flags: TrainFlags): RunConfig {
  if (patterns.length > 0) {
    throw new UsageError(`a resumed run goes on with its own data; leave out ${patterns.join(" ")}`);
  }
  const fixed = Object.keys(flags).find((flag) => !resumable.has(flag));
  if (fixed !== undefined) {
    const allowed = [...resumable].filter((flag) => flag !== "resume").map(dashed);
    throw new UsageError(`${dashed(fixed)} cannot change in a run that goes on; with --resume: ${allowed.join(", ")}`);
  }
  const { epochs, threads, engine, evaluateEvery, patience, checkpointEvery, readers, onBadLine } = flags;
  const reading = withoutUndefined({ readers, onBadLine });
  const overrides = { epochs, threads, engine, evaluateEvery, patience, checkpointSeconds: checkpointEvery };
  return {
    ...config,
    ...(withoutUndefined(overrides) as Partial<RunConfig>),
    data: { ...config.data, ...reading } as RunConfig["data"],
  };
}
