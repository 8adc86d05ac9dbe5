// Reverse-mode differentiation, program to program: appends the ops that compute the gradient of a scalar loss.

import { constant } from "../kernels/expr.ts";
import { ProgramBuilder } from "./builder.ts";
import { ProgramError, ShapeError } from "./errors.ts";
import type { Op, Pooling, Program, ValueId } from "./ir.ts";
import { definitionFor } from "./ops/catalogue.ts";
import { sumOf } from "./ops/sum.ts";

export interface DifferentiateOptions {
  /** Name of the rank-0 output to differentiate. */
  readonly loss: string;
  /** Names of the parameters; default all trainable ones. */
  readonly parameters?: readonly string[];
  /** Names of f32 inputs whose gradients are wanted too; default none. */
  readonly inputs?: readonly string[];
}

/** The gradient of what a program gathered from a table. */
export interface Contribution {
  /** The rows that were gathered, u32 [..]. */
  readonly rows: ValueId;
  readonly field: string;
  readonly pool?: Pooling;
  /** [.., dim], pooled [B, dim]. */
  readonly gradient: ValueId;
}

export interface Differentiated {
  readonly program: Program;
  /** The gradient of each parameter that the loss depends on. */
  readonly gradients: Readonly<Record<string, ValueId>>;
  readonly inputGradients: Readonly<Record<string, ValueId>>;
  /** By table, in the order of the gathers. */
  readonly contributions: Readonly<Record<string, readonly Contribution[]>>;
}

/**
 * Appends the backward pass of output `loss`.
 * @throws ShapeError where the loss is missing or not a scalar, or where an op on the way has no gradient
 */
export function differentiate(program: Program, options: DifferentiateOptions): Differentiated {
  const loss = lossOf(program, options.loss);
  const sources = sourcesOf(program, options);
  const needed = dependents(program, new Set([...sources.parameters.values(), ...sources.inputs.values()]));
  const builder = new ProgramBuilder(program);
  const pending = new Map<ValueId, ValueId[]>();
  const contributions: Record<string, Contribution[]> = {};

  builder.scope = "backward";
  if (needed.has(loss)) pending.set(loss, builder.emit("map", [], { exprs: [constant(1)] }));
  const total = (id: ValueId): ValueId | undefined => {
    const parts = pending.get(id);
    if (parts === undefined) return undefined;
    const sum = sumOf(builder, parts);
    pending.set(id, [sum]);
    return sum;
  };

  for (const op of program.ops.toReversed()) {
    if (!op.outputs.some((id) => needed.has(id) && pending.has(id))) continue;
    builder.scope = op.scope === "" ? "backward" : `backward/${op.scope}`;
    const outputGradients = op.outputs.map(total);
    const contribution = contributionOf(op, outputGradients[0]);
    if (contribution !== undefined) {
      const { table } = op.attrs as { table: string };
      contributions[table] = [contribution, ...(contributions[table] ?? [])];
      continue;
    }
    const needs = op.inputs.map((id) => needed.has(id));
    const inputGradients = gradientsOf(op, builder, outputGradients, needs);
    for (const [i, gradient] of inputGradients.entries()) {
      const id = op.inputs[i]!;
      if (gradient !== undefined && needs[i]) pending.set(id, [...(pending.get(id) ?? []), gradient]);
    }
  }

  builder.scope = "backward";
  const collect = (named: ReadonlyMap<string, ValueId>): Record<string, ValueId> =>
    Object.fromEntries(
      [...named].flatMap(([name, id]) => {
        const gradient = total(id);
        return gradient === undefined ? [] : [[name, gradient]];
      }),
    );
  const gradients = collect(sources.parameters);
  const inputGradients = collect(sources.inputs);
  return { program: builder.build(), gradients, inputGradients, contributions };
}

function lossOf(program: Program, name: string): ValueId {
  const loss = program.outputs[name];
  if (loss === undefined) {
    throw new ShapeError(
      `no output ${name} to differentiate: the program has ${Object.keys(program.outputs).join(", ")}`,
    );
  }
  const { shape } = program.values[loss]!;
  if (shape.length > 0) throw new ShapeError(`the loss ${name} has shape [${shape.join(",")}], not []: take its mean`);
  return loss;
}

function sourcesOf(
  program: Program,
  { parameters, inputs = [] }: DifferentiateOptions,
): { parameters: Map<string, ValueId>; inputs: Map<string, ValueId> } {
  const trainable = Object.keys(program.parameters).filter((name) => program.parameters[name]!.trainable);
  const pick = <T>(
    names: readonly string[],
    from: Readonly<Record<string, T>>,
    id: (entry: T) => ValueId,
  ): Map<string, ValueId> =>
    new Map(
      names.map((name) => {
        const entry = from[name];
        if (entry === undefined) throw new ShapeError(`cannot differentiate by ${name}: the program has no such value`);
        return [name, id(entry)];
      }),
    );
  return {
    parameters: pick(parameters ?? trainable, program.parameters, (parameter) => parameter.value),
    inputs: pick(inputs, program.inputs, (id) => id),
  };
}

/** The values through which a source or a table reaches the loss. */
function dependents(program: Program, sources: ReadonlySet<ValueId>): ReadonlySet<ValueId> {
  const result = new Set(sources);
  for (const op of program.ops) {
    const fromTable = op.kind === "gather" || op.kind === "gather_pool";
    if (fromTable || op.inputs.some((id) => result.has(id))) for (const id of op.outputs) result.add(id);
  }
  return result;
}

function contributionOf(op: Op, gradient: ValueId | undefined): Contribution | undefined {
  if (gradient === undefined) return undefined;
  const rows = op.inputs[0]!;
  if (op.kind === "gather") return { rows, field: op.attrs.field, gradient };
  if (op.kind === "gather_pool") return { rows, field: op.attrs.field, pool: op.attrs.mode, gradient };
  return undefined;
}

function gradientsOf(
  op: Op,
  builder: ProgramBuilder,
  outputGradients: readonly (ValueId | undefined)[],
  needs: readonly boolean[],
): (ValueId | undefined)[] {
  const definition = definitionFor(op);
  if (definition.gradient === undefined) {
    throw new ProgramError(`${op.kind}${op.scope === "" ? "" : ` in ${op.scope}`} has no gradient rule`);
  }
  return definition.gradient({ op, builder, outputGradients, needs });
}
