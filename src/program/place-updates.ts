// Puts the optimizer into a differentiated program: updates of dense parameters and of table rows, each as soon as it can.
import { add, constant, type Expr, eq, input, mul, select, sub } from "../kernels/expr.ts";
import type { UpdateRule } from "../kernels/update-rule.ts";
import { ProgramBuilder } from "./builder.ts";
import { type Clip, clipByNorm, clipRule, sumOfSquares } from "./clip.ts";
import type { Contribution, Differentiated } from "./differentiate.ts";
import { inputsOf, keyOf, mapInputs, rewrite } from "./expr-tools.ts";
import type { Parameter, Program, ValueId } from "./ir.ts";
import { sizeOf } from "./ir.ts";
import { hoistUpdates } from "./schedule.ts";

export interface UpdateRules {
  /** The rule of a dense parameter; undefined leaves it as it is. */
  readonly parameter: (name: string, parameter: Parameter) => UpdateRule | undefined;
  /** The rule of a table's field. Its slots must be those of the table's spec. */
  readonly field: (table: string, field: string) => UpdateRule;
  /** Bounds the gradients of dense parameters; default none. */
  readonly clip?: Clip | undefined;
  /**
   * Keeps an exponential moving average of every dense parameter that a rule moves: a ← average·a + (1 − average)·w after
   * each update. It starts as the parameter does.
   */
  readonly average?: number | undefined;
  /**
   * Gradients are those of a loss that was multiplied by a scale: they are multiplied by the input `UNSCALE`, and nothing
   * moves where one of all gradients is not finite; the output `FINITE` then is 0, else 1.
   */
  readonly scaled?: boolean | undefined;
}

/** Name of the rank-0 input that scaled gradients are multiplied by. */
export const UNSCALE = "scalar:unscale";
/** Name of the rank-0 output that says whether scaled gradients were finite. */
export const FINITE = "gradientsFinite";

/** Name of the moving average of a parameter. */
export const averageName = (parameter: string): string => `${parameter}/average`;

/** Name of the optimizer state `slot` of a parameter. */
export const slotName = (parameter: string, slot: string): string => `${parameter}/${slot}`;

/** The updates run inside the step, in place, each as soon as its gradient exists and its weight was last read. */
export function placeUpdates(differentiated: Differentiated, rules: UpdateRules): Program {
  const { program, gradients, contributions } = differentiated;
  const builder = new ProgramBuilder(program);
  builder.scope = "update";
  const moved = Object.entries(gradients).flatMap(([name, gradient]) => {
    const parameter = program.parameters[name]!;
    const rule = rules.parameter(name, parameter);
    return rule === undefined ? [] : [{ name, weight: parameter.value, gradient, rule }];
  });
  updateParameters(builder, moved, rules);
  for (const [table, list] of Object.entries(contributions)) updateTable(builder, table, list, rules);
  return hoistUpdates(builder.build());
}

function scalarInputs(builder: ProgramBuilder, rule: UpdateRule): ValueId[] {
  return rule.scalars.map((name) => builder.input(`scalar:${name}`, { shape: [], dtype: "f32" }));
}

/** A parameter that is to move. */
export interface MovedParameter {
  readonly name: string;
  readonly weight: ValueId;
  readonly gradient: ValueId;
  readonly rule: UpdateRule;
  /** What the gradient was gathered in: set to 0 in the same pass. */
  readonly cleared?: readonly ValueId[];
}

export interface UpdateOptions extends Pick<UpdateRules, "clip" | "average" | "scaled"> {
  /** Σ‖g‖² over all gradients, where those that are applied are not all. */
  readonly squares?: ValueId | undefined;
  /** The gradients were multiplied by `UNSCALE` already. */
  readonly unscaled?: boolean;
}

/** Appends the updates of parameters, whose gradients are clipped first. */
export function updateParameters(
  builder: ProgramBuilder,
  moved: readonly MovedParameter[],
  { clip, average, scaled = false, squares, unscaled = false }: UpdateOptions,
): void {
  const raw = moved.map(({ gradient }) => gradient);
  const scale = scaled && !unscaled ? unscaleInput(builder) : undefined;
  const { gradients, finite, sum } = scaled ? checked(builder, raw, squares, scale) : { gradients: raw, sum: squares };
  const clipped = clipByNorm(builder, gradients, clip, sum);
  for (const [i, parameter] of moved.entries()) {
    const rule = clipRule(parameter.rule, clip);
    updateParameter(builder, { ...parameter, gradient: clipped[i]!, rule }, average, finite);
  }
}

export const unscaleInput = (builder: ProgramBuilder): ValueId => builder.input(UNSCALE, { shape: [], dtype: "f32" });

/** Gradients times `scale`, whether all are finite, and the sum of their squares. */
function checked(
  builder: ProgramBuilder,
  gradients: readonly ValueId[],
  squares: ValueId | undefined,
  scale: ValueId | undefined,
): { gradients: readonly ValueId[]; finite: ValueId; sum: ValueId } {
  const own = (): ValueId =>
    gradients.length > 0
      ? sumOfSquares(builder, gradients)
      : builder.emit("map", [], { exprs: [constant(0)], shape: [] })[0]!;
  const all = squares ?? own();
  // Infinity and NaN are the numbers whose difference to themselves is not 0.
  const [finite] = builder.emit("map", [all], { exprs: [eq(sub(input(0), input(0)), 0)] }) as [ValueId];
  builder.output(FINITE, finite);
  if (scale === undefined) return { gradients, finite, sum: all };
  const times = (x: ValueId): ValueId => builder.emit("map", [x, scale], { exprs: [mul(input(0), input(1))] })[0]!;
  return { gradients: gradients.map(times), finite, sum: times(times(all)) };
}

/** Appends the update of one parameter, one pass over all that belongs to it; a dense parameter counts as one row. */
function updateParameter(
  builder: ProgramBuilder,
  parameter: MovedParameter,
  average: number | undefined,
  finite: ValueId | undefined,
): void {
  const { name, weight, gradient, rule, cleared = [] } = parameter;
  const { shape } = builder.typeOf(weight);
  const hidden = { trainable: false, group: "optimizer" } as const;
  const slots = rule.slots.map((slot) =>
    builder.parameter(slotName(name, slot.name), slot.perRow ? [] : shape, constantInit(slot.initial), hidden),
  );
  const operands = [weight, gradient, ...slots, ...scalarInputs(builder, rule)];
  const means = rowMeans(builder, [rule.weight, ...rule.state], operands, sizeOf(shape));
  const [newWeight, ...newState] = means.exprs as [Expr, ...Expr[]];
  const all = [...operands, ...means.values];
  const writes: { readonly target: number; readonly expr: Expr }[] = [{ target: 0, expr: newWeight }];
  for (const [i, slot] of rule.slots.entries()) {
    if (!slot.perRow) writes.push({ target: i + 2, expr: newState[i]! });
  }
  if (average !== undefined) {
    const init = { kind: "copy", of: name } as const;
    const target = all.push(builder.parameter(averageName(name), shape, init, { ...hidden, group: "average" })) - 1;
    writes.push({ target, expr: add(mul(input(target), average), mul(newWeight, 1 - average)) });
  }
  const flag = finite === undefined ? undefined : input(all.push(finite) - 1);
  /** What is written where gradients may not be finite: the old value then stays. */
  const kept = ({ target, expr }: (typeof writes)[number]): (typeof writes)[number] =>
    flag === undefined ? { target, expr } : { target, expr: select(flag, expr, input(target)) };
  const moves = writes.map(kept);
  for (const id of cleared) moves.push({ target: all.push(id) - 1, expr: constant(0) });
  emitUpdate(builder, all, moves);
  for (const [i, slot] of rule.slots.entries()) {
    if (slot.perRow) emitUpdate(builder, all, [kept({ target: i + 2, expr: newState[i]! })]);
  }
}

const constantInit = (value: number): Parameter["init"] =>
  value === 0 ? { kind: "zeros" } : { kind: "constant", value };

/** Computes each row mean once, over the whole parameter and all in one pass, as a further rank-0 operand. */
function rowMeans(
  builder: ProgramBuilder,
  exprs: readonly Expr[],
  operands: readonly ValueId[],
  size: number,
): { exprs: Expr[]; values: ValueId[] } {
  const bodies: Expr[] = [];
  const known = new Map<string, Expr>();
  const replaced = exprs.map((expr) =>
    rewrite(expr, (node) => {
      if (node.op !== "rowMean") return node;
      const key = keyOf(node.x);
      const replacement = known.get(key) ?? input(operands.length + bodies.push(node.x) - 1);
      known.set(key, replacement);
      return replacement;
    }),
  );
  if (bodies.length === 0) return { exprs: replaced, values: [] };
  const { inputs, exprs: sums } = narrow(operands, bodies);
  const axes = builder.typeOf(operands[0]!).shape.map((_, axis) => axis);
  const values = builder
    .emit("reduce", inputs, { op: "sum", axes, keepDims: false, exprs: sums })
    .map((sum) => builder.emit("map", [sum], { exprs: [mul(input(0), 1 / size)] })[0]!);
  return { exprs: replaced, values };
}

/** The operands that expressions read, in order, and the expressions over them. */
function narrow(operands: readonly ValueId[], exprs: readonly Expr[]): { inputs: ValueId[]; exprs: Expr[] } {
  const used = operands.map((_, i) => i).filter((i) => exprs.some((expr) => inputsOf(expr).includes(i)));
  return {
    inputs: used.map((i) => operands[i]!),
    exprs: exprs.map((expr) => mapInputs(expr, (i) => input(used.indexOf(i)))),
  };
}

/** Emits an update over the operands that it reads or writes. */
function emitUpdate(
  builder: ProgramBuilder,
  operands: readonly ValueId[],
  writes: readonly { readonly target: number; readonly expr: Expr }[],
): void {
  const used = operands
    .map((_, i) => i)
    .filter((i) => writes.some(({ target, expr }) => target === i || inputsOf(expr).includes(i)));
  const inputs = used.map((i) => operands[i]!);
  builder.emit("update", inputs, {
    exprs: writes.map(({ expr }) => mapInputs(expr, (i) => input(used.indexOf(i)))),
    targets: writes.map(({ target }) => used.indexOf(target)),
  });
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
