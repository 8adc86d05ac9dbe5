// What a fit tells of itself while it runs: records of windows of training, the progress line, events, and reports to the
// coordinator.
import type { Pipeline } from "../data/index.ts";
import { type WindowMetrics, type WindowReader, WindowStats, type WindowStatsHandle } from "../metrics/index.ts";
import { learningRateAt } from "../optim/index.ts";
import { formatCount, type MetricsRecord, ProgressLine, type TrainRecord } from "../report/index.ts";
import type { FitOptions } from "./fit-options.ts";
import { ProgressReport } from "./progress-report.ts";
import type { Session } from "./session.ts";
import { describeMetrics, evaluationFields, type Metrics, taskMetrics, taskOf } from "./tasks.ts";
import type { Trainer } from "./trainer.ts";
import type { TrainingState } from "./training-state.ts";

/** Where training stood when it was begun, and at what time of the event loop. */
export type Begun = TrainingState & { readonly at: number };

/** What a look at the trainer threads finds. */
interface Looked {
  readonly step: number;
  /** Names of the model's measures. */
  readonly measures: readonly string[];
}

export class FitLog {
  readonly #trainer: Trainer;
  readonly #options: FitOptions;
  readonly #stats: WindowStats;
  readonly #window: WindowReader;
  readonly #line: ProgressLine | undefined;
  readonly #progress: ProgressReport;
  /** Where the last record of training ended. */
  #recorded: { readonly samples: number; readonly seconds: number };
  /** Rows trained on when the readers began. */
  #openedAt = 0;

  constructor(trainer: Trainer, options: FitOptions) {
    const { job, state } = trainer;
    this.#trainer = trainer;
    this.#options = options;
    this.#stats = WindowStats.create(job.heap, { threads: job.threads });
    this.#window = this.#stats.reader();
    this.#line = options.progress === false ? undefined : new ProgressLine();
    this.#progress = new ProgressReport(job.workers, state);
    this.#recorded = state;
  }

  /** Where trainer threads count. */
  get stats(): WindowStatsHandle {
    return this.#stats.handle;
  }

  free(): void {
    this.#window.free();
    this.#stats.free();
  }

  /** Readers begin a pass. */
  opened(): void {
    this.#openedAt = this.#trainer.state.samples;
  }

  /** Forgets the window so far. */
  skip(): void {
    this.#window.read();
  }

  /** Takes the window since the last look into the training state, the metrics and the progress line. */
  record(pipeline: Pipeline, start: Begun, { step, measures }: Looked): void {
    const trainer = this.#trainer;
    const before = trainer.state;
    const window = this.#window.read();
    const seconds = start.seconds + (performance.now() - start.at) / 1000;
    const samples = before.samples + window.samples + window.nonFinite;
    trainer.state = { ...before, step, samples, seconds };
    if (window.samples + window.nonFinite === 0) return;
    if (window.nonFinite > 0) {
      const learningRate = learningRateAt(trainer.optimizers.default.lr, trainer.state.step);
      throw new Error(
        `training diverged: ${window.nonFinite} of the last ${samples - before.samples} outputs are not finite at step ${trainer.state.step}, learning rate ${learningRate}; lower the learning rate, or look for extreme values in the dense columns`,
      );
    }
    const record: TrainRecord = {
      type: "train",
      step: trainer.state.step,
      samples,
      seconds,
      samplesPerSecond: (samples - this.#recorded.samples) / Math.max(1e-9, seconds - this.#recorded.seconds),
      loss: window.loss,
      ...this.#shown(window, measures),
      learningRate: learningRateAt(trainer.optimizers.default.lr, trainer.state.step),
      epoch: before.epoch,
    };
    this.#recorded = { samples, seconds };
    this.#emit(record);
    const { epochs = 1 } = this.#options;
    const { rows, estimatedRows } = pipeline.progress();
    this.#line?.update({
      label: epochs > 1 ? `epoch ${before.epoch + 1}/${epochs}` : "train",
      samples: rows,
      totalSamples: Math.max(rows, estimatedRows),
      samplesPerSecond: record.samplesPerSecond,
      loss: record.loss,
      ...(record.auc === undefined ? {} : { auc: record.auc }),
      ...(record.accuracy === undefined ? {} : { accuracy: record.accuracy }),
      ...(record.measures === undefined ? {} : { measures: record.measures }),
    });
  }

  /** What a record of training says beside the loss. */
  #shown(window: WindowMetrics, names: readonly string[]): Pick<TrainRecord, "auc" | "accuracy" | "measures"> {
    const { model } = this.#trainer;
    if (taskOf(model) === "binary") return Number.isNaN(window.auc) ? {} : { auc: window.auc };
    const { accuracy, measures } = taskMetrics(model, names, window);
    return {
      ...(Number.isNaN(accuracy) ? {} : { accuracy }),
      ...(measures === undefined ? {} : { measures }),
    };
  }

  /** Tells the coordinator how far training is. @param session what it works with; undefined between two pieces of work */
  report(session: Session | undefined, pipeline: Pipeline): void {
    const { state } = this.#trainer;
    this.#progress.tell(state, session, pipeline.progress().rows > state.samples - this.#openedAt);
  }

  evaluation(metrics: Metrics): void {
    const { model, state } = this.#trainer;
    const { step, samples, seconds, epoch } = state;
    this.#emit({ type: "evaluation", step, samples, seconds, epoch, ...evaluationFields(metrics) });
    this.#line?.log(`evaluation after ${formatCount(samples)} rows: ${describeMetrics(model, metrics)}`);
  }

  /** A line for whoever watches. */
  note(text: string): void {
    this.#line?.log(text);
  }

  /** As `event`, of the first of several ranks, which all have much the same to say. */
  say(message: string): void {
    if (this.#trainer.job.rank === 0) this.event(message);
  }

  event(message: string): void {
    const { step, samples, seconds } = this.#trainer.state;
    this.#emit({ type: "event", step, samples, seconds, message });
    this.#line?.log(message);
  }

  finish(): void {
    this.#line?.finish();
  }

  #emit(record: MetricsRecord): void {
    if (this.#trainer.job.rank === 0) this.#options.run?.append(record);
    this.#options.onRecord?.(record);
  }
}
