// `config.json` of a training run: everything that a resumed run, `evaluate` and `predict` need to rebuild what was trained.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { Dataset, type FileSpec } from "../data/index.ts";
import { type Optimizer, parseOptimizer } from "../optim/index.ts";
import { didYouMean, UsageError } from "./usage.ts";

const count = z.number().int().positive();

const schema = z.object({
  model: z.looseObject({ name: z.string() }),
  data: z.unknown(),
  validation: z.unknown().optional(),
  optimizers: z.record(z.string(), z.unknown()),
  strategy: z.object({ mode: z.enum(["async", "sync"]) }),
  epochs: count,
  evaluateEvery: count.optional(),
  patience: count.optional(),
  checkpointSeconds: z.number().nonnegative(),
  threads: count,
  engine: z.enum(["auto", "onednn", "wasm"]),
  seed: z.number().int().nonnegative(),
});

export interface RunConfig {
  readonly model: { readonly name: string } & Readonly<Record<string, unknown>>;
  readonly data: FileSpec;
  readonly validation?: FileSpec;
  readonly optimizers: Readonly<Record<string, Optimizer>> & { readonly default: Optimizer };
  readonly strategy: { readonly mode: "async" | "sync" };
  readonly epochs: number;
  /** Rows between evaluations within an epoch. */
  readonly evaluateEvery?: number;
  /** Evaluations without a better AUC before training stops. */
  readonly patience?: number;
  readonly checkpointSeconds: number;
  readonly threads: number;
  readonly engine: "auto" | "onednn" | "wasm";
  readonly seed: number;
}

const CONFIG = "config.json";

/** Whether `folder` is that of a run, of `flotilla train` or another program. */
export const isRun = (folder: string): boolean => existsSync(join(folder, CONFIG));

export const checkpointOf = (folder: string): string => join(folder, "checkpoint");

/**
 * The configuration of a run that `flotilla train` made; undefined for one that another program made.
 * @throws when the file is damaged
 */
export function readRunConfig(folder: string): RunConfig | undefined {
  const path = join(folder, CONFIG);
  try {
    const value = JSON.parse(readFileSync(path, "utf8")) as unknown;
    if (typeof value === "object" && value !== null && !("optimizers" in value)) return undefined;
    const parsed = schema.parse(value);
    const optimizers = Object.entries(parsed.optimizers).map(([group, value]) => [group, parseOptimizer(value)]);
    return {
      ...(parsed as unknown as RunConfig),
      data: Dataset.from(parsed.data).fileSpec,
      ...(parsed.validation === undefined ? {} : { validation: Dataset.from(parsed.validation).fileSpec }),
      optimizers: Object.fromEntries(optimizers) as RunConfig["optimizers"],
    };
  } catch (error) {
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
    throw new Error(`${path} is damaged: ${reason}`);
  }
}

const MOST_NAMED = 10;

/** Says that a folder is not there and which runs lie beside it. */
export function noSuchRun(folder: string): UsageError {
  const beside = dirname(folder);
  const runs = existsSync(beside)
    ? readdirSync(beside, { withFileTypes: true })
        .filter((entry) => entry.isDirectory() && isRun(join(beside, entry.name)))
        .map(({ name }) => name)
    : [];
  const near = didYouMean(basename(folder), runs);
  const list = runs.length === 0 ? "" : `; runs in ${beside}: ${runs.slice(-MOST_NAMED).join(", ")}`;
  return new UsageError(`${folder} is neither a run nor a checkpoint${list}${near}`);
}
