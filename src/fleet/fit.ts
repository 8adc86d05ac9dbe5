// The training loop as the main thread sees it: opens a pipeline an epoch, lets the trainer threads run, looks at their
// statistics now and then, and has them pause for evaluations, checkpoints and the end.
import { join } from "node:path";
import { PeerError } from "../collective/index.ts";
import { type Dataset, openPipeline, type Pipeline, type PipelineState } from "../data/index.ts";
import { Elastic } from "./collective/elastic.ts";
import { type ElasticSteps, runElastic } from "./collective/elastic-run.ts";
import type { CollectiveSession } from "./collective/session.ts";
import { type CommunicationSummary, communicationOf, describeCommunication } from "./collective/summary.ts";
import { Control, Wish } from "./control.ts";
import { partsOf, wholeOf } from "./data-parts.ts";
import { WorkerDiedError } from "./deaths.ts";
import { judge } from "./early-stop.ts";
import { type Begun, FitLog } from "./fit-log.ts";
import type { FitOptions, FitResult } from "./fit-options.ts";
import type { Job } from "./job.ts";
import { saveTrainer } from "./saved-state.ts";
import type { Session } from "./session.ts";
import { dealing } from "./strategy.ts";
import { type Metrics, taskOf } from "./tasks.ts";
import type { Trainer } from "./trainer.ts";
import type { TrainingState } from "./training-state.ts";

/** How often statistics become a record and the progress line moves. */
const RECORD_MS = 500;

export async function runFit(
  trainer: Trainer,
  session: Session,
  dataset: Dataset,
  options: FitOptions,
): Promise<FitResult> {
  const loop = new FitLoop(trainer, session, dataset, options);
  try {
    return await loop.run();
  } catch (error) {
    throw await loop.failed(error);
  } finally {
    loop.close();
  }
}

class FitLoop {
  readonly #trainer: Trainer;
  #session: Session;
  readonly #dataset: Dataset;
  readonly #options: FitOptions;
  readonly #job: Job;
  #control: Control;
  readonly #log: FitLog;
  readonly #start: TrainingState;
  /** With `elastic`, in a job of several workers. */
  readonly #elastic: Elastic | undefined;
  /** The pause that the readers were asked for last, and whether they are still in it. */
  #pausing: Promise<void> | undefined;
  #paused = false;
  #evaluation: Metrics | undefined;
  #badLines: FitResult["badLines"] = { count: 0, first: [] };
  #profiles: readonly string[] = [];
  /** Names of the parts of the model in a trace. */
  #groups: readonly string[] = [];
  #evaluatedAt: number;
  #checkpointAt = performance.now();

  constructor(trainer: Trainer, session: Session, dataset: Dataset, options: FitOptions) {
    const { job } = trainer;
    this.#trainer = trainer;
    this.#session = session;
    this.#dataset = dataset;
    this.#options = options;
    this.#job = job;
    this.#control = Control.create(job.heap, job.threads);
    this.#log = new FitLog(trainer, options);
    this.#start = trainer.state;
    this.#elastic = trainer.regroup && new Elastic(trainer, trainer.regroup);
    this.#evaluatedAt = trainer.state.samples;
  }

  close(): void {
    this.#log.free();
    this.#control.free();
  }

  async run(): Promise<FitResult> {
    const { epochs = 1, profile = false, trace = false, run } = this.#options;
    const trainer = this.#trainer;
    let stopped: FitResult["stopped"] = "finished";
    for (const note of this.#session.notes) this.#log.note(note);
    const { collective } = this.#session;
    if (trace && collective === undefined) throw new Error('fit: trace is for strategy mode "collective"');
    if (trace && this.#job.rank === 0 && run === undefined) throw new Error("fit: trace needs a run folder: run");
    collective?.timeline.begin(trace);
    if (this.#elastic !== undefined) stopped = await this.#goOn(this.#elastic, epochs);
    else {
      await collective?.share();
      while (stopped === "finished" && trainer.state.epoch < epochs) stopped = await this.#epoch();
    }
    const communication = this.#session.collective && this.#communication(this.#session.collective);
    if (communication !== undefined) this.#log.say(describeCommunication(communication));
    this.#log.finish();
    if (trace) await this.#session.collective!.writeTrace(run && join(run.path, "trace.json"), this.#groups);
    const { state } = trainer;
    const seconds = state.seconds - this.#start.seconds;
    const samples = state.samples - this.#start.samples;
    return {
      samples,
      seconds,
      samplesPerSecond: seconds > 0 ? samples / seconds : 0,
      steps: state.step - this.#start.step,
      epochs: state.epoch,
      stopped,
      badLines: this.#badLines,
      ...(this.#evaluation === undefined ? {} : { evaluation: this.#evaluation }),
      ...(communication === undefined ? {} : { communication }),
      ...(profile ? { profiles: this.#profiles } : {}),
    };
  }

  #communication({ timeline, denseBytes }: CollectiveSession): CommunicationSummary | undefined {
    const steps = this.#trainer.state.step - this.#start.step;
    return communicationOf(timeline.totals, steps * denseBytes);
  }

  /** Epochs of workers that go on when some of them die. */
  async #goOn(elastic: Elastic, epochs: number): Promise<FitResult["stopped"]> {
    if (elastic.late) return "finished";
    const { validation, split = true } = this.#options;
    const trainer = this.#trainer;
    const { heap, threads, world } = this.#job;
    // Shares were cut by the script, when this worker had the place that its environment says, or by a later one.
    const whole = wholeOf(wholeOf(this.#dataset, this.#job), { rank: world.rank, worldSize: world.workers });
    const shared = split && whole.spec.shard.worldSize === 1;
    const steps: ElasticSteps = {
      ...{ trainer, epochs },
      data: { dataset: shared ? whole : this.#dataset, shared },
      session: () => this.#session,
      renew: async () => {
        this.#session = await trainer.renew(this.#dataset.layout);
        this.#session.collective?.timeline.begin(this.#options.trace === true);
        this.#control.free();
        this.#control = Control.create(heap, threads);
        return this.#session;
      },
      open: (dataset, resume) => this.#openPipeline(dataset, resume),
      train: (pipeline) => this.#trainOn(pipeline),
      close: (pipeline) => this.#closePipeline(pipeline),
      evaluate: async () => {
        if (validation !== undefined && (await this.#evaluate())) return true;
        if (this.#checkpointDue()) await this.#checkpoint();
        return false;
      },
      say: (text) => this.#job.workers.say(text),
    };
    return runElastic(elastic, steps);
  }

  /** The error of a run, which says who has died where that is the cause. Other ranks would wait for this one. */
  async failed(error: unknown): Promise<unknown> {
    const { collective } = this.#session;
    const failure = collective?.failure;
    await collective?.close();
    if (!(failure instanceof PeerError) || !(error instanceof Error)) return error;
    const death = await this.#job.workers.death(undefined, failure.rank);
    if (death === undefined) return error;
    return new WorkerDiedError(`${error.message}; ${death}`, { cause: error });
  }

  async #epoch(): Promise<FitResult["stopped"]> {
    const { validation, split = true } = this.#options;
    const trainer = this.#trainer;
    const { epoch } = trainer.state;
    const { servers } = this.#job;
    this.#badLines = { count: 0, first: [] };
    const key = `${trainer.model.name}/fit-${trainer.fits}/epoch-${epoch}`;
    let apart = false;
    for await (const part of partsOf(this.#dataset, this.#job, { mode: trainer.strategy.mode, split }, key)) {
      const stopped = await this.#pass(part.dataset);
      if (stopped !== "finished") return stopped;
      await part.done();
      apart = !part.leased;
      const { data: _, ...rest } = trainer.state;
      trainer.state = rest;
    }
    trainer.state = { ...trainer.state, epoch: epoch + 1 };
    // What is evaluated is what all have learnt. Who leases parts ends when all are done, also without those that died.
    if (apart) await servers?.meet(key);
    if (validation !== undefined && (await this.#evaluate())) return "early-stop";
    // Epochs may be shorter than the time between two looks.
    if (this.#checkpointDue()) await this.#checkpoint();
    return "finished";
  }

  /** Trains on what is left of a dataset in this epoch. */
  async #pass(dataset: Dataset): Promise<FitResult["stopped"]> {
    if (this.#options.signal?.aborted === true) return "signal";
    const pipeline = await this.#openPipeline(dataset, this.#trainer.state.data);
    try {
      return await this.#trainOn(pipeline);
    } finally {
      await this.#closePipeline(pipeline);
    }
  }

  #openPipeline(dataset: Dataset, resume: PipelineState | undefined): Promise<Pipeline> {
    this.#paused = false;
    this.#log.opened();
    const { strategy, state } = this.#trainer;
    const options = { trainers: this.#job.threads, epoch: state.epoch, ...dealing(strategy) };
    return openPipeline(this.#job.heap, dataset, { ...options, ...(resume === undefined ? {} : { resume }) });
  }

  async #closePipeline(pipeline: Pipeline): Promise<void> {
    const { count, first } = pipeline.badLines();
    const before = this.#badLines;
    this.#badLines = { count: before.count + count, first: before.count > 0 ? before.first : first };
    await pipeline.close();
  }

  /** Trains until the rows of a pipeline are used up. With `elastic`, also again after it has failed. */
  async #trainOn(pipeline: Pipeline): Promise<FitResult["stopped"]> {
    const { signal } = this.#options;
    const trainer = this.#trainer;
    pipeline.clearInterrupt();
    if (this.#paused) this.#continue(pipeline);
    while (!(await this.#train(pipeline))) {
      this.#paused = true;
      trainer.state = { ...trainer.state, data: pipeline.state() };
      const { collective } = this.#session;
      if (collective === undefined ? signal?.aborted : this.#control.agreed & Wish.stop) return "signal";
      if (this.#evaluationDue() && (await this.#evaluate(false))) return "early-stop";
      if (this.#checkpointDue()) await this.#checkpoint();
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
    const { collective } = this.#session;
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
      this.#log.report(this.#session, pipeline);
      if (this.#evaluationDue() || this.#checkpointDue()) wish(Wish.pause);
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
    const { updates } = this.#session;
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
    const session = this.#session;
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
      this.#groups = replies[0]?.groups ?? this.#groups;
      if (profile) this.#profiles = replies.map((reply) => reply.profile ?? "");
    });
  }

  #record(pipeline: Pipeline, start: Begun): void {
    this.#log.record(pipeline, start, { step: this.#control.step, measures: this.#session.measures });
  }

  /** Of several workers, the first one evaluates in the middle of an epoch. */
  #evaluationDue(): boolean {
    const { validation, evaluateEvery } = this.#options;
    if (validation === undefined || evaluateEvery === undefined || this.#job.rank > 0) return false;
    return this.#trainer.state.samples - this.#evaluatedAt >= evaluateEvery;
  }

  #checkpointDue(): boolean {
    const { run, checkpointSeconds = 300 } = this.#options;
    return (
      run !== undefined && this.#job.rank === 0 && performance.now() - this.#checkpointAt >= checkpointSeconds * 1000
    );
  }

  async #checkpoint(): Promise<void> {
    await saveTrainer(this.#trainer, this.#session, this.#options.run!.checkpoint);
    this.#checkpointAt = performance.now();
  }

  /**
   * Evaluates the held-out data; true when training should stop early.
   * @param together all workers wait for it, and stop together; else the first one only looks
   */
  async #evaluate(together = true): Promise<boolean> {
    const { validation, earlyStop, weights = "trained" } = this.#options;
    const trainer = this.#trainer;
    const metrics = await trainer.evaluateNow(validation!, { weights }, together);
    this.#evaluation = metrics;
    this.#evaluatedAt = trainer.state.samples;
    this.#log.evaluation(metrics);
    if (earlyStop === undefined || (!together && this.#job.worldSize > 1)) return false;
    const { best, stop } = judge(metrics, trainer.state.best, earlyStop, taskOf(trainer.model));
    trainer.state = { ...trainer.state, best };
    if (stop === undefined) return false;
    this.#log.event(stop);
    return true;
  }
}
