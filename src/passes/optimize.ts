// The passes in their order. DEBUG=2 prints the program before and after, DEBUG=3 after each pass too.
import type { Program } from "../program/ir.ts";
import { print, summarize } from "../program/print.ts";
import { hoistUpdates, sinkUpdates } from "../program/schedule.ts";
import { absorbTransposes } from "./absorb-transposes.ts";
import { eliminateCommonSubexpressions } from "./common-subexpressions.ts";
import { eliminateDeadCode } from "./dead-code.ts";
import { compact } from "./edit.ts";
import { foldConstants } from "./fold-constants.ts";
import { fuse } from "./fuse.ts";
import { fuseMatmul } from "./fuse-matmul.ts";
import { type LowerOptions, lower } from "./lower.ts";
import { type RecomputeOptions, recompute } from "./recompute.ts";
import { simplifyMatmul } from "./simplify-matmul.ts";

/** An equivalent program. */
export type Pass = (program: Program) => Program;

const passesFor = (options: LowerOptions): readonly (readonly [name: string, pass: Pass])[] => [
  ["updates last", sinkUpdates],
  ["transposes", absorbTransposes],
  ["dead code", eliminateDeadCode],
  ["constants", foldConstants],
  ["common subexpressions", eliminateCommonSubexpressions],
  ["simpler matmuls", simplifyMatmul],
  ["matmul epilogues", fuseMatmul],
  ["lowering", (program) => lower(program, options)],
  ["fusion", fuse],
  ["constants of fused ops", foldConstants],
  ["common subexpressions of fused ops", eliminateCommonSubexpressions],
];

export interface OptimizeOptions extends LowerOptions {
  /** Compute parts of the forward pass again in the backward pass, to save memory; default: keep everything. */
  readonly recompute?: RecomputeOptions;
}

/**
 * Makes a program faster without changing what it computes. Derivatives that maps carry are spent: differentiate first.
 */
export function optimize(program: Program, options: OptimizeOptions = {}): Program {
  const level = Number(process.env.DEBUG ?? 0);
  const { recompute: again } = options;
  const list: (readonly [name: string, pass: Pass])[] = [...passesFor(options)];
  // After fusion, so that what runs twice are the same kernels; before updates overwrite what the copies read.
  if (again !== undefined) list.push(["recompute", (before) => recompute(before, again)]);
  list.push(["updates early", hoistUpdates]);
  if (level >= 2) console.error(`# traced: ${summarize(program)}\n${print(program)}`);
  const reduced = list.reduce((before, [name, pass]) => {
    const after = pass(before);
    if (level >= 2) console.error(`# ${name}: ${summarize(after)}\n${level >= 3 ? print(after) : ""}`);
    return after;
  }, program);
  const optimized = compact(reduced);
  if (level >= 2) console.error(`# optimized\n${print(optimized)}`);
  return optimized;
}
