// Patience: when evaluations that do not improve end training.
import type { Task } from "../models/index.ts";
import type { EarlyStop } from "./fit-options.ts";
import type { Metrics } from "./tasks.ts";
import type { TrainingState } from "./training-state.ts";

type Best = NonNullable<TrainingState["best"]>;

/** The best value so far, this evaluation included, and where patience has run out, why training stops. */
export function judge(
  metrics: Metrics,
  best: Best | undefined,
  { metric: wanted, patience = 1, minDelta = 0 }: EarlyStop,
  task: Task,
): { readonly best: Best; readonly stop?: string } {
  const metric = wanted ?? (task === "binary" ? "auc" : "loss");
  const value = metric === "loss" ? -metrics.loss : metrics[metric];
  const better = best === undefined || value > best.value + minDelta;
  const next = better ? { value, since: 0 } : { value: best.value, since: best.since + 1 };
  if (next.since < patience) return { best: next };
  const stop = `stopped early: ${metric} has not improved for ${patience} evaluation${patience === 1 ? "" : "s"}`;
  return { best: next, stop };
}
