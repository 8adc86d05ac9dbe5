// The rules that every program keeps, checked after each pass under test.
import { ProgramError } from "./errors.ts";
import { formatType, type Op, type Program, type ValueId } from "./ir.ts";
import { definitionFor, writtenValues } from "./ops/catalogue.ts";
import { tableField } from "./tables.ts";

/**
 * Checks that ids are dense, that every value is defined once and before its use, that types are those that the ops
 * infer, and that only parameters are written in place.
 * @throws ProgramError naming the op and the value
 */
export function verify(program: Program): void {
  const { values, inputs, parameters, outputs } = program;
  for (const [i, value] of values.entries()) {
    if (value.id !== i) throw new ProgramError(`value ${i} calls itself ${value.id}`);
  }
  const defined = new Set<ValueId>();
  const define = (id: ValueId, what: string): void => {
    if (values[id] === undefined) throw new ProgramError(`${what} defines value ${id}, which does not exist`);
    if (defined.has(id)) throw new ProgramError(`${what} defines value ${id} again`);
    defined.add(id);
  };
  for (const [name, id] of Object.entries(inputs)) define(id, `input ${name}`);
  for (const [name, parameter] of Object.entries(parameters)) define(parameter.value, `parameter ${name}`);
  const writable = new Set(Object.values(parameters).map((parameter) => parameter.value));
  for (const [at, op] of program.ops.entries()) {
    const where = `op ${at} (${op.kind}${op.scope === "" ? "" : ` in ${op.scope}`})`;
    for (const id of op.inputs) {
      if (!defined.has(id)) throw new ProgramError(`${where} reads value ${id} before it is defined`);
    }
    checkTypes(program, op, where);
    for (const id of op.outputs) define(id, where);
    for (const id of writtenValues(op)) {
      if (!writable.has(id)) throw new ProgramError(`${where} writes value ${id}, which is not a parameter`);
    }
  }
  for (const [name, id] of Object.entries(outputs)) {
    if (!defined.has(id)) throw new ProgramError(`output ${name} is value ${id}, which nothing defines`);
  }
}

function checkTypes(program: Program, op: Op, where: string): void {
  const types = op.inputs.map((id) => program.values[id]!);
  const dims = (table: string, field: string): number => tableField(program.tables, table, field).dim;
  const expected = definitionFor(op).infer(types, op.attrs, dims).map(formatType).join(", ");
  const actual = op.outputs.map((id) => formatType(program.values[id]!)).join(", ");
  if (expected !== actual) throw new ProgramError(`${where} gives (${expected}), but its outputs are (${actual})`);
}
