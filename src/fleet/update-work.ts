// What each thread is told of the updates: which plans apply gradients, when, with which scalars.
import type { Prepared } from "../engine/index.ts";
import { progressName } from "../program/index.ts";
import { updatesBefore } from "./collective/late-update.ts";
import type { LocalWork } from "./collective/local-rounds.ts";
import type { CollectiveSession } from "./collective/session.ts";
import type { Job } from "./job.ts";
import type { LossScaleHandle } from "./loss-scale.ts";
import type { MergeHandle } from "./merge.ts";
import type { ModelPrograms } from "./model-programs.ts";
import type { OptimizerGroups } from "./optimizer-groups.ts";
import type { ParameterStore } from "./parameters.ts";
import type { ScalarInput, UpdateWork } from "./protocol.ts";
import { type Strategy, threadMode } from "./strategy.ts";

export interface UpdateWorkOptions {
  readonly job: Job;
  readonly strategy: Strategy;
  readonly optimizers: OptimizerGroups;
  readonly seed: number;
  readonly batch: number;
  readonly programs: ModelPrograms;
  readonly parameters: ParameterStore;
  readonly collective: CollectiveSession | undefined;
  /** The first thread's step. */
  readonly step: Prepared;
  /** By phase and thread: the plans that apply gradients. */
  readonly updates: readonly (readonly Prepared[])[];
  readonly keys: { readonly updates: readonly string[]; readonly average: string };
  /** By thread; none but in fp16. */
  readonly lossScales: readonly LossScaleHandle[];
}

/** One entry a thread. */
export function updateWork(options: UpdateWorkOptions): Omit<UpdateWork, "control">[] {
  const { strategy, optimizers, seed, batch, programs, parameters, collective, step, updates, keys } = options;
  const { threads, rank, servers } = options.job;
  const inputs = [step, ...updates.flat()].flatMap(({ plan }) => Object.keys(plan.inputs));
  const merges = mergeHandles(parameters, batch, threads, strategy);
  const { exchange } = programs;
  const common = {
    ...{ mode: threadMode(strategy), seed, rank, updateKeys: keys.updates },
    scalars: scalarInputs(new Set(inputs), optimizers),
    ...(strategy.mode === "geo" && servers !== undefined && { workers: servers.workers }),
    ...(collective !== undefined && { exchange: collective.handle }),
    ...(exchange?.late === true && { late: updatesBefore(step.plan, updates[0]![0]!.plan, parameters.address) }),
    ...(exchange?.average !== undefined && { local: localWork(strategy, keys.average, optimizers) }),
  };
  return Array.from({ length: threads }, (_, t) => {
    const [merge, lossScale] = [merges[t], options.lossScales[t]];
    return { ...common, ...(merge !== undefined && { merge }), ...(lossScale !== undefined && { lossScale }) };
  });
}

/** In mode `sync` the threads gather one group together, else each its own. */
function mergeHandles(
  parameters: ParameterStore,
  batch: number,
  threads: number,
  { mode, gradientMerge: steps = 1 }: Strategy,
): MergeHandle[] {
  if (steps === 1) return [];
  return Array.from({ length: threads }, (_, thread) => ({
    steps,
    batch,
    progress: parameters.addressOf(progressName(mode === "async" ? thread : 0)),
  }));
}

/** When ranks that train apart average. */
function localWork(
  { localSGD, adaptiveLocalSGD }: Strategy,
  key: string,
  { default: optimizer }: OptimizerGroups,
): LocalWork {
  const { steps, begin } = localSGD ?? { steps: adaptiveLocalSGD!.initSteps, begin: adaptiveLocalSGD!.begin };
  return { key, steps, begin, adaptive: localSGD === undefined, optimizer };
}

/** Which optimizer supplies each `scalar:GROUP.NAME` input. */
function scalarInputs(inputs: ReadonlySet<string>, optimizers: OptimizerGroups): ScalarInput[] {
  return [...inputs].flatMap((input) => {
    const scalar = input.startsWith("scalar:") ? input.slice("scalar:".length) : "";
    const optimizer = optimizers[scalar.slice(0, scalar.lastIndexOf("."))];
    return optimizer === undefined ? [] : [{ input, scalar, optimizer }];
  });
}
