// Puts the optimizer into a differentiated program: updates of dense parameters and of table rows, each as soon as it can.
import { constant, type Expr, input, mul } from "../kernels/expr.ts";
import type { UpdateRule } from "../kernels/update-rule.ts";
import { ProgramBuilder } from "./builder.ts";
import type { Contribution, Differentiated } from "./differentiate.ts";
import { mapInputs, rewrite, some } from "./expr-tools.ts";
import type { OpAttrs, Parameter, Program, ValueId } from "./ir.ts";
import { sizeOf } from "./ir.ts";
import { hoistUpdates } from "./schedule.ts";

export interface UpdateRules {
  /** The rule of a dense parameter; undefined leaves it as it is. */
  readonly parameter: (name: string, parameter: Parameter) => UpdateRule | undefined;
  /** The rule of a table's field. Its slots must be those of the table's spec. */
  readonly field: (table: string, field: string) => UpdateRule;
}

/** Name of the optimizer state `slot` of a parameter. */
export const slotName = (parameter: string, slot: string): string => `${parameter}/${slot}`;

/** The updates run inside the step, in place, each as soon as its gradient exists and its weight was last read. */
export function placeUpdates(differentiated: Differentiated, rules: UpdateRules): Program {
  const { program, gradients, contributions } = differentiated;
  const builder = new ProgramBuilder(program);
  builder.scope = "update";
  for (const [name, gradient] of Object.entries(gradients)) {
    const parameter = program.parameters[name]!;
    const rule = rules.parameter(name, parameter);
    if (rule !== undefined) updateParameter(builder, name, parameter.value, gradient, rule);
  }
  for (const [table, list] of Object.entries(contributions)) updateTable(builder, table, list, rules);
  return hoistUpdates(builder.build());
}

function scalarInputs(builder: ProgramBuilder, rule: UpdateRule): ValueId[] {
  return rule.scalars.map((name) => builder.input(`scalar:${name}`, { shape: [], dtype: "f32" }));
}

/** Appends the update of one parameter; a dense parameter counts as one row. */
export function updateParameter(
  builder: ProgramBuilder,
  name: string,
  weight: ValueId,
  gradient: ValueId,
  rule: UpdateRule,
): void {
  const { shape } = builder.typeOf(weight);
  const slots = rule.slots.map((slot) =>
    builder.parameter(slotName(name, slot.name), slot.perRow ? [] : shape, constantInit(slot.initial), {
      trainable: false,
      group: "optimizer",
    }),
  );
  const operands = [weight, gradient, ...slots, ...scalarInputs(builder, rule)];
  const means = rowMeans(builder, [rule.weight, ...rule.state], operands, sizeOf(shape));
  const [newWeight, ...newState] = means.exprs;
  const all = [...operands, ...means.values];
  const elementwise = rule.slots.flatMap((slot, i) => (slot.perRow ? [] : [i]));
  const targets = [0, ...elementwise.map((i) => i + 2)];
  emitUpdate(builder, all, [newWeight!, ...elementwise.map((i) => newState[i]!)], targets);
  for (const [i, slot] of rule.slots.entries()) {
    if (slot.perRow) emitUpdate(builder, all, [newState[i]!], [i + 2]);
  }
}

const constantInit = (value: number): Parameter["init"] =>
  value === 0 ? { kind: "zeros" } : { kind: "constant", value };

/** Computes each row mean once, over the whole parameter, as a further rank-0 operand. */
function rowMeans(
  builder: ProgramBuilder,
  exprs: readonly Expr[],
  operands: readonly ValueId[],
  size: number,
): { exprs: Expr[]; values: ValueId[] } {
  const values: ValueId[] = [];
  const known = new Map<string, Expr>();
  const replaced = exprs.map((expr) =>
    rewrite(expr, (node) => {
      if (node.op !== "rowMean") return node;
      const key = JSON.stringify(node);
      const old = known.get(key);
      if (old !== undefined) return old;
      const { inputs, expr: body } = narrow(operands, node.x);
      const axes = builder.typeOf(operands[0]!).shape.map((_, axis) => axis);
      const [sum] = builder.emit("reduce", inputs, { op: "sum", axes, keepDims: false, exprs: [body] });
      const [mean] = builder.emit("map", [sum!], { exprs: [mul(input(0), constant(1 / size))] });
      const replacement = input(operands.length + values.length);
      values.push(mean!);
      known.set(key, replacement);
      return replacement;
    }),
  );
  return { exprs: replaced, values };
}

/** The operands that an expression reads, in order, and the expression over them. */
function narrow(operands: readonly ValueId[], expr: Expr): { inputs: ValueId[]; expr: Expr } {
  const used = operands.map((_, i) => i).filter((i) => some(expr, (node) => node.op === "input" && node.index === i));
  return { inputs: used.map((i) => operands[i]!), expr: mapInputs(expr, (i) => input(used.indexOf(i))) };
}

/** Emits an update over the operands that it reads or writes. */
function emitUpdate(
  builder: ProgramBuilder,
  operands: readonly ValueId[],
  exprs: readonly Expr[],
  targets: readonly number[],
): void {
  const used = operands
    .map((_, i) => i)
    .filter(
      (i) => targets.includes(i) || exprs.some((expr) => some(expr, (node) => node.op === "input" && node.index === i)),
    );
  const attrs: OpAttrs["update"] = {
    exprs: exprs.map((expr) => mapInputs(expr, (i) => input(used.indexOf(i)))),
    targets: targets.map((target) => used.indexOf(target)),
  };
  builder.emit(
    "update",
    used.map((i) => operands[i]!),
    attrs,
  );
}

/** Appends the update of a table's rows. */
export function updateTable(
  builder: ProgramBuilder,
  table: string,
  list: readonly Contribution[],
  rules: UpdateRules,
): void {
  const lookups = [...new Set(list.map(({ rows }) => rows))];
  const fields = [...new Set(list.map(({ field }) => field))];
  const scalars = Object.fromEntries(fields.map((field) => [field, rules.field(table, field).scalars]));
  const inputs = [
    ...lookups,
    ...list.map(({ gradient }) => gradient),
    ...fields.flatMap((field) => scalarInputs(builder, rules.field(table, field))),
  ];
  builder.emit("scatter_update", inputs, {
    table,
    lookups: lookups.length,
    contributions: list.map(({ rows, field, pool }) => ({
      lookup: lookups.indexOf(rows),
      field,
      ...(pool === undefined ? {} : { pool }),
    })),
    scalars,
  });
}
