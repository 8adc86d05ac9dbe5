// From a model to what trainer threads bind: the training step, the inference step and, for mode `sync`, the program that
// applies gradients; all over one placement of parameters.
import type { BatchLayout } from "../data/index.ts";
import { type Plan, type Prepared, type Provider, prepare, scratchBytes } from "../engine/index.ts";
import type { AddressType } from "../memory/index.ts";
import type { Model } from "../models/index.ts";
import { type Optimizer, updateRule } from "../optim/index.ts";
import { optimize, type RecomputeOptions } from "../passes/index.ts";
import {
  type ApplyShare,
  type DeferredUpdates,
  deferUpdates,
  differentiate,
  type Parameter,
  type Program,
  placeUpdates,
  plan,
  sigmoidCrossEntropy,
  type TableSpec,
  type Tensor,
  type TraceContext,
  trace,
  type UpdateRules,
} from "../program/index.ts";
import { layoutOf } from "../table/index.ts";

/** Optimizers by group of parameters or table field; `default` serves the rest. */
export type OptimizerGroups = Readonly<Record<string, Optimizer>> & { readonly default: Optimizer };

export interface ModelPrograms {
  readonly training: Prepared;
  readonly inference: Prepared;
  /** Mode `sync`: the programs that apply the gradients which the training step leaves in its outputs, one a thread. */
  readonly apply?: readonly Prepared[];
  /** Of all programs together, optimizer state included. */
  readonly parameters: Readonly<Record<string, Parameter>>;
  readonly shared: Pick<Plan, "parameters" | "sharedBytes">;
  readonly tables: Readonly<Record<string, TableSpec>>;
}

/** The rank-0 input that the sum of losses is multiplied by: 1 / rows of the (union) batch. */
const LOSS_SCALE = "lossScale";

const groupOf = (groups: OptimizerGroups, name: string): string => (Object.hasOwn(groups, name) ? name : "default");

export interface ProgramOptions {
  readonly layout: BatchLayout;
  readonly optimizers: OptimizerGroups;
  /** Leave gradients in outputs, for this many threads to sum and apply; 0: apply them inside the step. */
  readonly syncThreads: number;
  readonly provider: Provider;
  /** That of the job's heap. */
  readonly addressType: AddressType;
  /** What the backward pass computes again; default nothing. */
  readonly recompute?: RecomputeOptions | undefined;
}

/** Traces, differentiates, optimizes, plans and compiles a model for batches of one layout. */
export function modelPrograms(model: Model, options: ProgramOptions): ModelPrograms {
  const { layout, optimizers, syncThreads, provider, addressType, recompute } = options;
  const inputs = Object.fromEntries(layout.columns.map(({ name, shape, dtype }) => [name, { shape, dtype }]));
  const logitsOf = (columns: Readonly<Record<string, Tensor>>, ctx: TraceContext): Tensor => {
    const logits = model.forward(columns, ctx);
    if (logits.shape.reduce((a, b) => a * b, 1) !== layout.batch) {
      throw new Error(
        `model ${model.name} gives logits of shape [${logits.shape}] for a batch of ${layout.batch} rows: one logit a row is expected`,
      );
    }
    return logits.reshape([layout.batch]);
  };
  const forward = trace(
    (columns, ctx) => {
      const logits = logitsOf(columns, ctx);
      const losses = sigmoidCrossEntropy(logits, columns.label!);
      const loss = losses.mul(columns.weight!).sum().mul(ctx.scalar(LOSS_SCALE));
      return { loss, logits };
    },
    { inputs, training: true },
  );
  checkGroups(optimizers, forward);
  const score = trace((columns, ctx) => ({ logits: logitsOf(columns, ctx) }), { inputs, training: false });

  const ruleOf = (group: string) => updateRule(optimizers[groupOf(optimizers, group)]!, groupOf(optimizers, group));
  const tables = Object.fromEntries(
    Object.entries(forward.tables).map(([name, spec]): [string, TableSpec] => [
      name,
      { ...spec, fields: spec.fields.map((field) => ({ ...field, slots: ruleOf(field.name).slots })) },
    ]),
  );
  const rules: UpdateRules = {
    parameter: (_, { group, trainable }) => (trainable ? ruleOf(group) : undefined),
    field: (_, field) => ruleOf(field),
  };
  const tableRules = Object.fromEntries(
    Object.entries(tables).map(([name, spec]) => [
      name,
      Object.fromEntries(spec.fields.map((field) => [field.name, ruleOf(field.name)])),
    ]),
  );
  const layouts = Object.fromEntries(Object.entries(tables).map(([name, spec]) => [name, layoutOf(spec)]));
  const scratch: Parameters<typeof plan>[1] = { scratch: (op) => scratchBytes(op, provider) };
  const compile = (it: Plan): Prepared => prepare(it, { addressType, layouts, rules: tableRules });

  const differentiated = differentiate({ ...forward, tables }, { loss: "loss" });
  const deferred = syncThreads > 0 ? deferUpdates(differentiated, rules) : undefined;
  const step = optimize(
    deferred?.step ?? placeUpdates(differentiated, rules),
    recompute === undefined ? {} : { recompute },
  );
  const stepPlan = plan(step, scratch);
  let shared: Pick<Plan, "parameters" | "sharedBytes"> = stepPlan;
  const parameters = { ...score.parameters, ...step.parameters };
  const apply =
    deferred === undefined
      ? undefined
      : shares(deferred, differentiated.program, syncThreads).map((share) => {
          const program = deferred.apply(share);
          const applyPlan = plan(program, { ...scratch, shared });
          shared = applyPlan;
          Object.assign(parameters, program.parameters);
          return compile(applyPlan);
        });
  const scorePlan = plan(optimize({ ...score, tables }), { ...scratch, shared });
  return {
    training: compile(stepPlan),
    inference: compile(scorePlan),
    ...(apply === undefined ? {} : { apply }),
    parameters,
    shared: scorePlan,
    tables,
  };
}

/** A misspelt group would leave its parameters to the default optimizer without a word. */
function checkGroups(groups: OptimizerGroups, { parameters, tables }: Program): void {
  const ofParameters = Object.values(parameters).map(({ group }) => group);
  const ofFields = Object.values(tables).flatMap(({ fields }) => fields.map(({ name }) => name));
  const known = new Set(["default", ...ofParameters, ...ofFields]);
  const stray = Object.keys(groups).find((group) => !known.has(group));
  if (stray !== undefined) {
    throw new Error(
      `optimizer group "${stray}" is no group of parameters and no table field of this model; it has ${[...known].join(", ")}`,
    );
  }
}

/**
 * What each thread applies of a synchronous step: tables in turn from the first thread, then each parameter, the largest
 * first, to the thread with the least to do. A table counts as the largest parameter: about that many numbers move.
 */
function shares({ parameters, tables }: DeferredUpdates, program: Program, threads: number): ApplyShare[] {
  const sizeOf = (name: string): number =>
    program.values[program.parameters[name]!.value]!.shape.reduce((a, b) => a * b, 1);
  const largest = Math.max(1, ...parameters.map(sizeOf));
  const result = Array.from({ length: threads }, () => ({
    work: 0,
    parameters: [] as string[],
    tables: [] as string[],
  }));
  const idlest = () => result.reduce((a, b) => (b.work < a.work ? b : a));
  for (const table of tables) {
    const share = idlest();
    share.tables.push(table);
    share.work += largest;
  }
  for (const name of parameters.toSorted((a, b) => sizeOf(b) - sizeOf(a))) {
    const share = idlest();
    share.parameters.push(name);
    share.work += sizeOf(name);
  }
  return result.map(({ parameters, tables }) => ({ parameters, tables, replicas: threads }));
}
