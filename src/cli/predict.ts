// `flotilla predict`: probabilities of the rows of files, or of lines as they come on standard input.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DataError, Dataset, expandPatterns } from "../data/index.ts";
import type { Trainer } from "../fleet/index.ts";
import { formatCount, formatSeconds, ProgressLine } from "../report/index.ts";
import { type DataOptions, unlabelled } from "./data-source.ts";
import { INTERRUPTED } from "./interrupt.ts";
import { LineReader } from "./line-reader.ts";
import { dataFor, type EngineOptions, findModel, openModel, type SavedModel } from "./saved-model.ts";
import { ScoreFile, ScoreStream } from "./score-sink.ts";
import { UsageError } from "./usage.ts";

export interface PredictFlags extends EngineOptions, Pick<DataOptions, "format" | "schema" | "buckets"> {
  readonly output?: string;
}

const STDIN = "-";

/** Returns the exit code. */
export async function predict(path: string, patterns: readonly string[], flags: PredictFlags): Promise<number> {
  const { output, threads: _threads, engine: _engine, ...reading } = flags;
  const named = patterns.length === 0 ? [STDIN] : patterns;
  const sources = named.flatMap((pattern) => (pattern === STDIN ? [STDIN] : expandPatterns([pattern])));
  if (sources.filter((source) => source === STDIN).length > 1)
    throw new UsageError("standard input (-) can be read once");
  if (output !== undefined && !existsSync(dirname(output))) {
    throw new UsageError(`--output: there is no folder ${dirname(output)}`);
  }
  const model = await findModel(path);
  const { job, trainer } = await openModel(model, flags);
  const sink = output === undefined ? new ScoreStream(process.stdout) : new ScoreFile(output);
  const interrupted = (): void => process.exit(INTERRUPTED);
  process.once("SIGINT", interrupted).once("SIGTERM", interrupted);
  try {
    const counter = new Counter(output !== undefined || !process.stdout.isTTY);
    for (const source of sources) {
      const scores =
        source === STDIN ? scoresOfInput(trainer, model, reading) : scoresOfFile(trainer, model, source, reading);
      for await (const batch of withoutSkipping(scores)) {
        await sink.write(batch);
        counter.add(batch.length);
      }
    }
    await sink.close();
    counter.finish(output);
    return 0;
  } catch (error) {
    await sink.discard();
    throw error;
  } finally {
    process.off("SIGINT", interrupted).off("SIGTERM", interrupted);
    await job.close();
  }
}

function scoresOfFile(
  trainer: Trainer,
  model: SavedModel,
  path: string,
  reading: DataOptions,
): AsyncGenerator<Float32Array> {
  return trainer.predictions(unlabelled(dataFor(model, [path], reading), path));
}

/** Lines pass through a file, block by block: readers read files. */
async function* scoresOfInput(trainer: Trainer, model: SavedModel, reading: DataOptions): AsyncGenerator<Float32Array> {
  if (process.stdin.isTTY) process.stderr.write("reading rows from the terminal; end them with Ctrl-D\n");
  const folder = mkdtempSync(join(tmpdir(), "flotilla-predict-"));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.on("exit", remove);
  try {
    const path = join(folder, "input");
    const lines = new LineReader(process.stdin, "standard input");
    writeFileSync(path, "");
    const { spec } = dataFor(model, [path], reading);
    if (spec.format === "parquet" || (spec.format === "csv" && spec.multiline)) {
      throw new UsageError(
        `${spec.format === "csv" ? "CSV with line breaks in fields" : "Parquet"} cannot be read from standard input; name a file`,
      );
    }
    const header: Buffer[] = [];
    const headerLines = spec.format === "csv" ? spec.skipLines + (spec.header ? 1 : 0) : 0;
    while (header.length < headerLines) header.push((await lines.line()) ?? Buffer.from("\n"));
    let dataset: Dataset | undefined;
    let linesBefore = 0;
    for (let block = await lines.block(); block !== undefined; block = await lines.block()) {
      if (linesBefore === 0) refuseBinary(Buffer.concat([...header, block]));
      writeFileSync(path, Buffer.concat([...header, block]));
      dataset ??= unlabelled(Dataset.from({ ...spec, patterns: path }), path);
      yield* withLinesOf(trainer.predictions(dataset), path, linesBefore);
      linesBefore += countLines(block);
    }
  } finally {
    process.off("exit", remove);
    remove();
  }
}

function refuseBinary(block: Buffer): void {
  if (block[0] === 0x1f && block[1] === 0x8b) {
    throw new UsageError("standard input is compressed; unpack it first, as in zcat rows.tsv.gz | flotilla predict …");
  }
  if (block.subarray(0, 4).toString("latin1") === "PAR1")
    throw new UsageError("Parquet cannot be read from standard input; name a file");
}

/** Names bad lines by their number on standard input instead of the passing file. */
async function* withLinesOf(
  scores: AsyncGenerator<Float32Array>,
  path: string,
  linesBefore: number,
): AsyncGenerator<Float32Array> {
  try {
    yield* scores;
  } catch (error) {
    if (!(error instanceof DataError) || error.file !== path) throw error;
    throw new DataError(
      error.problem,
      "standard input",
      error.line === undefined ? undefined : error.line + linesBefore,
    );
  }
}

/** Takes back the advice to skip bad lines. */
async function* withoutSkipping(scores: AsyncGenerator<Float32Array>): AsyncGenerator<Float32Array> {
  try {
    yield* scores;
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    throw new DataError(error.problem.replace(/, or pass onBadLine.*/, ""), error.file, error.line);
  }
}

function countLines(block: Buffer): number {
  let lines = 0;
  for (let at = block.indexOf(10); at >= 0; at = block.indexOf(10, at + 1)) lines++;
  return lines;
}

/** Shows how far it is where that does not disturb the scores. */
class Counter {
  readonly #start = performance.now();
  readonly #line: ProgressLine | undefined;
  #shownAt = 0;
  #rows = 0;

  constructor(show: boolean) {
    this.#line = show && process.stderr.isTTY ? new ProgressLine() : undefined;
  }

  add(rows: number): void {
    this.#rows += rows;
    const now = performance.now();
    if (this.#line === undefined || now - this.#shownAt < 200) return;
    this.#shownAt = now;
    this.#line.update({ label: "predict", samples: this.#rows, samplesPerSecond: this.#rows / this.#seconds });
  }

  get #seconds(): number {
    return (performance.now() - this.#start) / 1000;
  }

  finish(output: string | undefined): void {
    const scores = `${formatCount(this.#rows)} scores in ${formatSeconds(this.#seconds)}`;
    if (this.#line !== undefined) this.#line.finish(output === undefined ? scores : `${scores} → ${output}`);
  }
}
