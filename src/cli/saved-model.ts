// A trained model from the path that a user gives, of a run or of a checkpoint: the trainer that continues it, and datasets
// that read other files the way its training data was read.
import { existsSync } from "node:fs";
import { basename, dirname } from "node:path";
import { type BatchLayout, columnOf, type Dataset } from "../data/index.ts";
import { init, type Job, readTrainerState, type SavedTrainer, type Trainer } from "../fleet/index.ts";
import { create } from "../models/index.ts";
import { type DataOptions, datasetOf, sameKindOfData, withoutUndefined } from "./data-source.ts";
import { checkpointOf, isRun, noSuchRun, type RunConfig, readRunConfig } from "./run-config.ts";
import { UsageError } from "./usage.ts";

export interface SavedModel {
  /** As the user named it. */
  readonly path: string;
  readonly checkpoint: string;
  readonly saved: SavedTrainer;
  /** Of the run of `flotilla train` that the checkpoint belongs to; absent for one that another program saved. */
  readonly config?: RunConfig;
}

/** @param path of a run's folder or of a checkpoint */
export async function findModel(path: string): Promise<SavedModel> {
  if (!existsSync(path)) throw noSuchRun(path);
  const run = isRun(path) ? path : dirname(path);
  const checkpoint = isRun(path) ? checkpointOf(path) : path;
  const saved = await readTrainerState(checkpoint);
  const belongs = run === path || (basename(path) === "checkpoint" && isRun(run));
  const config = belongs ? readRunConfig(run) : undefined;
  return { path, checkpoint, saved, ...(config === undefined ? {} : { config }) };
}

export interface EngineOptions {
  readonly threads?: number;
  readonly engine?: "auto" | "onednn" | "wasm";
}

/** Loads the model into a new job. Close the job when done. */
export async function openModel(model: SavedModel, options: EngineOptions): Promise<{ job: Job; trainer: Trainer }> {
  const { checkpoint, saved } = model;
  const job = await init(withoutUndefined({ threads: options.threads, engine: options.engine }));
  try {
    const trainer = job.trainer(create(saved.model.name, saved.model.config), {
      optimizer: saved.optimizers as RunConfig["optimizers"],
      strategy: saved.strategy,
      seed: saved.seed,
    });
    await trainer.load(checkpoint);
    return { job, trainer };
  } catch (error) {
    await job.close();
    throw error;
  }
}

/** Files read as the model's training data was. @throws UsageError when it is not known how that was read */
export function dataFor(model: SavedModel, patterns: readonly string[], options: DataOptions): Dataset {
  const { config, saved, path } = model;
  if (config !== undefined && options.schema === undefined) return sameKindOfData(config.data, patterns, options);
  const { layout } = saved;
  if (options.schema === undefined && !isCriteo(layout)) {
    throw new UsageError(
      `${path} does not say how its data was read; give the schema it was trained with: --schema FILE.json`,
    );
  }
  const format = options.schema === undefined ? ({ format: "criteo" } as const) : {};
  return datasetOf(patterns, { ...format, ...options, batch: layout.batch });
}

function isCriteo(layout: BatchLayout): boolean {
  const names = layout.columns.map(({ name }) => name).join();
  if (names !== "label,weight,dense,categorical") return false;
  return columnOf(layout, "dense").width === 13 && columnOf(layout, "categorical").width === 26;
}
