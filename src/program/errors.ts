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

/** This folder, and the layers, which call it on behalf of a model. */
const own = [".", "../nn/"].map((folder) => new URL(folder, import.meta.url).pathname);

/** "file:line:column" of the nearest caller outside these folders, "" where there is none. */
function callSite(): string {
  // Layers of layers stand between an op and the model: more than the ten calls that a stack tells by default.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 50;
  const lines = (new Error().stack ?? "").split("\n").slice(1);
  Error.stackTraceLimit = stackTraceLimit;
  for (const line of lines) {
    const match = /\(?((?:file:\/\/)?[^\s()]+:\d+:\d+)\)?$/.exec(line);
    const place = match?.[1]?.replace(/^file:\/\//, "");
    if (place === undefined || place.startsWith("node:")) continue;
    if (!own.some((folder) => place.startsWith(folder)) || /\.test\.[jt]s:/.test(place)) return place;
  }
  return "";
}
