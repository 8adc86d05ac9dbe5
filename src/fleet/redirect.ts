// One plan over other parameters: a thread's own accumulators instead of the first thread's, averages instead of weights.
import { byteLength, type Operand, type Plan, type Prepared } from "../engine/index.ts";

/**
 * The plan with other parameters in place of some.
 * @param places where the parameters of a trainer lie
 * @param other the name of what to take instead, of the same shape; undefined leaves a parameter as it is
 */
export function redirect(
  prepared: Prepared,
  places: Plan["parameters"],
  other: (name: string) => string | undefined,
): Prepared {
  const moves = Object.entries(places).flatMap(([name, from]) => {
    const to = other(name);
    return to === undefined
      ? []
      : [{ start: from.offset, end: from.offset + byteLength(from), by: places[to]!.offset - from.offset }];
  });
  if (moves.length === 0) return prepared;
  moves.sort((a, b) => a.start - b.start);
  // An operand may be a part of a parameter.
  const moved = (operand: Operand): Operand => {
    if (operand.space !== "shared") return operand;
    const move = moves[moves.findLastIndex(({ start }) => start <= operand.offset)];
    if (move === undefined || operand.offset >= move.end) return operand;
    return { ...operand, offset: operand.offset + move.by };
  };
  const instructions = prepared.plan.instructions.map((instruction) => ({
    ...instruction,
    inputs: instruction.inputs.map(moved),
    outputs: instruction.outputs.map(moved),
  }));
  return { ...prepared, plan: { ...prepared.plan, instructions } };
}
