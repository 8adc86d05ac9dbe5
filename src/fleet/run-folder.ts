// The folder of a run, `runs/NAME/`: configuration, metrics as JSON lines, checkpoint, summary and report.
import {
  appendFileSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { removeCheckpoint } from "../checkpoint/index.ts";
import { type MetricsRecord, type RunConfig, type RunSummary, writeReport } from "../report/index.ts";

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
    const path = join(this.path, name);
    const temporary = `${path}.tmp`;
    writeFileSync(temporary, `${JSON.stringify(value, null, 2)}\n`);
    const file = openSync(temporary, "r");
    fsyncSync(file);
    closeSync(file);
    renameSync(temporary, path);
  }
}
