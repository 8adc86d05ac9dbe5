// Takes the updates out of the step, into programs of their own: where several trainers sum their gradients before they
// apply them, and where gradients are gathered over several steps.
import { add, constant, type Expr, input, mul } from "../kernels/expr.ts";
import { type Bucket, bucketOutput } from "./buckets.ts";
import { ProgramBuilder } from "./builder.ts";
import { sumOfSquares, total } from "./clip.ts";
import type { Contribution, Differentiated } from "./differentiate.ts";
import { ShapeError } from "./errors.ts";
import { type Program, sizeOf, type ValueId } from "./ir.ts";
import { type MovedParameter, type UpdateRules, unscaleInput, updateParameters, updateTable } from "./place-updates.ts";

/** What one program applies, of how many steps. */
export interface ApplyShare {
  readonly parameters: readonly string[];
  readonly tables: readonly string[];
  /** Steps whose gradients are summed. */
  readonly replicas: number;
  /** How many shares there are, this one included; default 1. */
  readonly shares?: number;
}

export interface DeferOptions {
  /**
   * Gradient merge: the step adds its gradients to accumulators, parameters of `accumulatorName`, instead of leaving them
   * in outputs, and `apply` empties them. There is a set of accumulators for each of so many replicas; the step has those
   * of replica 0. Gradients of a scaled loss are gathered without its scale, which may change meanwhile.
   */
  readonly mergeReplicas?: number | undefined;
  /**
   * Several ranks sum their gradients in these buckets before they are applied. Losses are then divided by a number that all
   * ranks know, and `apply` multiplies by input `scalar:mergeScale`.
   */
  readonly exchange?: ExchangeOptions | undefined;
}

export interface ExchangeOptions {
  readonly buckets: readonly Bucket[];
  /** The step itself fills the buckets: it leaves no gradients. */
  readonly inStep: boolean;
}

export interface DeferredUpdates {
  /** The step: its outputs have `grad:NAME` for each parameter, `rows:TABLE/i` and `grad:TABLE/i` for each look-up and gather. */
  readonly step: Program;
  /** Parameters with an update rule, and tables, that receive gradients. */
  readonly parameters: readonly string[];
  readonly tables: readonly string[];
  /**
   * The program that applies a share of the updates. It holds the optimizer state; its inputs are named as the step's
   * outputs, followed by `#r` for replica r.
   */
  readonly apply: (share: ApplyShare) => Program;
  /**
   * Where updates depend on the norm of all gradients and a share has some of them: what must run for every share before any
   * is applied. Its output `squares` is the share's part of Σ‖g‖²; `apply` takes the parts of all, `squares#s` of share s.
   */
  readonly squares?: (share: ApplyShare) => Program;
  /**
   * Of several ranks whose step does not fill the buckets. `sum` adds up what the replicas have of a share's parameters, in
   * outputs `sum:NAME`; `fill` puts these, or what the only replica has, into the buckets.
   */
  readonly sum?: (share: ApplyShare) => Program;
  readonly fill?: (shares: readonly ApplyShare[]) => Program;
}

/** Name of the input by which an apply program takes an output of replica r. */
export const replicaInput = (output: string, replica: number): string => `${output}#${replica}`;

/** Name of the parameter in which replica r gathers the gradients of a parameter. */
export const accumulatorName = (parameter: string, replica: number): string => `${parameter}/merged#${replica}`;

/** Name of the parameter that has the steps and the rows which replica r has gathered; whoever runs the steps counts. */
export const progressName = (replica: number): string => accumulatorName("progress", replica);

const gatheredState = { trainable: false, group: "merged" } as const;

/** The input of an apply program that gathered gradients are multiplied by. */
export const MERGE_SCALE = "mergeScale";

const SQUARES = "squares";

const sumOutput = (parameter: string): string => `sum:${parameter}`;

/** Leaves the gradients of a differentiated program to programs of their own. */
export function deferUpdates(
  differentiated: Differentiated,
  rules: UpdateRules,
  options: DeferOptions = {},
): DeferredUpdates {
  const { program, gradients, contributions } = differentiated;
  const { mergeReplicas, exchange } = options;
  const step = new ProgramBuilder(program);
  const parameters = Object.keys(gradients).filter(
    (name) => rules.parameter(name, program.parameters[name]!) !== undefined,
  );
  if (mergeReplicas === undefined) {
    if (exchange?.inStep !== true) for (const name of parameters) step.output(`grad:${name}`, gradients[name]!);
  } else {
    const [table] = Object.keys(contributions);
    if (table !== undefined) throw new ShapeError(`the gradients of table ${table} cannot be gathered over steps`);
    step.scope = "merge";
    const scale = rules.scaled === true ? [unscaleInput(step)] : [];
    const gathered = add(input(0), scale.length > 0 ? mul(input(1), input(2)) : input(1));
    for (const name of parameters) {
      const [own] = accumulators(step, differentiated, name, mergeReplicas);
      step.emit("update", [own!, gradients[name]!, ...scale], { exprs: [gathered], targets: [0] });
    }
    for (let r = 0; r < mergeReplicas; r++) step.parameter(progressName(r), [2], { kind: "zeros" }, gatheredState);
  }
  for (const [table, list] of Object.entries(contributions)) {
    for (const [i, rows] of lookupsOf(list).entries()) step.output(`rows:${table}/${i}`, rows);
    for (const [i, { gradient }] of list.entries()) step.output(`grad:${table}/${i}`, gradient);
  }
  const gathered = mergeReplicas !== undefined;
  const source: GradientSource = { differentiated, rules, gathered, exchange };
  const apart = exchange !== undefined && !exchange.inStep;
  return {
    step: step.build(),
    parameters,
    tables: Object.keys(contributions),
    apply: (share) => applyProgram(source, share),
    ...(needsSquares(rules) ? { squares: (share) => squaresProgram(source, share) } : {}),
    ...(apart ? { sum: (share) => sumProgram(source, share), fill: (shares) => fillProgram(source, shares) } : {}),
  };
}

/** What programs that apply gradients read them from. */
interface GradientSource {
  readonly differentiated: Differentiated;
  readonly rules: UpdateRules;
  readonly gathered: boolean;
  readonly exchange: ExchangeOptions | undefined;
}

/** Whether an update depends on the squares of all gradients. */
const needsSquares = ({ clip, scaled }: UpdateRules): boolean =>
  scaled === true || (clip !== undefined && "globalNorm" in clip);

const lookupsOf = (list: readonly Contribution[]): ValueId[] => [...new Set(list.map(({ rows }) => rows))];

/** Declares where replicas gather the gradients of a parameter. */
function accumulators(
  builder: ProgramBuilder,
  { program }: Differentiated,
  name: string,
  replicas: number,
): readonly ValueId[] {
  const { shape } = program.values[program.parameters[name]!.value]!;
  return Array.from({ length: replicas }, (_, replica) =>
    builder.parameter(accumulatorName(name, replica), shape, { kind: "zeros" }, gatheredState),
  );
}

/** The parameters of a share with their gradients, summed over replicas and ranks. */
function gradientsOf(
  builder: ProgramBuilder,
  { differentiated, rules, gathered, exchange }: GradientSource,
  { parameters, replicas }: ApplyShare,
): MovedParameter[] {
  const { program } = differentiated;
  const scaled = gathered || exchange !== undefined;
  const scale = scaled ? [builder.input(`scalar:${MERGE_SCALE}`, { shape: [], dtype: "f32" })] : [];
  const exchanged = exchange === undefined ? undefined : exchangedGradients(builder, exchange.buckets);
  return parameters.map((name) => {
    const { value, init, ...options } = program.parameters[name]!;
    const weight = builder.parameter(name, program.values[value]!.shape, init, options);
    const cleared = gathered ? accumulators(builder, differentiated, name, replicas) : [];
    const parts =
      exchanged === undefined ? partsOf(builder, differentiated, name, replicas, cleared) : [exchanged(name)];
    const sum = sumExpr(parts);
    const expr = scaled ? mul(sum, input(parts.length)) : sum;
    const gradient = expr.op === "input" ? parts[0]! : builder.emit("map", [...parts, ...scale], { exprs: [expr] })[0]!;
    const rule = rules.parameter(name, program.parameters[name]!)!;
    return { name, weight, gradient, rule, cleared };
  });
}

const sumExpr = (parts: readonly ValueId[]): Expr => parts.map((_, i): Expr => input(i)).reduce((a, b) => add(a, b));

/** What the replicas have of the gradient of a parameter: in accumulators, or in the outputs of their steps. */
function partsOf(
  builder: ProgramBuilder,
  { program, gradients }: Differentiated,
  name: string,
  replicas: number,
  gathered: readonly ValueId[],
): readonly ValueId[] {
  if (gathered.length > 0) return gathered;
  return replicaInputs(builder, program, `grad:${name}`, gradients[name]!, replicas);
}

/** The gradients that come out of the buckets; a program waits for a bucket once. */
function exchangedGradients(builder: ProgramBuilder, buckets: readonly Bucket[]): (parameter: string) => ValueId {
  const done = new Map<Bucket, ValueId>();
  return (parameter) => {
    const bucket = buckets.find(({ parts }) => parts.some((part) => part.parameter === parameter))!;
    const { offset, shape } = bucket.parts.find((part) => part.parameter === parameter)!;
    let all = done.get(bucket);
    if (all === undefined) {
      const started = builder.input(replicaInput(bucketOutput(bucket), 0), { shape: [bucket.length], dtype: "f32" });
      all = builder.emit("bucket_wait", [started], { name: bucket.name })[0]!;
      done.set(bucket, all);
    }
    const flat = builder.emit("slice", [all], { axis: 0, start: offset, end: offset + sizeOf(shape) })[0]!;
    return builder.emit("reshape", [flat], { shape })[0]!;
  };
}

function sumProgram({ differentiated, gathered }: GradientSource, { parameters, replicas }: ApplyShare): Program {
  const builder = new ProgramBuilder();
  builder.scope = "sum";
  for (const name of parameters) {
    const own = gathered ? accumulators(builder, differentiated, name, replicas) : [];
    const parts = partsOf(builder, differentiated, name, replicas, own);
    builder.output(sumOutput(name), builder.emit("map", parts, { exprs: [sumExpr(parts)] })[0]!);
  }
  return builder.build();
}

function fillProgram({ differentiated, gathered, exchange }: GradientSource, shares: readonly ApplyShare[]): Program {
  const builder = new ProgramBuilder();
  builder.scope = "exchange";
  const { program, gradients } = differentiated;
  const summed = (name: string): ValueId => {
    if (shares.length === 1 && gathered) return accumulators(builder, differentiated, name, 1)[0]!;
    if (shares.length === 1) return builder.input(replicaInput(`grad:${name}`, 0), program.values[gradients[name]!]!);
    const owner = shares.findIndex(({ parameters }) => parameters.includes(name));
    return builder.input(replicaInput(sumOutput(name), owner), program.values[gradients[name]!]!);
  };
  for (const bucket of exchange!.buckets) {
    const inputs = bucket.parts.map(({ parameter }) => summed(parameter));
    builder.output(bucketOutput(bucket), builder.emit("bucket", inputs, { name: bucket.name })[0]!);
  }
  return builder.build();
}

const replicaInputs = (
  builder: ProgramBuilder,
  { values }: Program,
  output: string,
  id: ValueId,
  replicas: number,
): ValueId[] => Array.from({ length: replicas }, (_, r) => builder.input(replicaInput(output, r), values[id]!));

function applyProgram(source: GradientSource, share: ApplyShare): Program {
  const { differentiated, rules, gathered } = source;
  const { replicas, shares = 1 } = share;
  const { program, contributions } = differentiated;
  if (!Number.isInteger(replicas) || replicas < 1) {
    throw new ShapeError(`an apply program sums the gradients of 1 or more replicas, got ${replicas}`);
  }
  const builder = new ProgramBuilder();
  builder.scope = "update";
  const parts =
    shares > 1 && needsSquares(rules)
      ? Array.from({ length: shares }, (_, s) => builder.input(replicaInput(SQUARES, s), { shape: [], dtype: "f32" }))
      : [];
  const squares = parts.length > 0 ? total(builder, parts) : undefined;
  const moved = gradientsOf(builder, source, share);
  updateParameters(builder, moved, { ...rules, squares, unscaled: gathered });
  for (const table of share.tables) {
    const list = contributions[table]!;
    builder.table(program.tables[table]!);
    const inputsOf = (output: string, id: ValueId): ValueId[] => replicaInputs(builder, program, output, id, replicas);
    const rows = lookupsOf(list).map((id, i) => inputsOf(`rows:${table}/${i}`, id));
    const stacked = list.map((contribution, i) => inputsOf(`grad:${table}/${i}`, contribution.gradient));
    const moved = Array.from({ length: replicas }, (_, r) =>
      list.map((contribution, i) => ({
        ...contribution,
        rows: rows[lookupsOf(list).indexOf(contribution.rows)]![r]!,
        gradient: stacked[i]![r]!,
      })),
    );
    updateTable(builder, table, moved.flat(), rules);
  }
  return builder.build();
}

function squaresProgram(source: GradientSource, share: ApplyShare): Program {
  const builder = new ProgramBuilder();
  builder.scope = "clip";
  const gradients = gradientsOf(builder, source, share).map(({ gradient }) => gradient);
  const sum =
    gradients.length > 0
      ? sumOfSquares(builder, gradients)
      : builder.emit("map", [], { exprs: [constant(0)], shape: [] })[0]!;
  builder.output(SQUARES, sum);
  return builder.build();
}
