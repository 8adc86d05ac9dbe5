// Reading a run folder, also one of a run that broke off: pieces may be missing, and the last line of the metrics cut.
import { readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import type { EvaluationRecord, EventRecord, MetricsRecord, RunConfig, RunSummary, TrainRecord } from "./records.ts";

export interface Run {
  readonly name: string;
  readonly train: readonly TrainRecord[];
  readonly evaluations: readonly EvaluationRecord[];
  readonly events: readonly EventRecord[];
  /** Lines of the metrics that could not be read. */
  readonly badLines: number;
  readonly summary: RunSummary;
  readonly config: RunConfig;
  /** Which of the run's files there are. */
  readonly files: readonly string[];
}

const METRICS = "metrics.jsonl";
const SUMMARY = "summary.json";
const CONFIG = "config.json";

/** @throws when the folder has none of a run's files, or one that is damaged. */
export async function readRun(folder: string): Promise<Run> {
  const [metrics, summary, config] = await Promise.all([
    readIfPresent(join(folder, METRICS)),
    readObject(join(folder, SUMMARY)),
    readObject(join(folder, CONFIG)),
  ]);
  const files = [
    ...(metrics === undefined ? [] : [METRICS]),
    ...(summary === undefined ? [] : [SUMMARY]),
    ...(config === undefined ? [] : [CONFIG]),
  ];
  if (files.length === 0) {
    throw new Error(
      `${folder} is no run folder: it has no ${METRICS}, ${SUMMARY} or ${CONFIG}; name the folder of a run`,
    );
  }
  const { records, badLines } = parseRecords(metrics ?? "");
  const run: RunSummary = summary ?? {};
  return {
    name: typeof run.name === "string" ? run.name : basename(resolve(folder)),
    train: records.filter((record) => record.type === "train"),
    evaluations: records.filter((record) => record.type === "evaluation"),
    events: records.filter((record) => record.type === "event"),
    badLines,
    summary: run,
    config: config ?? {},
    files,
  };
}

/** The records of a metrics file, in order; unknown types are left out, unreadable lines are counted. */
export function parseRecords(text: string): { records: MetricsRecord[]; badLines: number } {
  const records: MetricsRecord[] = [];
  let badLines = 0;
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue;
    const value = parseLine(line);
    if (isRecord(value)) records.push(value);
    else if (value === undefined) badLines++;
  }
  return { records, badLines };
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is MetricsRecord {
  if (typeof value !== "object" || value === null) return false;
  const { type, samples, seconds } = value as Partial<MetricsRecord>;
  const known = type === "train" || type === "evaluation" || type === "event";
  return known && Number.isFinite(samples) && Number.isFinite(seconds);
}

async function readObject(path: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  const text = await readIfPresent(path);
  if (text === undefined) return undefined;
  const value = parseLine(text);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Error(`${path} must hold a JSON object; it is damaged, remove it to make a report without it`);
  }
  return value as Readonly<Record<string, unknown>>;
}

async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
