// The plans of one thread: with its own accumulators and running statistics, or over the moving averages of the weights.
import type { Prepared } from "../engine/index.ts";
import { accumulatorName, averageName } from "../program/index.ts";
import type { ModelPrograms } from "./model-programs.ts";
import { redirect } from "./redirect.ts";
import { type Strategy, threadMode } from "./strategy.ts";
import { withOwnStatistics } from "./sync-plan.ts";

/** The step for a thread: its own accumulators and, after the first thread of mode `sync`, running statistics of its own. */
export function trainingOf(programs: ModelPrograms, thread: number, strategy: Strategy): Prepared {
  const own = ownAccumulators(programs.training, programs, thread);
  return threadMode(strategy) === "sync" && thread > 0 ? withOwnStatistics(own) : own;
}

export function ownAccumulators(prepared: Prepared, { shared }: ModelPrograms, thread: number): Prepared {
  const first = accumulatorName("", 0);
  return redirect(prepared, shared.parameters, (name) =>
    name.endsWith(first) ? accumulatorName(name.slice(0, -first.length), thread) : undefined,
  );
}

/** The inference step over the moving averages of the weights. */
export function withAverages({ inference, shared, parameters }: ModelPrograms): Prepared {
  return redirect(inference, shared.parameters, (name) =>
    parameters[averageName(name)] === undefined ? undefined : averageName(name),
  );
}
