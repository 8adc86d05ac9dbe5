// Look-ups in tables become inputs: the rows of a batch are found before the step, by whoever supplies the batch.
import type { Program, ValueId } from "../program/ir.ts";

/** A look-up that has become an input: of the ids in the input `column`, in `table`. */
export interface ExternalLookup {
  readonly input: string;
  readonly table: string;
  readonly column: string;
}

/**
 * Replaces every `lookup` of a column by an input u32 of the column's shape with the handles of its rows.
 * @throws Error that names the table where ids are not those of a column, but computed
 */
export function externalLookups(program: Program): { program: Program; lookups: ExternalLookup[] } {
  const columns = new Map(Object.entries(program.inputs).map(([name, id]) => [id, name]));
  const inputs: Record<string, ValueId> = { ...program.inputs };
  const lookups: ExternalLookup[] = [];
  const same = new Map<ValueId, ValueId>();
  const current = (id: ValueId): ValueId => same.get(id) ?? id;
  const ops = program.ops.flatMap((op) => {
    if (op.kind !== "lookup") return [{ ...op, inputs: op.inputs.map(current) } as typeof op];
    const { table } = op.attrs;
    const column = columns.get(op.inputs[0]!);
    if (column === undefined) {
      throw new Error(
        `table "${table}": a parameter server looks up the ids of a batch before the step, so they must be a column of it, not computed`,
      );
    }
    const input = `rows:${table}/${column}`;
    const known = inputs[input];
    if (known !== undefined) same.set(op.outputs[0]!, known);
    else {
      inputs[input] = op.outputs[0]!;
      lookups.push({ input, table, column });
    }
    return [];
  });
  const outputs = Object.entries(program.outputs).map(([name, id]) => [name, current(id)] as const);
  return { program: { ...program, ops, inputs, outputs: Object.fromEntries(outputs) }, lookups };
}
