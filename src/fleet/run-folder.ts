// The folder of a run, `runs/NAME/`: configuration, metrics as JSON lines, checkpoint, summary and report.
import {
  appendFileSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { removeCheckpoint } from "../checkpoint/index.ts";
import { type MetricsRecord, parseRecords, type RunConfig, type RunSummary, writeReport } from "../report/index.ts";

export class RunFolder {
  readonly path: string;
  readonly checkpoint: string;

  private constructor(path: string) {
    this.path = path;
    this.checkpoint = join(path, "checkpoint");
  }

  /** A folder for a new run; what an earlier run of this name left is removed. */
  static async create(path: string, config: RunConfig): Promise<RunFolder> {
    const folder = new RunFolder(path);
    mkdirSync(path, { recursive: true });
    for (const name of ["metrics.jsonl", "summary.json", "report.html"]) rmSync(join(path, name), { force: true });
    await removeCheckpoint(folder.checkpoint);
    folder.#write("config.json", config);
    return folder;
  }

  /** The folder of a run that goes on. @throws when there is none */
  static open(path: string): RunFolder {
    if (!existsSync(join(path, "config.json"))) {
      throw new Error(`${path} is not the folder of a run: it has no config.json`);
    }
    return new RunFolder(path);
  }

  /** Replaces the configuration, for a run that goes on otherwise. */
  configure(config: RunConfig): void {
    this.#write("config.json", config);
  }

  /**
   * Drops the metrics of rows beyond `samples`: what a run recorded after its last checkpoint and before it was killed, and
   * will record again.
   */
  rewind(samples: number): void {
    const path = join(this.path, "metrics.jsonl");
    if (!existsSync(path)) return;
    const lines = readFileSync(path, "utf8").split("\n");
    const kept = lines.filter((line) => parseRecords(line).records.some((record) => record.samples <= samples));
    this.#writeText("metrics.jsonl", kept.map((line) => `${line}\n`).join(""));
  }

  /** Adds a line to the metrics. */
  append(record: MetricsRecord): void {
    appendFileSync(join(this.path, "metrics.jsonl"), `${JSON.stringify(record)}\n`);
  }

  /** Writes the summary and, from everything in the folder, the report. Returns the report's path. */
  async finish(summary: RunSummary): Promise<string> {
    this.#write("summary.json", summary);
    return writeReport(this.path);
  }

  #write(name: string, value: unknown): void {
    this.#writeText(name, `${JSON.stringify(value, null, 2)}\n`);
  }

  #writeText(name: string, text: string): void {
    const path = join(this.path, name);
    const temporary = `${path}.tmp`;
    writeFileSync(temporary, text);
    const file = openSync(temporary, "r");
    fsyncSync(file);
    closeSync(file);
    renameSync(temporary, path);
  }
}
