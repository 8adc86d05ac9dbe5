// Preparing a plan on the main thread: everything that must be compiled is compiled once, and the result can be posted
// to every trainer thread.
import { type CompiledKernels, compileKernels, type Kernel, type UpdateRule } from "../kernels/index.ts";
import type { AddressType } from "../memory/index.ts";
import type { TableLayout } from "../table/index.ts";
import { debugLevel, printInstructions } from "./debug.ts";
import { elementwiseKernel } from "./ops/elementwise.ts";
import { rowUpdateKernels } from "./ops/scatter.ts";
import type { Plan } from "./plan.ts";

/** How the rows of a table are updated: a rule for each field that receives gradients. */
export type TableRules = Readonly<Record<string, UpdateRule>>;

/** A plan with its compiled kernels: plain data and one module, for `postMessage`. */
export interface Prepared {
  readonly plan: Plan;
  readonly compiled: CompiledKernels;
  /** For each instruction, which of the compiled kernels are its own. */
  readonly kernels: readonly (readonly number[])[];
  readonly rules: Readonly<Record<string, TableRules>>;
}

export interface PrepareOptions {
  /** That of the heap on which the plan will run; default `i32`. */
  readonly addressType?: AddressType;
  /** Layouts of the tables that the plan updates. */
  readonly layouts?: Readonly<Record<string, TableLayout>>;
  /** Update rules by table and field. */
  readonly rules?: Readonly<Record<string, TableRules>>;
}

/**
 * Compiles the kernels of a plan. With `DEBUG=1` the instructions are printed.
 * @throws InstructionError when an instruction's shapes do not fit its kind, or a table's layout or rule is missing.
 */
export function prepare(plan: Plan, options: PrepareOptions = {}): Prepared {
  const { addressType, layouts = {}, rules = {} } = options;
  const all: Kernel[] = [];
  if (debugLevel() >= 1) printInstructions(plan);
  const kernels = plan.instructions.map((instruction) => {
    const elementwise = elementwiseKernel(instruction);
    const own = elementwise === undefined ? rowUpdateKernels(instruction, layouts, rules) : [elementwise];
    return own.map((kernel) => all.push(kernel) - 1);
  });
  return { plan, compiled: compileKernels(all, addressType), kernels, rules };
}
