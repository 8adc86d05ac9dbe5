// Patience: when evaluations that do not improve end training.
import type { Task } from "../models/index.ts";
import type { EarlyStop } from "./fit-options.ts";
import type { Metrics } from "./tasks.ts";
import type { TrainingState } from "./training-state.ts";

type Best = NonNullable<TrainingState["best"]>;

/** Metrics that are better when they are lower, unless told otherwise. */
const LOWER: readonly string[] = ["loss", "perplexity", "meanAbsoluteError"];

const KNOWN = ["loss", "auc", "accuracy", "perplexity", "meanAbsoluteError"] as const;

/** @throws TypeError where there is no such metric; `measures` are those of the model. */
export function expectMetric({ metric }: EarlyStop, measures: readonly string[]): void {
  const names = [...new Set<string>([...KNOWN, ...measures])];
  if (metric === undefined || names.includes(metric)) return;
  throw new TypeError(`fit: earlyStop: there is no metric "${metric}"; choose one of ${names.join(", ")}`);
}

function valueNamed(metrics: Metrics, name: string): number {
  const known = KNOWN.find((metric) => metric === name);
  return (known === undefined ? undefined : metrics[known]) ?? metrics.measures?.[name] ?? Number.NaN;
}

/** The best value so far, this evaluation included, and where patience has run out, why training stops. */
export function judge(
  metrics: Metrics,
  best: Best | undefined,
  { metric: wanted, better, patience = 1, minDelta = 0 }: EarlyStop,
  task: Task,
): { readonly best: Best; readonly stop?: string } {
  const metric = wanted ?? (task === "binary" ? "auc" : "loss");
  const lower = better === undefined ? LOWER.includes(metric) : better === "lower";
  const value = valueNamed(metrics, metric) * (lower ? -1 : 1);
  const improved = best === undefined || value > best.value + minDelta;
  const next = improved ? { value, since: 0 } : { value: best.value, since: best.since + 1 };
  if (next.since < patience) return { best: next };
  const stop = `stopped early: ${metric} has not improved for ${patience} evaluation${patience === 1 ? "" : "s"}`;
  return { best: next, stop };
}
