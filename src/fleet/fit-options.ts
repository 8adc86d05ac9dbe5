// What `fit` takes and gives.
import { z } from "zod";
import { Dataset } from "../data/index.ts";
import type { MetricsRecord } from "../report/index.ts";
import type { CommunicationSummary } from "./collective/summary.ts";
import { RunFolder } from "./run-folder.ts";
import type { Metrics } from "./tasks.ts";
import type { Weights } from "./weights.ts";

export interface EarlyStop {
  /** What must improve: a field of the metrics or a measure of the model; default "auc" of binary classifiers, else "loss". */
  readonly metric?: string;
  /** Which way is better; default "lower" of losses and errors, else "higher". */
  readonly better?: "lower" | "higher";
  /** Evaluations without improvement before training stops; default 1. */
  readonly patience?: number;
  /** The least change that counts; default 0. */
  readonly minDelta?: number;
}

export interface FitOptions {
  /** Passes over the data in all; a resumed run does those that are left. Default 1. */
  readonly epochs?: number;
  /** Held-out data, evaluated after each epoch. */
  readonly validation?: Dataset;
  /** Evaluate also whenever about this many rows have been trained on. */
  readonly evaluateEvery?: number;
  readonly earlyStop?: EarlyStop;
  /** What evaluations compute with: the weights as training has left them (default), or their moving averages. */
  readonly weights?: Weights;
  /** Where to keep metrics and checkpoints. */
  readonly run?: RunFolder;
  /** Seconds between checkpoints in the run's folder; default 300. */
  readonly checkpointSeconds?: number;
  /**
   * Stops training after the batches that are read already, of shuffled data after their window; `fit` then returns with
   * `stopped: "signal"` and a state to go on from.
   */
  readonly signal?: AbortSignal;
  /** Called with every record: windows of training about twice a second, evaluations, events. */
  readonly onRecord?: (record: MetricsRecord) => void;
  /**
   * Whether the workers of a job share the data out among themselves; default true. With `false` each trains on all of the
   * dataset that it is given: its own files.
   */
  readonly split?: boolean;
  /** Draw a progress line on standard error; default true. */
  readonly progress?: boolean;
  /**
   * Mode `collective`: write a Chrome trace of the first steps of all ranks to `trace.json` in the run's folder of rank 0;
   * Perfetto (https://ui.perfetto.dev) shows it.
   */
  readonly trace?: boolean;
  /** Measure every instruction and print where the time goes. */
  readonly profile?: boolean;
}

export interface FitResult {
  readonly samples: number;
  readonly seconds: number;
  readonly samplesPerSecond: number;
  readonly steps: number;
  readonly epochs: number;
  readonly stopped: "finished" | "early-stop" | "signal";
  /** The last evaluation, where there was held-out data. */
  readonly evaluation?: Metrics;
  /** Lines that were skipped, with `onBadLine: "skip"`, and the first messages. */
  readonly badLines: { readonly count: number; readonly first: readonly string[] };
  /** Of several ranks in mode `collective`. */
  readonly communication?: CommunicationSummary;
  /** With `profile`: a table a thread. */
  readonly profiles?: readonly string[];
}

const action = z.custom((value) => typeof value === "function", "must be a function");
const dataset = z.custom((value) => value instanceof Dataset, "must be a dataset, as data.criteo makes them");
const folder = z.custom((value) => value instanceof RunFolder, "must be a RunFolder");

const optionsSchema = z.strictObject({
  epochs: z.int().positive().optional(),
  validation: dataset.optional(),
  evaluateEvery: z.number().positive().optional(),
  earlyStop: z
    .strictObject({
      metric: z.string().optional(),
      better: z.enum(["lower", "higher"]).optional(),
      patience: z.int().positive().optional(),
      minDelta: z.number().nonnegative().optional(),
    })
    .optional(),
  weights: z.enum(["trained", "ema"]).optional(),
  run: folder.optional(),
  checkpointSeconds: z.number().nonnegative().optional(),
  signal: z.instanceof(AbortSignal).optional(),
  onRecord: action.optional(),
  split: z.boolean().optional(),
  progress: z.boolean().optional(),
  trace: z.boolean().optional(),
  profile: z.boolean().optional(),
} satisfies Record<keyof FitOptions, unknown>);

/** @throws TypeError that names a wrong option, its value's fault and what is allowed. */
export function checkFitOptions(options: FitOptions): void {
  const parsed = optionsSchema.safeParse(options);
  const fail = (fault: string): never => {
    throw new TypeError(`fit: ${fault}\noptions: ${Object.keys(optionsSchema.shape).join(", ")}`);
  };
  if (!parsed.success) fail(z.prettifyError(parsed.error));
  for (const name of ["evaluateEvery", "earlyStop"] as const) {
    if (options[name] !== undefined && options.validation === undefined)
      fail(`${name} needs held-out data: validation`);
  }
}
