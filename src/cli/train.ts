// `flotilla train`: a run from its options or from where it was left, to its folder, its table and its report.
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { Dataset } from "../data/index.ts";
import {
  type FitOptions,
  type FitResult,
  init,
  type Job,
  RunFolder,
  readTrainerState,
  type Trainer,
} from "../fleet/index.ts";
import { create } from "../models/index.ts";
import { formatCount, formatRate, formatSeconds, formatTable, type RunSummary, readRun } from "../report/index.ts";
import { shown, withoutUndefined } from "./data-source.ts";
import { INTERRUPTED, watchInterrupts } from "./interrupt.ts";
import { checkpointOf, isRun, noSuchRun, type RunConfig, readRunConfig } from "./run-config.ts";
import { configFrom, resumedConfig, type TrainFlags } from "./train-options.ts";
import { asTyped, commandName, shellWord, UsageError } from "./usage.ts";

/** What is to be done, before anything is. */
interface Request {
  readonly path: string;
  readonly config: RunConfig;
  /** It goes on from its checkpoint. */
  readonly resumed: boolean;
}

interface Run extends Request {
  readonly folder: RunFolder;
}

/** Returns the exit code. */
export async function train(patterns: readonly string[], flags: TrainFlags): Promise<number> {
  const { quiet = false, profile = false } = flags;
  const request =
    flags.resume === undefined ? newRun(patterns, flags) : await resumedRun(flags.resume, patterns, flags);
  const { config, path, resumed } = request;
  const say = (text: string): void => {
    if (!quiet) process.stderr.write(`${text}\n`);
  };
  using interrupt = watchInterrupts(() => {
    const clear = process.stderr.isTTY ? "\r\x1b[2K" : "";
    process.stderr.write(
      `${clear}stopping after the batches under way and saving; Ctrl-C again aborts without saving\n`,
    );
  });
  const job = await init({ threads: config.threads, engine: config.engine });
  try {
    const { name, ...rest } = config.model;
    const { optimizers: optimizer, strategy, seed } = config;
    const trainer = job.trainer(create(name, rest), { optimizer, strategy, seed });
    const folder = resumed ? RunFolder.open(path) : await RunFolder.create(path, { ...config });
    const run: Run = { ...request, folder };
    if (resumed) {
      await trainer.load(folder.checkpoint);
      folder.configure({ ...config });
      folder.rewind(trainer.state.samples);
      folder.append({ type: "event", ...placeOf(trainer), message: "resumed" });
    }
    say(headline(job, run, trainer));
    const options = fitOptions(run, { signal: interrupt.signal, progress: !quiet, profile });
    const result = await trainer.fit(Dataset.from(config.data), options).catch((error) => adviseAfter(error, run));
    return await finish(run, trainer, result, say);
  } finally {
    await job.close();
  }
}

function newRun(patterns: readonly string[], flags: TrainFlags): Request {
  const config = configFrom(patterns, flags, availableParallelism());
  const { runs = "runs", name = defaultName(config.model.name), overwrite = false } = flags;
  const path = join(runs, name);
  if (existsSync(checkpointOf(path)) && !overwrite) {
    throw new UsageError(
      `${path} holds a run; go on with it by --resume ${path}, choose another --name, or --overwrite it`,
    );
  }
  return { path, config, resumed: false };
}

async function resumedRun(path: string, patterns: readonly string[], flags: TrainFlags): Promise<Request> {
  if (!isRun(path)) throw noSuchRun(path);
  const before = readRunConfig(path);
  if (before === undefined)
    throw new UsageError(`${path} is a run of another program; only that program can go on with it`);
  const config = resumedConfig(before, patterns, flags);
  const { training } = await readTrainerState(checkpointOf(path)).catch((error: unknown) => {
    if (existsSync(checkpointOf(path))) throw error;
    throw new UsageError(`${path} ended before its first checkpoint; train anew`);
  });
  if (training.epoch >= config.epochs) {
    const more = `${commandName()} train --resume ${shellWord(path)} --epochs ${training.epoch + 1}`;
    throw new UsageError(
      `${path} has done ${plural(training.epoch, "epoch")} of ${config.epochs}; to train on: ${more}`,
    );
  }
  return { path, config, resumed: true };
}

/** Such as deepFM-20260131-142530. */
function defaultName(model: string): string {
  const now = new Date();
  const two = (n: number): string => String(n).padStart(2, "0");
  const day = `${now.getFullYear()}${two(now.getMonth() + 1)}${two(now.getDate())}`;
  return `${model}-${day}-${two(now.getHours())}${two(now.getMinutes())}${two(now.getSeconds())}`;
}

const plural = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`;

/** What is trained where, and what could be better. */
function headline(job: Job, { config, path, resumed }: Run, trainer: Trainer): string {
  const rows = formatCount(trainer.state.samples);
  const lines = [
    `${config.model.name} on ${plural(job.threads, "thread")}, ${job.engine} → ${shown(path)}${resumed ? `, going on after ${rows} rows` : ""}`,
  ];
  if (config.engine === "auto" && job.engine === "wasm" && job.provider.reason !== undefined) {
    lines.push(`oneDNN would be faster, and is not found; \`${commandName()} doctor\` says more`);
  }
  if (config.validation === undefined) {
    lines.push("no held-out data: --hold-out 0.1 or --validation FILE would tell how good the model is");
  }
  return lines.join("\n");
}

function fitOptions({ config, folder }: Run, rest: Pick<FitOptions, "signal" | "progress" | "profile">): FitOptions {
  const { epochs, evaluateEvery, validation, patience, checkpointSeconds } = config;
  return {
    ...rest,
    ...withoutUndefined({ epochs, evaluateEvery }),
    ...(validation === undefined ? {} : { validation: Dataset.from(validation) }),
    ...(patience === undefined ? {} : { earlyStop: { patience } }),
    checkpointSeconds,
    run: folder,
  };
}

/** A run that failed can go on from its last checkpoint, if it has one. */
async function adviseAfter(error: Error, { folder }: Run): Promise<never> {
  const saved = await readTrainerState(folder.checkpoint).catch(() => undefined);
  if (saved !== undefined) {
    const rows = formatCount(saved.training.samples);
    error.message += `\nthe last checkpoint, after ${rows} rows, is safe: ${resumeCommand(folder)}`;
  }
  throw error;
}

const resumeCommand = ({ path }: RunFolder): string => `${commandName()} train --resume ${shellWord(path)}`;

const placeOf = ({ state: { step, samples, seconds } }: Trainer) => ({ step, samples, seconds });

async function finish(run: Run, trainer: Trainer, result: FitResult, say: (text: string) => void): Promise<number> {
  const { folder } = run;
  const interrupted = result.stopped === "signal";
  if (interrupted) folder.append({ type: "event", ...placeOf(trainer), message: "interrupted" });
  await trainer.save(folder.checkpoint);
  const summary = await summaryOf(run, trainer, result);
  const report = await folder.finish(summary);
  reportBadLines(result.badLines, say);
  for (const [thread, text] of (result.profiles ?? []).entries()) say(`\nprofile of thread ${thread}\n${text}`);
  if (interrupted) {
    say(`interrupted after ${formatCount(trainer.state.samples)} rows; saved in ${shown(folder.checkpoint)}`);
    process.stderr.write(`go on with: ${resumeCommand(folder)}\n`);
    return INTERRUPTED;
  }
  console.log(`${resultTable(summary)}\nreport: ${shown(report)}`);
  return 0;
}

async function summaryOf({ config, folder }: Run, trainer: Trainer, result: FitResult): Promise<RunSummary> {
  const { samples, seconds, step, epoch } = trainer.state;
  const run = await readRun(folder.path);
  const held = run.evaluations.at(-1);
  const last = run.train.at(-1);
  return {
    model: config.model.name,
    engine: trainer.job.engine,
    threads: trainer.job.threads,
    stopped: result.stopped === "signal" ? "interrupted" : result.stopped,
    epochs: epoch,
    steps: step,
    samples,
    seconds,
    samplesPerSecond: seconds > 0 ? samples / seconds : 0,
    parameters: trainer.parameterCount,
    ...withoutUndefined({
      auc: held?.auc,
      bestAuc: held === undefined ? undefined : Math.max(...run.evaluations.map(({ auc }) => auc ?? 0)),
      logLoss: held?.loss,
      accuracy: held?.accuracy,
      calibration: held?.calibration,
      expectedCalibrationError: held?.expectedCalibrationError,
      heldOutSamples: result.evaluation?.samples,
      trainLoss: last?.loss,
      trainAuc: last?.auc,
    }),
    badLines: result.badLines.count,
  };
}

/** The results, one a line: fits the narrowest terminal. */
function resultTable(summary: RunSummary): string {
  const { samples = 0, samplesPerSecond = 0, seconds = 0, auc, logLoss, calibration } = summary;
  const numbers = summary as Readonly<Record<string, number | undefined>>;
  const fixed = (value: number | undefined, digits: number): string | undefined =>
    typeof value === "number" ? value.toFixed(digits) : undefined;
  const best = typeof auc === "number" && numbers.bestAuc! > auc ? numbers.bestAuc : undefined;
  const badLines = numbers.badLines ?? 0;
  const rows = {
    model: summary.model,
    parameters: formatCount(numbers.parameters ?? 0),
    engine: `${summary.engine}, ${plural(summary.threads ?? 1, "thread")}`,
    rows: `${samples.toLocaleString("en")} in ${plural(numbers.epochs ?? 0, "epoch")}${summary.stopped === "early-stop" ? ", stopped early" : ""}`,
    "bad lines": badLines > 0 ? `${badLines} skipped` : undefined,
    time: formatSeconds(seconds),
    "rows/s": formatRate(samplesPerSecond),
    AUC: best === undefined ? fixed(auc, 5) : `${fixed(auc, 5)}, best ${fixed(best, 5)}`,
    "log loss": fixed(logLoss, 5),
    calibration: fixed(calibration, 3),
    "held-out rows": numbers.heldOutSamples === undefined ? undefined : numbers.heldOutSamples.toLocaleString("en"),
  };
  const shownRows = Object.entries(rows).filter(([, value]) => value !== undefined);
  return formatTable(shownRows.map(([result, value]) => ({ result, value })));
}

function reportBadLines({ count, first }: FitResult["badLines"], say: (text: string) => void): void {
  if (count === 0) return;
  say(`skipped ${plural(count, "bad line")}${count > first.length ? `; the first ${first.length}` : ""}:`);
  for (const text of first) say(`  ${asTyped(text)}`);
}
