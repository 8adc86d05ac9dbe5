// Recompute: trades arithmetic for memory. The forward pass keeps only a part of its results, the rest is computed again in
// the backward pass. The copies are the very instructions of the forward pass, so the numbers are the same to the bit.
import { ProgramError } from "../program/errors.ts";
import type { Program, ValueId } from "../program/ir.ts";
import { byteLength } from "../program/liveness.ts";
import { chooseKept } from "./recompute-choice.ts";
import { type Forward, forwardOf, rematerialize } from "./rematerialize.ts";

/**
 * What the backward pass computes again:
 * - `"auto"`: what costs little arithmetic for the memory that it frees, up to a fifth of the step's work;
 * - a number n ≥ 2: the forward pass in n parts of about equal memory; only what crosses from part to part is kept;
 * - names of scopes, as `"layer/3"`: each is a part, and everything outside of them is kept.
 */
export type Segments = "auto" | number | readonly string[];

export interface RecomputeOptions {
  readonly segments: Segments;
  /** The output that the step differentiates; default "loss". */
  readonly loss?: string;
}

/**
 * The step with forward ops repeated in its backward pass. Run it on the optimized program, before updates are moved up.
 * @throws ProgramError where the program has no such loss, or a name is no scope of its forward pass
 */
export function recompute(program: Program, { segments, loss = "loss" }: RecomputeOptions): Program {
  const id = program.outputs[loss];
  if (id === undefined) {
    throw new ProgramError(
      `recompute needs the output ${loss}: the program has ${Object.keys(program.outputs).join(", ") || "none"}`,
    );
  }
  const forward = forwardOf(program, id);
  const kept = segments === "auto" ? chooseKept(forward) : crossing(forward, partsOf(forward, segments));
  return rematerialize(forward, kept).program;
}

/** A run of forward ops [start, end). */
interface Part {
  readonly start: number;
  readonly end: number;
}

/** What is kept where each part is computed again: values from outside of all parts, and those that leave theirs. */
function crossing({ program, definitions, end, memory }: Forward, parts: readonly Part[]): Set<ValueId> {
  const partOf = new Int32Array(end).fill(-1);
  for (const [i, part] of parts.entries()) partOf.fill(i, part.start, part.end);
  const kept = new Set<ValueId>();
  for (const [id, at] of definitions) if (partOf[at] === -1) kept.add(memory(id));
  for (const [at, op] of program.ops.slice(0, end).entries()) {
    for (const id of op.inputs) {
      const root = memory(id);
      const from = definitions.get(root);
      if (from !== undefined && partOf[from] !== partOf[at]) kept.add(root);
    }
  }
  return kept;
}

function partsOf(forward: Forward, segments: number | readonly string[]): Part[] {
  return typeof segments === "number" ? equalParts(forward, segments) : namedParts(forward, segments);
}

/** The last part is not repeated: its backward pass follows at once. */
function equalParts({ program, definitions, end, memory, saved }: Forward, count: number): Part[] {
  if (!Number.isInteger(count) || count < 2) {
    throw new ProgramError(`recompute takes "auto", names of scopes or at least 2 segments, got ${count}`);
  }
  const bytes = (id: ValueId): number => byteLength(program.values[id]!);
  // Bytes that would cross a cut before each op.
  const crossing = new Float64Array(end + 1);
  const lastReader = new Map<ValueId, number>();
  for (const [at, op] of program.ops.slice(0, end).entries())
    for (const id of op.inputs) lastReader.set(memory(id), at);
  for (const [id, last] of lastReader) {
    const from = definitions.get(id);
    if (from !== undefined) for (let at = from + 1; at <= last; at++) crossing[at]! += bytes(id);
  }
  const total = saved.reduce((sum, id) => sum + bytes(id), 0);
  const cuts: number[] = [0];
  let passed = 0;
  let first = 1;
  // Around each equal share of the memory, the cut that the least memory crosses.
  for (let share = 1, i = 0; share < count && i < saved.length; share++) {
    let best = -1;
    for (; i < saved.length && passed < ((share + 0.5) * total) / count; i++) {
      passed += bytes(saved[i]!);
      const at = definitions.get(saved[i]!)! + 1;
      if (passed < ((share - 0.5) * total) / count || at <= first || at >= end) continue;
      if (best < 0 || crossing[at]! < crossing[best]!) best = at;
    }
    if (best < 0) continue;
    cuts.push(best);
    first = best;
  }
  return cuts.slice(1).map((cut, i) => ({ start: cuts[i]!, end: cut }));
}

function namedParts({ program, end }: Forward, names: readonly string[]): Part[] {
  const scopes = program.ops.slice(0, end).map(({ scope }) => scope);
  return names.map((name) => {
    const within = (scope: string): boolean => scope === name || scope.startsWith(`${name}/`);
    const start = scopes.findIndex(within);
    if (start < 0) {
      const known = [...new Set(scopes.filter((scope) => scope !== ""))];
      throw new ProgramError(
        `recompute: no op of the forward pass stands in scope "${name}"; there are ${known.join(", ")}`,
      );
    }
    return { start, end: scopes.findLastIndex(within) + 1 };
  });
}
