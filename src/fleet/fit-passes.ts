// Passes over the rows of pipelines: lets the trainer threads run, looks at their statistics now and then, and has them pause
// for what is to be done between two steps.
import { type Dataset, openPipeline, type Pipeline, type PipelineState } from "../data/index.ts";
import type { Elastic } from "./collective/elastic.ts";
import { Control, Wish } from "./control.ts";
import type { Begun, FitLog } from "./fit-log.ts";
import type { FitOptions, FitResult } from "./fit-options.ts";
import type { Job } from "./job.ts";
import type { Session } from "./session.ts";
import { dealing } from "./strategy.ts";
import type { Trainer } from "./trainer.ts";

/** How often statistics become a record and the progress line moves. */
const RECORD_MS = 500;

export interface FitPassesOptions {
  readonly trainer: Trainer;
  readonly options: FitOptions;
  readonly log: FitLog;
  /** With `elastic`, in a job of several workers. */
  readonly elastic: Elastic | undefined;
  readonly session: () => Session;
  /** Whether something is to be done between two steps. */
  readonly due: () => boolean;
  /** Does it; true when training should stop early. */
  readonly between: () => Promise<boolean>;
}

export class FitPasses {
  /** Of the epoch. */
  badLines: FitResult["badLines"] = { count: 0, first: [] };
  profiles: readonly string[] = [];
  /** Names of the parts of the model in a trace. */
  groups: readonly string[] = [];
  readonly #trainer: Trainer;
  readonly #options: FitOptions;
  readonly #log: FitLog;
  readonly #elastic: Elastic | undefined;
  readonly #work: Pick<FitPassesOptions, "session" | "due" | "between">;
  readonly #job: Job;
  #control: Control;
  /** The pause that the readers were asked for last, and whether they are still in it. */
  #pausing: Promise<void> | undefined;
  #paused = false;

  constructor({ trainer, options, log, elastic, ...work }: FitPassesOptions) {
    this.#trainer = trainer;
    this.#options = options;
    this.#log = log;
    this.#elastic = elastic;
    this.#work = work;
    this.#job = trainer.job;
    this.#control = Control.create(this.#job.heap, this.#job.threads);
  }

  /** For another session. */
  renew(): void {
    this.#control.free();
    this.#control = Control.create(this.#job.heap, this.#job.threads);
  }

  free(): void {
    this.#control.free();
  }

  open(dataset: Dataset, resume: PipelineState | undefined): Promise<Pipeline> {
    this.#paused = false;
    this.#log.opened();
    const { strategy, state } = this.#trainer;
    const options = { trainers: this.#job.threads, epoch: state.epoch, ...dealing(strategy) };
    return openPipeline(this.#job.heap, dataset, { ...options, ...(resume === undefined ? {} : { resume }) });
  }

  async close(pipeline: Pipeline): Promise<void> {
    const { count, first } = pipeline.badLines();
    const before = this.badLines;
    this.badLines = { count: before.count + count, first: before.count > 0 ? before.first : first };
    await pipeline.close();
  }

  /** Trains until the rows of a pipeline are used up. With `elastic`, also again after it has failed. */
  async run(pipeline: Pipeline): Promise<FitResult["stopped"]> {
    const { signal } = this.#options;
    const trainer = this.#trainer;
    pipeline.clearInterrupt();
    if (this.#paused) this.#continue(pipeline);
    while (!(await this.#train(pipeline))) {
      this.#paused = true;
      trainer.state = { ...trainer.state, data: pipeline.state() };
      const { collective } = this.#work.session();
      if (collective === undefined ? signal?.aborted : this.#control.agreed & Wish.stop) return "signal";
      if (await this.#work.between()) return "early-stop";
      if (collective !== undefined) await trainer.workers!.meet(`${trainer.model.name}/pause`);
      this.#continue(pipeline);
    }
    await pipeline.finished;
    await this.#flush();
    return "finished";
  }

  #continue(pipeline: Pipeline): void {
    this.#paused = false;
    this.#pausing = undefined;
    pipeline.continue();
  }

  /** Lets the threads train until the epoch's rows are used up (true) or something else is to be done first (false). */
  async #train(pipeline: Pipeline): Promise<boolean> {
    const { signal } = this.#options;
    const { collective } = this.#work.session();
    const start = { ...this.#trainer.state, at: performance.now() };
    this.#control.step = start.step;
    this.#control.clearWishes();
    this.#log.skip();
    const elastic = this.#elastic;
    // What was agreed on before a worker died is still to be done.
    const wishes = elastic?.wishes ?? 0;
    if (wishes === 0) this.#pausing = undefined;
    let failure: { readonly error: unknown } | undefined;
    const pause = (): void => {
      if (this.#pausing !== undefined) return;
      this.#pausing = pipeline.pause();
      // Awaited below; a reader that fails before must not bring the process down.
      this.#pausing.catch(() => undefined);
    };
    // Ranks in step pause in the same step.
    const wish = (what: number): void => (collective === undefined ? pause() : this.#control.ask(what));
    const stop = (): void => wish(Wish.stop);
    const granted = (): void => {
      if (this.#control.agreed !== 0) pause();
      if (elastic !== undefined) elastic.wishes = this.#control.agreed;
    };
    const look = (): void => {
      try {
        this.#record(pipeline, start);
      } catch (error) {
        failure ??= { error };
        pipeline.interrupt();
      }
      this.#log.report(this.#work.session(), pipeline);
      if (this.#work.due()) wish(Wish.pause);
    };
    if (signal?.aborted === true) stop();
    signal?.addEventListener("abort", stop);
    const timer = setInterval(look, RECORD_MS);
    const agreed = collective === undefined ? undefined : this.#control.agreement().then(granted);
    this.#control.agree(wishes);
    try {
      await this.#runThreads(pipeline);
    } catch (error) {
      // How far it has come.
      if (elastic !== undefined) this.#record(pipeline, start);
      throw error;
    } finally {
      clearInterval(timer);
      signal?.removeEventListener("abort", stop);
      this.#control.endAgreement();
      await agreed;
    }
    if (failure !== undefined) throw failure.error;
    this.#record(pipeline, start);
    this.#log.report(undefined, pipeline);
    await collective?.averageStatistics();
    if (this.#pausing === undefined) return true;
    await this.#pausing;
    const left = pipeline.state().ranges.length > 0;
    const more = collective === undefined ? left : await collective.any(left);
    if (elastic !== undefined) elastic.wishes = 0;
    if (more) return false;
    // Nothing is left to read: lets the readers find that out.
    this.#continue(pipeline);
    return true;
  }

  /** An epoch ends with an update by what is gathered, however few steps that are. */
  async #flush(): Promise<void> {
    const { updates } = this.#work.session();
    if (updates.every(({ merge }) => merge === undefined)) return;
    const control = this.#control.address;
    await this.#job.pool.all(
      (thread) => ({ ...updates[thread]!, control, type: "flush" }),
      undefined,
      () => this.#control.stop(),
    );
    this.#trainer.state = { ...this.#trainer.state, step: this.#control.step };
  }

  async #runThreads(pipeline: Pipeline): Promise<void> {
    const { profile = false, trace = false } = this.#options;
    const session = this.#work.session();
    const { keys, layout, updates } = session;
    await session.overBatches("train", pipeline, async (source, sink) => {
      const replies = await this.#job.pool.all<{ profile?: string; groups?: readonly string[] }>(
        (thread) => ({
          ...updates[thread]!,
          control: this.#control.address,
          type: "train",
          key: keys.train,
          source: source(thread),
          sink: sink(thread),
          batch: layout.batch,
          columns: session.columns("train"),
          stats: this.#log.stats,
          profile,
          trace,
        }),
        undefined,
        () => {
          pipeline.interrupt();
          this.#control.stop();
        },
      );
      this.groups = replies[0]?.groups ?? this.groups;
      if (profile) this.profiles = replies.map((reply) => reply.profile ?? "");
    });
  }

  #record(pipeline: Pipeline, start: Begun): void {
    this.#log.record(pipeline, start, { step: this.#control.step, measures: this.#work.session().measures });
  }
}
