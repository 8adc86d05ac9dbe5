// Replacing ops by several simpler ones that give the same values.
import type { Op, OpAttrs, OpKind, Program, TensorType, Value, ValueId } from "../program/ir.ts";
import { definitionOf } from "../program/ops/catalogue.ts";

/** Appends ops in place of one; `typeOf` knows all values so far. */
export interface Replacement {
  /** Gives the op's results, those in `outputs` under their numbers and the others as new values. */
  emit<K extends OpKind>(
    kind: K,
    inputs: readonly ValueId[],
    attrs: OpAttrs[K],
    outputs?: readonly (ValueId | undefined)[],
  ): ValueId[];
  typeOf(id: ValueId): TensorType;
}

/** Calls `replace` for each op; where it gives false, the op stays. */
export function replaceOps(program: Program, replace: (op: Op, by: Replacement) => boolean): Program {
  const values: Value[] = [...program.values];
  const ops: Op[] = [];
  let scope = "";
  const typeOf = (id: ValueId): TensorType => values[id]!;
  const by: Replacement = {
    typeOf,
    emit(kind, inputs, attrs, outputs = []) {
      const types = definitionOf(kind).infer(inputs.map(typeOf), attrs, () => {
        throw new Error(`${kind} has no table`);
      });
      const results = types.map(({ shape, dtype }, k) => {
        return outputs[k] ?? values.push({ id: values.length, shape, dtype, name: "" }) - 1;
      });
      // `kind` and `attrs` belong together by the signature, which the union of op types cannot see.
      ops.push({ kind, inputs, outputs: results, attrs, scope } as unknown as Op);
      return results;
    },
  };
  for (const op of program.ops) {
    scope = op.scope;
    if (!replace(op, by)) ops.push(op);
  }
  return { ...program, values, ops };
}
