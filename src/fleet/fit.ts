// The training loop as the main thread sees it: epochs over parts of the data, with evaluations and checkpoints in between, and
// what comes out.
import { join } from "node:path";
import { PeerError } from "../collective/index.ts";
import type { Dataset } from "../data/index.ts";
import { Elastic } from "./collective/elastic.ts";
import { type ElasticSteps, runElastic } from "./collective/elastic-run.ts";
import type { CollectiveSession } from "./collective/session.ts";
import { type CommunicationSummary, communicationOf, describeCommunication } from "./collective/summary.ts";
import { partsOf, wholeOf } from "./data-parts.ts";
import { WorkerDiedError } from "./deaths.ts";
import { judge } from "./early-stop.ts";
import { FitLog } from "./fit-log.ts";
import type { FitOptions, FitResult } from "./fit-options.ts";
import { FitPasses } from "./fit-passes.ts";
import type { Job } from "./job.ts";
import { saveTrainer } from "./saved-state.ts";
import type { Session } from "./session.ts";
import { type Metrics, taskOf } from "./tasks.ts";
import type { Trainer } from "./trainer.ts";
import type { TrainingState } from "./training-state.ts";

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
  readonly #log: FitLog;
  readonly #start: TrainingState;
  /** With `elastic`, in a job of several workers. */
  readonly #elastic: Elastic | undefined;
  readonly #passes: FitPasses;
  #evaluation: Metrics | undefined;
  #evaluatedAt: number;
  #checkpointAt = performance.now();

  constructor(trainer: Trainer, session: Session, dataset: Dataset, options: FitOptions) {
    const { job } = trainer;
    this.#trainer = trainer;
    this.#session = session;
    this.#dataset = dataset;
    this.#options = options;
    this.#job = job;
    this.#log = new FitLog(trainer, options);
    this.#start = trainer.state;
    this.#elastic = trainer.regroup && new Elastic(trainer, trainer.regroup);
    this.#passes = new FitPasses({
      ...{ trainer, options, log: this.#log, elastic: this.#elastic, session: () => this.#session },
      due: () => this.#evaluationDue() || this.#checkpointDue(),
      between: async () => {
        if (this.#evaluationDue() && (await this.#evaluate(false))) return true;
        if (this.#checkpointDue()) await this.#checkpoint();
        return false;
      },
    });
    this.#evaluatedAt = trainer.state.samples;
  }

  close(): void {
    this.#log.free();
    this.#passes.free();
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
    if (trace) await this.#session.collective!.writeTrace(run && join(run.path, "trace.json"), this.#passes.groups);
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
      badLines: this.#passes.badLines,
      ...(this.#evaluation === undefined ? {} : { evaluation: this.#evaluation }),
      ...(communication === undefined ? {} : { communication }),
      ...(profile ? { profiles: this.#passes.profiles } : {}),
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
    const { world } = this.#job;
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
        this.#passes.renew();
        return this.#session;
      },
      open: (dataset, resume) => this.#passes.open(dataset, resume),
      train: (pipeline) => this.#passes.run(pipeline),
      close: (pipeline) => this.#passes.close(pipeline),
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
    this.#passes.badLines = { count: 0, first: [] };
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
    const pipeline = await this.#passes.open(dataset, this.#trainer.state.data);
    try {
      return await this.#passes.run(pipeline);
    } finally {
      await this.#passes.close(pipeline);
    }
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
