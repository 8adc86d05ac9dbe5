// What every benchmark returns, and how it is printed.

import { arch, cpus, platform, release } from "node:os";

/** One figure of one system. */
export interface BenchRow {
  readonly system: string;
  readonly metric: string;
  readonly value: number;
  readonly unit: string;
}

export interface BenchGoal {
  readonly name: string;
  readonly value: number;
  readonly goal: number;
  readonly met: boolean;
}

export interface BenchResult {
  readonly rows: readonly BenchRow[];
  readonly goals: readonly BenchGoal[];
}

export interface BenchOptions {
  /** Less data and shorter windows: shows that all parts run, not what they can do. */
  readonly quick?: boolean;
  /** The parts to measure, of a benchmark that names its parts; default all. */
  readonly only?: readonly string[];
}

/** A goal that is met from `goal` upward. */
export function atLeast(name: string, value: number, goal: number): BenchGoal {
  return { name, value, goal, met: value >= goal };
}

/** A goal that is met up to `goal`. */
export function atMost(name: string, value: number, goal: number): BenchGoal {
  return { name, value, goal, met: value <= goal };
}

export function machine(): Readonly<Record<string, string | number>> {
  const processors = cpus();
  return {
    cpu: processors[0]?.model.trim() ?? "unknown",
    cores: processors.length,
    os: `${platform()} ${release()} ${arch()}`,
    node: process.version,
  };
}

/** Figures and goals as aligned text. */
export function formatResult({ rows, goals }: BenchResult): string {
  const figures = rows.map(({ system, metric, value, unit }) => [system, metric, formatNumber(value), unit]);
  const verdicts = goals.map(({ name, value, goal, met }) => [
    met ? "met" : "NOT MET",
    name,
    formatNumber(value),
    formatNumber(goal),
  ]);
  const parts = [columns([["system", "metric", "value", "unit"], ...figures], 2)];
  if (verdicts.length > 0) parts.push(columns([["", "goal", "value", "wanted"], ...verdicts], 2, 3));
  return parts.join("\n\n");
}

/** Four significant digits, all digits of large numbers. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(4)));
}

function columns(table: readonly (readonly string[])[], ...rightAligned: number[]): string {
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  return table
    .map((row) =>
      row
        .map((cell, column) =>
          rightAligned.includes(column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
        )
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** The middle value; of an even number of values, the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error("median: no values");
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function mean(values: readonly number[]): number {
  if (values.length === 0) throw new Error("mean: no values");
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** How far a mean of at least two values may be off by chance: their deviation over the root of their number. */
export function standardError(values: readonly number[]): number {
  if (values.length < 2) throw new Error("standardError: needs two values");
  const middle = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)) / (values.length - 1));
}

/** Median over the rounds of a quotient within each round, which the machine's ups and downs touch least. */
export const ratio = (over: readonly number[], under: readonly number[]): number =>
  median(over.map((value, round) => value / under[round]!));

/** "1 thread", "2 threads". */
export function counted(count: number, noun: string, plural = "s"): string {
  return `${count} ${noun}${count === 1 ? "" : plural}`;
}

/** Progress goes to stderr, so that stdout holds the result alone. */
export function say(message: string): void {
  process.stderr.write(`${message}\n`);
}
