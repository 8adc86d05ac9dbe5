// What gradient merge holds between two steps of the optimizer, as a checkpoint keeps it: the sum over the threads, which is
// all that counts for the group, so that a run goes on with another number of threads.
import { accumulatorName, progressName } from "../program/index.ts";
import type { ParameterStore } from "./parameters.ts";

const FIRST = accumulatorName("", 0);

/** Whether a parameter is one that threads gather in. */
export const isGathered = (parameters: ParameterStore, name: string): boolean =>
  parameters.parameter(name).group === "merged";

/** By the names of the first thread's parameters; empty where no group is open. */
export function gatheredTensors(parameters: ParameterStore): { readonly name: string; readonly data: Float32Array }[] {
  const names = new Set(parameters.names.filter((name) => isGathered(parameters, name)));
  const ofAllThreads = (first: string): Float32Array[] => {
    const views: Float32Array[] = [];
    const base = first.slice(0, -FIRST.length);
    for (let r = 0; names.has(accumulatorName(base, r)); r++) views.push(parameters.view(accumulatorName(base, r)));
    return views;
  };
  if (!names.has(progressName(0)) || ofAllThreads(progressName(0)).every(([steps]) => steps === 0)) return [];
  return [...names]
    .filter((name) => name.endsWith(FIRST))
    .map((name) => {
      const [first, ...others] = ofAllThreads(name);
      return { name, data: first!.map((x, i) => others.reduce((sum, view) => sum + view[i]!, x)) };
    });
}
