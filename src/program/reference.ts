// The oracle: runs a whole program in float64, op after op, in the plainest way. Engines are tested against it.
import { ProgramError } from "./errors.ts";
import { type Op, type OpKind, type Program, sizeOf, type TensorType, type ValueId } from "./ir.ts";
import { definitionFor } from "./ops/catalogue.ts";
import type { NdArray, ReferenceRequest } from "./ops/definition.ts";
import type { ReferenceTable } from "./reference-table.ts";

/** Numbers of a tensor in row-major order; u64 tensors take bigints. */
export type Numbers = Iterable<number> | Iterable<bigint>;

export interface ReferenceState {
  /** Every parameter by name; updates and running statistics are written in place. */
  readonly parameters: Readonly<Record<string, Float64Array>>;
  /** Every table by name; looked-up rows may be inserted and updated. */
  readonly tables?: Readonly<Record<string, ReferenceTable>>;
}

export interface ReferenceResult {
  readonly outputs: Readonly<Record<string, Float64Array | BigUint64Array>>;
  /** Any value of the program, by id. */
  value(id: ValueId): Float64Array | BigUint64Array;
}

/** A step of one rank. */
export interface ReferenceStep {
  /** By name; each as long as the input's shape says. */
  readonly inputs: Readonly<Record<string, Numbers>>;
  readonly state?: ReferenceState;
}

/**
 * Runs one step.
 * @param inputs by name; each as long as the input's shape says
 * @throws ProgramError where an input, a parameter or a table is missing or has another length
 */
export function interpret(
  program: Program,
  inputs: Readonly<Record<string, Numbers>>,
  state: ReferenceState = { parameters: {} },
): ReferenceResult {
  return interpretRanks(program, [{ inputs, state }])[0]!;
}

/** Runs one step of a program on several ranks together, op after op, by rank. */
export function interpretRanks(program: Program, steps: readonly ReferenceStep[]): ReferenceResult[] {
  const ranks = steps.map(({ inputs, state = { parameters: {} } }) => ({
    arrays: given(program, inputs, state),
    state,
  }));
  for (const op of program.ops) {
    const requests = ranks.map(({ arrays, state }) => requestOf(program, op, arrays, state));
    const definition = definitionFor(op);
    if (definition.across !== undefined) definition.across(requests);
    else for (const request of requests) definition.reference(request);
  }
  return ranks.map(({ arrays }) => {
    const value = (id: ValueId): Float64Array | BigUint64Array => arrays[id]!.data;
    const outputs = Object.fromEntries(Object.entries(program.outputs).map(([name, id]) => [name, value(id)]));
    return { outputs, value };
  });
}

/** What a step begins with, by value. */
function given(program: Program, inputs: ReferenceStep["inputs"], state: ReferenceState): NdArray[] {
  const arrays: NdArray[] = [];
  for (const [name, id] of Object.entries(program.inputs)) {
    const data = inputs[name];
    if (data === undefined) throw new ProgramError(`the reference was given no input ${name}`);
    arrays[id] = arrayOf(program.values[id]!, data, `input ${name}`);
  }
  for (const [name, { value }] of Object.entries(program.parameters)) {
    const data = state.parameters[name];
    if (data === undefined) throw new ProgramError(`the reference was given no parameter ${name}`);
    const { shape } = program.values[value]!;
    if (data.length !== sizeOf(shape)) {
      throw new ProgramError(`parameter ${name} has ${data.length} numbers, its shape is [${shape.join(",")}]`);
    }
    arrays[value] = { shape, data };
  }
  return arrays;
}

function requestOf(program: Program, op: Op, arrays: NdArray[], state: ReferenceState): ReferenceRequest<OpKind> {
  const outputs = op.outputs.map((id) => zeros(program.values[id]!));
  for (const [i, id] of op.outputs.entries()) arrays[id] = outputs[i]!;
  return {
    attrs: op.attrs,
    inputs: op.inputs.map((id) => arrays[id]!),
    outputs,
    table: (name) => {
      const table = state.tables?.[name];
      if (table === undefined) throw new ProgramError(`the reference was given no table ${name}`);
      return table;
    },
  };
}

function zeros({ shape, dtype }: TensorType): NdArray {
  const size = sizeOf(shape);
  return { shape, dtype, data: dtype === "u64" ? new BigUint64Array(size) : new Float64Array(size) };
}

function arrayOf({ shape, dtype }: TensorType, numbers: Numbers, what: string): NdArray {
  const data =
    dtype === "u64" ? BigUint64Array.from(numbers as Iterable<bigint>) : Float64Array.from(numbers as Iterable<number>);
  if (data.length !== sizeOf(shape)) {
    throw new ProgramError(`${what} has ${data.length} numbers, its shape is [${shape.join(",")}]`);
  }
  return { shape, data, dtype };
}
