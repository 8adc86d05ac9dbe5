// The trainer: what a user calls to train, evaluate, predict, save and load one model.
import { isDeepStrictEqual } from "node:util";
import type { BatchLayout, Dataset } from "../data/index.ts";
import type { Model } from "../models/index.ts";
import { adagrad, type Optimizer } from "../optim/index.ts";
import type { ImportOptions, ImportReport } from "../weights/index.ts";
import { Regroup } from "./collective/regroup.ts";
import { wholeOf } from "./data-parts.ts";
import { expectMetric } from "./early-stop.ts";
import { runFit } from "./fit.ts";
import { checkFitOptions, type FitOptions, type FitResult } from "./fit-options.ts";
import {
  type ExportOnnxOptions,
  type ExportWeightsOptions,
  exportFrom,
  exportOnnxFrom,
  importInto,
} from "./interchange.ts";
import type { Job } from "./job.ts";
import { type KeptState, keepState, restoreState } from "./kept-state.ts";
import { type OptimizerGroups, optimizerGroups } from "./optimizer-groups.ts";
import { checkSaveOptions, loadTrainer, type SaveTrainerOptions, saveTrainer } from "./saved-state.ts";
import { metricsOf, predictionsOf } from "./scoring.ts";
import { Session } from "./session.ts";
import { parseStrategy, type Strategy, type StrategyOptions } from "./strategy.ts";
import { expectCollective, expectServers } from "./strategy-conflicts.ts";
import type { Metrics } from "./tasks.ts";
import { initialState, type TrainingState } from "./training-state.ts";
import { type ScoreOptions, weightsOf } from "./weights.ts";
import type { Workers } from "./workers.ts";

export interface TrainerOptions {
  /**
   * One optimizer for everything, or one by group: `default`, and parameter groups, table fields or globs over names of
   * parameters, such as `{ default: optim.adagrad(), linear: optim.ftrl() }`. Default AdaGrad.
   */
  readonly optimizer?: Optimizer | OptimizerGroups;
  readonly strategy?: StrategyOptions;
  /** Seed of start values, dropout and the order of data; default 1. */
  readonly seed?: number;
}

const CLOSED = "closed";
const MAX_SEED = 0xffffffff;

export class Trainer {
  readonly job: Job;
  readonly model: Model;
  readonly optimizers: OptimizerGroups;
  readonly strategy: Strategy;
  readonly seed: number;
  /** Where training stands: the next step, epoch and rows. A checkpoint keeps it. */
  state: TrainingState = initialState;
  /** How often training was begun: workers share out the data of each time anew. */
  fits = 0;
  /** With `elastic`, in a job of several workers. */
  regroup: Regroup | undefined;
  #session: Session | undefined;
  #opening: Promise<Session> | undefined;
  #busy: string | undefined;
  /** What was learnt, while the session is opened anew. */
  #kept: KeptState | undefined;

  /** Use `job.trainer(model, options)`. @throws for a wrong option. */
  constructor(job: Job, model: Model, options: TrainerOptions) {
    const { optimizer = adagrad(), strategy, seed = 1, ...unknown } = options;
    const [wrong] = Object.keys(unknown);
    if (wrong !== undefined)
      throw new TypeError(`trainer: unknown option "${wrong}"; allowed: optimizer, strategy, seed`);
    this.job = job;
    this.model = model;
    this.optimizers = optimizerGroups(optimizer);
    this.strategy = parseStrategy(strategy);
    expectCollective(this.strategy, this.optimizers);
    expectServers(this.strategy, this.optimizers, job.servers !== undefined);
    if (!Number.isInteger(seed) || seed < 0 || seed > MAX_SEED)
      throw new TypeError(`trainer: seed must be an integer from 0 to ${MAX_SEED}, got ${seed}`);
    this.seed = seed;
  }

  /** Trains until the epochs are done, a patience runs out or a signal stops it; calling it again goes on. */
  fit(dataset: Dataset, options: FitOptions = {}): Promise<FitResult> {
    return this.#exclusive("fit", async () => {
      checkFitOptions(options);
      weightsOf({ weights: options.weights ?? "trained" }, this.strategy);
      const session = await this.session(dataset.layout);
      if (options.earlyStop !== undefined) expectMetric(options.earlyStop, session.measures);
      if (options.validation !== undefined) await this.session(options.validation.layout);
      this.fits++;
      return runFit(this, session, dataset, options);
    });
  }

  /** Exact metrics over a dataset, as the model's task has them: loss, AUC and calibration, or accuracy, or errors. */
  evaluate(dataset: Dataset, options: ScoreOptions = {}): Promise<Metrics> {
    return this.#exclusive("evaluate", () => this.evaluateNow(dataset, options));
  }

  /**
   * Predictions for a dataset's rows, in the order of the files: probabilities of the label being 1, probabilities
   * [.., C] of classes, or numbers, one row after the other.
   */
  async predict(dataset: Dataset, options: ScoreOptions = {}): Promise<Float32Array> {
    const chunks: Float32Array[] = [];
    for await (const chunk of this.predictions(dataset, options)) chunks.push(chunk);
    const all = new Float32Array(chunks.reduce((n, { length }) => n + length, 0));
    let at = 0;
    for (const chunk of chunks) {
      all.set(chunk, at);
      at += chunk.length;
    }
    return all;
  }

  /** As `predict`, in pieces as they come. */
  async *predictions(dataset: Dataset, options: ScoreOptions = {}): AsyncGenerator<Float32Array> {
    this.#begin("predict");
    try {
      const weights = weightsOf(options, this.strategy);
      const session = await this.session(dataset.layout);
      yield* predictionsOf(this, session, dataset, weights);
    } finally {
      this.#busy = undefined;
    }
  }

  /**
   * Writes a checkpoint folder: parameters, tables, optimizer state and the place in the data.
   * @throws TypeError for a wrong option
   */
  save(path: string, options: SaveTrainerOptions = {}): Promise<void> {
    return this.#exclusive("save", async () => {
      checkSaveOptions(options, this.job.servers !== undefined);
      const session = this.#expectSession("save");
      const save = (): Promise<void> => saveTrainer(this, session, path, options);
      return this.workers?.together(`save ${path}`, save) ?? save();
    });
  }

  /** Replaces everything this trainer has learnt by a checkpoint of the same model. @throws when it does not fit. */
  load(path: string): Promise<void> {
    return this.#exclusive("load", () => loadTrainer(this, (layout) => this.#anew(layout), path));
  }

  /**
   * Reads dense weights and running statistics from a safetensors file of PyTorch or Hugging Face; optimizer state stays as
   * it is, moving averages begin anew. `dataset` tells the shapes of the batches to come.
   * @throws CheckpointError naming the tensor that does not fit and, unless `strict: false`, those missing or unexpected
   */
  importWeights(path: string, dataset: Dataset, options: ImportOptions = {}): Promise<ImportReport> {
    return this.#exclusive("importWeights", async () =>
      importInto(await this.session(dataset.layout), this.model, path, options),
    );
  }

  /** Writes dense weights and running statistics to a safetensors file with PyTorch's names and layouts. */
  exportWeights(path: string, options: ExportWeightsOptions = {}): Promise<void> {
    return this.#exclusive("exportWeights", () =>
      exportFrom(this.#expectSession("exportWeights"), this.model, this.strategy, path, options),
    );
  }

  /**
   * Writes an ONNX model whose output `predictions` is what `predict` gives.
   * @throws Error for models with tables, and ops without a counterpart in ONNX
   */
  exportOnnx(path: string, options: ExportOnnxOptions = {}): Promise<void> {
    return this.#exclusive("exportOnnx", () =>
      exportOnnxFrom(this.#expectSession("exportOnnx"), this.model, this.strategy, path, options),
    );
  }

  /** Frees the trainer's memory; it can no longer be used. @throws when work is under way. */
  async close(): Promise<void> {
    if (this.#busy === CLOSED) return;
    await this.#exclusive("close", async () => this.#session?.close());
    this.#session = undefined;
    this.#busy = CLOSED;
  }

  /** The workers that train this model together; undefined where this process trains for itself. */
  get workers(): Workers | undefined {
    const { servers, workers } = this.job;
    return servers ?? (this.strategy.mode === "collective" ? workers : undefined);
  }

  /** Dense weights and rows of tables so far, in numbers. */
  get parameterCount(): number {
    return this.#session?.parameterCount ?? 0;
  }

  /** Rows of each table; those on servers as they were at the end of the last training. */
  get tableSizes(): Readonly<Record<string, number>> {
    return this.#session?.tableSizes ?? {};
  }

  /**
   * `evaluate` within `fit`, which has the threads to itself.
   * @param together with several workers: the first one evaluates, on the whole data, and tells all
   */
  async evaluateNow(dataset: Dataset, options: ScoreOptions = {}, together = true): Promise<Metrics> {
    const weights = weightsOf(options, this.strategy);
    const session = await this.session(dataset.layout);
    const { workers } = this;
    if (workers === undefined || workers.workers === 1 || !together) return metricsOf(this, session, dataset, weights);
    const whole = wholeOf(dataset, this.job);
    return workers.together(`${this.model.name}/evaluate`, () => metricsOf(this, session, whole, weights));
  }

  /** The session for batches of this layout; the first call decides it. */
  async session(layout: BatchLayout): Promise<Session> {
    this.#opening ??= this.#open(layout);
    try {
      this.#session = await this.#opening;
    } catch (error) {
      this.#opening = undefined;
      throw error;
    }
    const own = this.#session.layout;
    if (!isDeepStrictEqual(own, layout)) {
      const show = ({ batch, columns }: BatchLayout): string =>
        `batches of ${batch} rows of ${columns.map(({ name, width }) => `${name}[${width}]`).join(", ")}`;
      throw new Error(`this trainer works on ${show(own)}; the dataset gives ${show(layout)}`);
    }
    return this.#session;
  }

  /** Opens the session again for the workers that train together now; what was learnt stays. */
  async renew(layout: BatchLayout): Promise<Session> {
    const { heap } = this.job;
    const before = this.#session;
    if (before !== undefined) this.#kept = keepState(heap, before);
    this.#session = undefined;
    this.#opening = undefined;
    await before?.close();
    const session = await this.session(layout);
    if (this.#kept !== undefined) restoreState(heap, session, this.#kept);
    this.#kept = undefined;
    return session;
  }

  async #open(layout: BatchLayout): Promise<Session> {
    const { job, model, optimizers, strategy, seed } = this;
    const { workers } = job;
    const several = workers.member !== undefined && workers.workers > 1;
    if (strategy.elastic !== undefined && several && this.regroup === undefined) {
      this.regroup = new Regroup(workers, strategy.elastic);
      await this.regroup.enter();
    }
    return Session.open(job, model, layout, { optimizers, strategy, seed });
  }

  #expectSession(what: string): Session {
    if (this.#session !== undefined) return this.#session;
    throw new Error(`${what}: there is nothing to save before fit, load or importWeights`);
  }

  #begin(what: string): void {
    if (this.#busy === CLOSED) throw new Error(`${what}: this trainer is closed; make a new one`);
    if (this.#busy !== undefined) throw new Error(`${what}: this trainer is busy with ${this.#busy}; await it first`);
    this.#busy = what;
  }

  /** A fresh session: what was learnt so far is dropped. */
  async #anew(layout: BatchLayout): Promise<Session> {
    await this.#session?.close();
    this.#session = undefined;
    this.#opening = undefined;
    return this.session(layout);
  }

  async #exclusive<T>(what: string, work: () => Promise<T>): Promise<T> {
    this.#begin(what);
    try {
      return await work();
    } finally {
      this.#busy = undefined;
    }
  }
}
