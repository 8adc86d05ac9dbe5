// Errors of program building. They name the op, its operands and the line of the model that asked for it.
import { formatType, type TensorType } from "./ir.ts";

/** Shapes, dtypes or attributes that an op cannot take. */
export class ShapeError extends Error {
  override readonly name = "ShapeError";
}

/** A program that breaks a rule of the representation: a fault of a pass, not of a model. */
export class ProgramError extends Error {
  override readonly name = "ProgramError";
}

/** Rethrown by the builder with the operands, the scope and the call site. */
export function describeFailure(kind: string, inputs: readonly TensorType[], scope: string, reason: string): string {
  const operands = inputs.map(formatType).join(", ");
  const site = callSite();
  return `${kind}(${operands}): ${reason}${scope === "" ? "" : `, in scope ${scope}`}${site === "" ? "" : `, at ${site}`}`;
}

const own = new URL(".", import.meta.url).pathname;

/** "file:line:column" of the nearest caller outside this folder, "" where there is none. */
function callSite(): string {
  const lines = (new Error().stack ?? "").split("\n").slice(1);
  for (const line of lines) {
    const match = /\(?((?:file:\/\/)?[^\s()]+:\d+:\d+)\)?$/.exec(line);
    const place = match?.[1]?.replace(/^file:\/\//, "");
    if (place === undefined || place.startsWith("node:")) continue;
    if (!place.startsWith(own) || /\.test\.[jt]s:/.test(place)) return place;
  }
  return "";
}
