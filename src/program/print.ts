// A program as text, one op a line: what DEBUG shows before and after each pass.
import type { Expr } from "../kernels/expr.ts";
import { formatExpr } from "./expr-tools.ts";
import { formatType, type Init, type Op, type Program, sizeOf, type ValueId } from "./ir.ts";
import { reducedExprs } from "./ops/map.ts";

/** Readable, stable text; not meant to be parsed. */
export function print(program: Program): string {
  const name = (id: ValueId): string => {
    const value = program.values[id]!;
    return value.name === "" ? `%${id}` : value.name;
  };
  const typed = (id: ValueId): string => `${name(id)}: ${formatType(program.values[id]!)}`;
  const lines: string[] = [];
  for (const id of Object.values(program.inputs)) lines.push(`input ${typed(id)}`);
  for (const { value, init, trainable, group } of Object.values(program.parameters)) {
    lines.push(`parameter ${typed(value)} ${formatInit(init)}${trainable ? "" : " fixed"} group=${group}`);
  }
  for (const table of Object.values(program.tables)) {
    lines.push(`table ${table.name} {${table.fields.map((field) => `${field.name}: ${field.dim}`).join(", ")}}`);
  }
  for (const op of program.ops) {
    const results = op.outputs.map(typed).join(", ");
    const scope = op.scope === "" ? "" : `  # ${op.scope}`;
    lines.push(`${results === "" ? "" : `${results} = `}${formatOp(op, name)}${scope}`);
  }
  for (const [output, id] of Object.entries(program.outputs)) lines.push(`output ${output} = ${name(id)}`);
  return `${lines.join("\n")}\n`;
}

function formatOp(op: Op, name: (id: ValueId) => string): string {
  const operand = (index: number): string => name(op.inputs[index]!);
  const call = `${op.kind}(${op.inputs.map(name).join(", ")})`;
  switch (op.kind) {
    case "map":
      return `map ${op.attrs.exprs.map((expr) => formatExpr(expr, operand)).join(", ")}`;
    case "update":
      return `update ${op.attrs.exprs
        .map((expr, i) => `${operand(op.attrs.targets[i]!)} ← ${formatExpr(expr, operand)}`)
        .join(", ")}`;
    case "reduce": {
      const body = reducedExprs(op.attrs).map((expr) => formatExpr(expr, operand));
      return `reduce ${op.attrs.op} ${body.join(", ")} axes=[${op.attrs.axes.join(",")}]${op.attrs.keepDims ? " keepDims" : ""}`;
    }
    case "rows": {
      const { stages, exprs, rowExprs } = op.attrs;
      const results = (index: number): string =>
        index < op.inputs.length ? operand(index) : `$${index - op.inputs.length}`;
      const passes = stages.map((stage, i) => `$${i} = ${stage.op} ${formatExpr(stage.expr, results)}`);
      const list = (parts: readonly Expr[]): string => parts.map((part) => formatExpr(part, results)).join(", ");
      return `rows ${passes.join("; ")} in ${[exprs, rowExprs]
        .filter((part) => part.length > 0)
        .map(list)
        .join(" | ")}`;
    }
    default: {
      const attrs = Object.entries(op.attrs).map(([key, value]) => ` ${key}=${JSON.stringify(value)}`);
      return `${call}${attrs.join("")}`;
    }
  }
}

function formatInit(init: Init): string {
  switch (init.kind) {
    case "constant":
      return `constant(${init.value})`;
    case "uniform":
    case "normal":
    case "truncated-normal":
      return `${init.kind}(${init.scale})`;
    default:
      return init.kind;
  }
}

/** Numbers of elements, ops by kind: a line for a log. */
export function summarize(program: Program): string {
  const kinds = new Map<string, number>();
  for (const op of program.ops) kinds.set(op.kind, (kinds.get(op.kind) ?? 0) + 1);
  const weights = Object.values(program.parameters)
    .filter((parameter) => parameter.trainable)
    .reduce((sum, parameter) => sum + sizeOf(program.values[parameter.value]!.shape), 0);
  const list = [...kinds].map(([kind, count]) => `${count} ${kind}`).join(", ");
  return `${program.ops.length} ops (${list}), ${weights} dense weights, ${Object.keys(program.tables).length} tables`;
}
