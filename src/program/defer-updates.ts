// Splits a differentiated program where several trainers reduce gradients before they apply them: a step that leaves its
// gradients in outputs, and programs that sum the gradients of several steps and apply them.
import { add, type Expr, input } from "../kernels/expr.ts";
import { ProgramBuilder } from "./builder.ts";
import type { Contribution, Differentiated } from "./differentiate.ts";
import { ShapeError } from "./errors.ts";
import type { Program, ValueId } from "./ir.ts";
import { type UpdateRules, updateParameter, updateTable } from "./place-updates.ts";

/** What one program applies, of how many steps. */
export interface ApplyShare {
  readonly parameters: readonly string[];
  readonly tables: readonly string[];
  /** Steps whose gradients are summed. */
  readonly replicas: number;
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
}

/** Name of the input by which an apply program takes an output of replica r. */
export const replicaInput = (output: string, replica: number): string => `${output}#${replica}`;

/** Leaves the gradients of a differentiated program to programs of their own. */
export function deferUpdates(differentiated: Differentiated, rules: UpdateRules): DeferredUpdates {
  const { program, gradients, contributions } = differentiated;
  const step = new ProgramBuilder(program);
  const parameters = Object.keys(gradients).filter(
    (name) => rules.parameter(name, program.parameters[name]!) !== undefined,
  );
  for (const name of parameters) step.output(`grad:${name}`, gradients[name]!);
  for (const [table, list] of Object.entries(contributions)) {
    for (const [i, rows] of lookupsOf(list).entries()) step.output(`rows:${table}/${i}`, rows);
    for (const [i, { gradient }] of list.entries()) step.output(`grad:${table}/${i}`, gradient);
  }
  return {
    step: step.build(),
    parameters,
    tables: Object.keys(contributions),
    apply: (share) => applyProgram(differentiated, rules, share),
  };
}

const lookupsOf = (list: readonly Contribution[]): ValueId[] => [...new Set(list.map(({ rows }) => rows))];

function applyProgram({ program, contributions }: Differentiated, rules: UpdateRules, share: ApplyShare): Program {
  const { replicas } = share;
  if (!Number.isInteger(replicas) || replicas < 1) {
    throw new ShapeError(`an apply program sums the gradients of 1 or more replicas, got ${replicas}`);
  }
  const builder = new ProgramBuilder();
  builder.scope = "update";
  const inputsOf = (output: string, id: ValueId): ValueId[] =>
    Array.from({ length: replicas }, (_, r) => builder.input(replicaInput(output, r), program.values[id]!));
  for (const name of share.parameters) {
    const { value, init, ...options } = program.parameters[name]!;
    const weight = builder.parameter(name, program.values[value]!.shape, init, options);
    const parts = inputsOf(`grad:${name}`, value);
    const sum = parts.map((_, i): Expr => input(i)).reduce((a, b) => add(a, b));
    const [gradient] = replicas === 1 ? parts : builder.emit("map", parts, { exprs: [sum] });
    updateParameter(builder, name, weight, gradient!, rules.parameter(name, program.parameters[name]!)!);
  }
  for (const table of share.tables) {
    const list = contributions[table]!;
    builder.table(program.tables[table]!);
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
