// From a model to what trainer threads bind: the training step, the inference step and, where updates run apart from the
// step, the programs that apply gradients; all over one placement of parameters.
import type { BatchLayout } from "../data/index.ts";
import { type Plan, type Prepared, type Provider, prepare, scratchBytes } from "../engine/index.ts";
import type { UpdateRule } from "../kernels/index.ts";
import type { AddressType } from "../memory/index.ts";
import type { Model } from "../models/index.ts";
import {
  type ExternalLookup,
  externalLookups,
  mixedPrecision,
  optimize,
  placeBuckets,
  type RecomputeOptions,
  startsByNeed,
  startsWhenFull,
} from "../passes/index.ts";
import {
  averageParameters,
  type Bucket,
  bucketOutput,
  type DeferredUpdates,
  type Differentiated,
  deferUpdates,
  differentiate,
  type Parameter,
  type Program,
  placeUpdates,
  plan,
  print,
  type TableSpec,
  trace,
  type UpdateRules,
} from "../program/index.ts";
import { withOldWeights } from "../ps/worker/index.ts";
import { layoutOf, type TableLayout } from "../table/index.ts";
import { bucketsOf, compressedIn, mayBeLate, rowGradients } from "./collective/bucket-choice.ts";
import { compressedRule } from "./collective/dgc-rule.ts";
import { exchangePhases } from "./collective/phases.ts";
import { type ModelRules, modelRules, type OptimizerGroups } from "./optimizer-groups.ts";
import { isLocal, type Strategy, threadMode } from "./strategy.ts";
import { taskPrograms } from "./task-programs.ts";
import { updatePhases } from "./update-phases.ts";

export interface ModelPrograms {
  readonly training: Prepared;
  readonly inference: Prepared;
  /**
   * Where the training step leaves its gradients in outputs or accumulators: what then runs to apply them, one phase after
   * the other, each of a program a thread.
   */
  readonly updates?: readonly (readonly Prepared[])[];
  /** Of all programs together, optimizer state included. */
  readonly parameters: Readonly<Record<string, Parameter>>;
  readonly shared: Pick<Plan, "parameters" | "sharedBytes">;
  readonly tables: Readonly<Record<string, TableSpec>>;
  /** Names of the model's measures. */
  readonly measures: readonly string[];
  readonly rules: ModelRules;
  /** Where a parameter server has the parameters: how steps are fed and what they leave. */
  readonly served?: ServedPrograms;
  /** In mode `collective`. */
  readonly exchange?: ExchangePrograms;
}

/** What ranks exchange in a step. */
export interface ExchangePrograms {
  readonly buckets: readonly Bucket[];
  /** Of each bucket, in bytes from the start of what is exchanged; and the bytes of all. */
  readonly offsets: readonly number[];
  readonly bytes: number;
  /** The program, a line for each op: all ranks must have the same. */
  readonly description: string;
  /** Whether the update of a step runs in the next one. */
  readonly late: boolean;
  /** Where ranks train apart: what takes the mean of their changes. */
  readonly average?: Prepared;
}

export interface ServedPrograms {
  /** Inputs that the rows of a batch's ids are told by. None of training where it looks up by itself (mode `geo`). */
  readonly lookups: { readonly training: readonly ExternalLookup[]; readonly inference: readonly ExternalLookup[] };
  /** Parameters and, by table, gathers whose gradients the step leaves in outputs. */
  readonly parameters: readonly string[];
  readonly contributions: Readonly<Record<string, readonly SparseContribution[]>>;
}

export interface SparseContribution {
  /** Of output `rows:TABLE/i`. */
  readonly lookup: number;
  readonly occurrences: number;
  readonly field: string;
  readonly pool?: { readonly mode: "sum" | "mean"; readonly length: number };
}

export interface ProgramOptions {
  readonly layout: BatchLayout;
  readonly optimizers: OptimizerGroups;
  readonly strategy: Strategy;
  readonly threads: number;
  /** Workers that train together, and whether they may be on several machines. */
  readonly ranks: number;
  readonly networked?: boolean;
  readonly provider: Provider;
  /** That of the job's heap. */
  readonly addressType: AddressType;
  /** What the backward pass computes again; default nothing. */
  readonly recompute?: RecomputeOptions | undefined;
  /** Whether a parameter server has the parameters: then the step applies no gradients, but in mode `geo`. */
  readonly served?: boolean;
}

/** Traces, differentiates, optimizes, plans and compiles a model for batches of one layout. */
export function modelPrograms(model: Model, options: ProgramOptions): ModelPrograms {
  const {
    layout,
    optimizers,
    strategy,
    threads,
    ranks,
    provider,
    addressType,
    recompute,
    served = false,
    networked = false,
  } = options;
  const inputs = Object.fromEntries(layout.columns.map(({ name, shape, dtype }) => [name, { shape, dtype }]));
  const task = taskPrograms(model, layout);
  const precise = (program: Program): Program => inPrecision(program, strategy);
  const spread = strategy.mode === "collective" ? { ranks, syncBatchNorm: strategy.syncBatchNorm === true } : {};
  const forward = precise(trace((columns, ctx) => task.training(columns, ctx), { inputs, training: true, ...spread }));
  const { clip, ema, gradientMerge = 1 } = strategy;
  expectDense(forward, strategy);
  const ruleOf = modelRules(optimizers, forward, clip);
  const score = precise(trace((columns, ctx) => task.inference(columns, ctx), { inputs, training: false, ...spread }));

  const tables = Object.fromEntries(
    Object.entries(forward.tables).map(([name, spec]): [string, TableSpec] => [
      name,
      { ...spec, fields: spec.fields.map((field) => ({ ...field, slots: ruleOf.field(field.name).slots })) },
    ]),
  );
  const sparse = compressedIn(forward, strategy, ranks);
  const ruleFor = (name: string): UpdateRule =>
    sparse(name) ? compressedRule(ruleOf.parameter(name), strategy.dgc!.rampupBegin) : ruleOf.parameter(name);
  const rules: UpdateRules = {
    parameter: (name, { trainable }) => (trainable ? ruleFor(name) : undefined),
    field: (_, field) => ruleOf.field(field),
    clip,
    average: ema,
    scaled: strategy.amp === "fp16",
  };
  const tableRules = Object.fromEntries(
    Object.entries(tables).map(([name, spec]) => [
      name,
      Object.fromEntries(spec.fields.map((field) => [field.name, ruleOf.field(field.name)])),
    ]),
  );
  const layoutFor = (spec: TableSpec): TableLayout =>
    served && strategy.mode === "geo" ? withoutSlotOffsets(layoutOf(withOldWeights(spec))) : layoutOf(spec);
  const layouts = Object.fromEntries(Object.entries(tables).map(([name, spec]) => [name, layoutFor(spec)]));
  const scratch: Parameters<typeof plan>[1] = { scratch: (op) => scratchBytes(op, provider) };
  const compile = (it: Plan): Prepared => prepare(it, { addressType, layouts, rules: tableRules });

  const differentiated = differentiate({ ...forward, tables }, { loss: "loss" });
  const remote = served && strategy.mode !== "geo";
  const apart = isLocal(strategy);
  // With several threads, or gathered gradients, there is nothing to exchange before the step is over.
  const inStep = threads === 1 && gradientMerge === 1 && !apart && strategy.overlap !== false;
  // Sums in the memory of one machine are so fast that there is nothing to wait for.
  const late = inStep && ranks > 1 && networked && mayBeLate(strategy);
  const buckets =
    strategy.mode === "collective"
      ? bucketsOf(differentiated, rules, {
          ...{ strategy, sparse, late },
          rows: inStep ? rowGradients(differentiated, ranks) : new Map(),
        })
      : undefined;
  const deferred =
    strategy.mode === "sync" || buckets !== undefined || gradientMerge > 1 || remote
      ? deferUpdates(differentiated, rules, {
          ...(gradientMerge > 1 ? { mergeReplicas: threads } : {}),
          ...(buckets === undefined || apart ? {} : { exchange: { buckets, inStep } }),
        })
      : undefined;
  const raw =
    buckets !== undefined && inStep
      ? placeBuckets(
          deferred!.step,
          differentiated.gradients,
          (late ? startsByNeed : startsWhenFull)(deferred!.step, differentiated.gradients, buckets),
        )
      : (deferred?.step ?? placeUpdates(differentiated, rules));
  const fed = remote ? externalLookups(deferred!.step) : undefined;
  const scored = served ? externalLookups(score) : undefined;
  const step = optimize(fed?.program ?? raw, {
    nativeBf16: provider.nativeBf16,
    ...(recompute === undefined ? {} : { recompute }),
  });
  const stepPlan = plan(step, scratch);
  let shared: Pick<Plan, "parameters" | "sharedBytes"> = stepPlan;
  const parameters = { ...score.parameters, ...step.parameters };
  const phases =
    buckets === undefined || apart
      ? (deferred: DeferredUpdates) =>
          updatePhases(deferred, differentiated.program, { mode: threadMode(strategy), threads })
      : (deferred: DeferredUpdates) => exchangePhases(deferred, differentiated.program, { threads, buckets, late });
  const updates =
    deferred && !remote
      ? phases(deferred).map((phase) => {
          const compiled = new Map<Program, Prepared>();
          return phase.map((program) => {
            const known = compiled.get(program);
            if (known !== undefined) return known;
            const optimized = optimize(program);
            const updatePlan = plan(optimized, { ...scratch, shared });
            shared = updatePlan;
            Object.assign(parameters, optimized.parameters);
            const prepared = compile(updatePlan);
            compiled.set(program, prepared);
            return prepared;
          });
        })
      : undefined;
  const averaging =
    buckets === undefined || !apart ? undefined : optimize(averageParameters(differentiated.program, buckets));
  const averagePlan = averaging === undefined ? undefined : plan(averaging, { ...scratch, shared });
  shared = averagePlan ?? shared;
  Object.assign(parameters, averaging?.parameters);
  const scorePlan = plan(optimize({ ...(scored?.program ?? score), tables }), { ...scratch, shared });
  return {
    training: compile(stepPlan),
    inference: compile(scorePlan),
    ...(updates === undefined ? {} : { updates }),
    parameters,
    shared: scorePlan,
    tables,
    measures: task.measures,
    rules: ruleOf,
    ...(buckets === undefined
      ? {}
      : {
          exchange: {
            ...exchangeOf(buckets, [averagePlan ?? stepPlan, ...(updates ?? []).flat().map(({ plan }) => plan)], raw),
            late,
            ...(averagePlan === undefined ? {} : { average: compile(averagePlan) }),
          },
        }),
    ...(scored === undefined
      ? {}
      : {
          served: {
            lookups: { training: fed?.lookups ?? [], inference: scored.lookups },
            parameters: deferred?.parameters ?? Object.keys(differentiated.gradients),
            contributions: sparseContributions(differentiated),
          },
        }),
  };
}

/** @param plans of which one fills the buckets */
function exchangeOf(buckets: readonly Bucket[], plans: readonly Plan[], step: Program): Omit<ExchangePrograms, "late"> {
  const filling = plans.find(({ exchangeBytes = 0 }) => exchangeBytes > 0);
  const offsets = buckets.map((bucket) => filling!.outputs[bucketOutput(bucket)]!.offset);
  return { buckets, offsets, bytes: filling?.exchangeBytes ?? 0, description: print(step) };
}

/** What the outputs of a step with deferred updates say of the rows of tables. */
function sparseContributions({ program, contributions }: Differentiated): ServedPrograms["contributions"] {
  return Object.fromEntries(
    Object.entries(contributions).map(([table, list]) => {
      const lookups = [...new Set(list.map(({ rows }) => rows))];
      const of = ({ rows, field, pool }: (typeof list)[number]): SparseContribution => {
        const { shape } = program.values[rows]!;
        const occurrences = shape.reduce((a, b) => a * b, 1);
        const bag = pool === undefined ? {} : { pool: { mode: pool, length: shape[1]! } };
        return { lookup: lookups.indexOf(rows), occurrences, field, ...bag };
      };
      return [table, list.map(of)];
    }),
  );
}

/** The weights' places, for rules that keep no state in the row. */
const withoutSlotOffsets = ({ strideBytes, fields }: TableLayout): TableLayout => ({
  strideBytes,
  fields: Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, { ...field, slotOffsets: [] }])),
});

/** The forward program in the precision that the strategy asks for. */
function inPrecision(program: Program, { amp, ampLists = {} }: Strategy): Program {
  if (amp === undefined) return program;
  const lists = Object.fromEntries(Object.entries(ampLists).filter(([, list]) => list !== undefined));
  return mixedPrecision(program, { dtype: amp === "fp16" ? "f16" : "bf16", lists });
}

/** Switches that need the gradients of whole parameters do not serve the rows of tables. */
function expectDense({ tables }: Program, { mode, amp, clip, gradientMerge = 1 }: Strategy): void {
  const [table] = Object.keys(tables);
  if (table === undefined) return;
  const refuse = (what: string, help: string): never => {
    throw new Error(`strategy: ${what} does not serve models with tables, here "${table}"; ${help}`);
  };
  if (mode === "collective") {
    refuse('mode: "collective"', 'take mode "sync" or "async", with parameter servers where there are several workers');
  }
  if (amp === "fp16") refuse('amp: "fp16"', 'take amp: "bf16", which needs no loss scale');
  if (gradientMerge > 1) refuse(`gradientMerge: ${gradientMerge}`, "take larger batches instead");
  if (clip !== undefined && !("value" in clip)) {
    refuse(`clip: ${JSON.stringify(clip)}`, "a batch has the gradients of a few rows: take clip: { value }");
  }
}
