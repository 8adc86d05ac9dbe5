// Adding up the gradients that reach one value over several ways.
import { type Expr, input } from "../../kernels/expr.ts";
import type { FloatType, ValueId } from "../ir.ts";
import { typed } from "./broadcast.ts";
import type { GradientBuilder } from "./definition.ts";

/** The sum of one or more values of one type. */
export function sumOf(builder: GradientBuilder, ids: readonly ValueId[]): ValueId {
  if (ids.length === 1) return ids[0]!;
  const sum = ids.slice(1).reduce<Expr>((x, _, i) => ({ op: "add", x, y: input(i + 1) }), input(0));
  const { dtype } = builder.typeOf(ids[0]!);
  return builder.emit("map", ids, { exprs: [sum], ...typed([dtype as FloatType]) })[0]!;
}
