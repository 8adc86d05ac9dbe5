// From a model of the engine benchmark to its plan, timed, in a process of its own where nothing is compiled yet. Run as
// `node engine-plan.ts MODEL BATCH [--recompute] [--run RUNS]`; prints one JSON object.
import { parseArgs } from "node:util";
import { bindPlan } from "../../src/engine/executor.ts";
import { bind, type Device, prepare, scratchBytes } from "../../src/engine/index.ts";
import { attachProvider, selectProvider } from "../../src/engine/providers/index.ts";
import { Heap } from "../../src/memory/index.ts";
import { crossEntropy } from "../../src/nn/index.ts";
import { updateRule } from "../../src/optim/index.ts";
import { optimize } from "../../src/passes/index.ts";
import { differentiate, placeUpdates, plan, trace } from "../../src/program/index.ts";
import { type EngineModel, engineRecipes } from "./engine-recipes.ts";

/** What the process prints. Times in milliseconds. */
export interface PlanFigures {
  readonly trace: number;
  readonly differentiate: number;
  readonly optimize: number;
  readonly plan: number;
  readonly compile: number;
  readonly arenaBytes: number;
  readonly arenaLowerBound: number;
  readonly instructions: number;
  /** With `--run`: a run of the plan, and one whose instructions do nothing; the least of some. */
  readonly run?: { readonly step: number; readonly empty: number };
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { recompute: { type: "boolean" }, run: { type: "string" } },
});
const recipe = engineRecipes[positionals[0] as EngineModel];
const batch = Number(positionals[1]);
const rows = recipe.rows(batch, batch);
const heap = Heap.create();
// Measuring which way a product is fastest is not planning: the rules choose.
const provider = attachProvider(heap, { ...selectProvider(heap).describe(), byRule: true });

const times: number[] = [performance.now()];
const lap = <T>(value: T): T => {
  times.push(performance.now());
  return value;
};
const inputs = Object.fromEntries(rows.layout.columns.map(({ name, shape, dtype }) => [name, { shape, dtype }]));
const model = recipe.model();
const forward = lap(
  trace((columns, ctx) => ({ loss: crossEntropy(model.forward(columns, ctx), columns.label!).mean() }), {
    inputs,
    training: true,
  }),
);
const differentiated = lap(differentiate(forward, { loss: "loss" }));
const step = placeUpdates(differentiated, {
  parameter: (_, { trainable }) => (trainable ? updateRule(recipe.optimizer, "default") : undefined),
  field: () => {
    throw new Error("no model of this benchmark has a table");
  },
});
const program = lap(optimize(step, values.recompute ? { recompute: { segments: "auto" } } : {}));
const planned = lap(plan(program, { scratch: (op) => scratchBytes(op, provider) }));
const prepared = lap(prepare(planned));

const between = (lapIndex: number): number => times[lapIndex]! - times[lapIndex - 1]!;
const figures: PlanFigures = {
  trace: between(1),
  differentiate: between(2),
  optimize: between(3),
  plan: between(4),
  compile: between(5),
  arenaBytes: planned.arenaBytes,
  arenaLowerBound: planned.arenaLowerBound,
  instructions: planned.instructions.length,
  ...(values.run === undefined ? {} : { run: measure(Number(values.run)) }),
};
console.log(JSON.stringify(figures));

/** On zeros, with which every instruction does the same work as on other numbers. */
function measure(runs: number): { step: number; empty: number } {
  const [arena, shared] = [heap.alloc(planned.arenaBytes), heap.alloc(planned.sharedBytes)];
  heap.f32(shared, planned.sharedBytes / 4).fill(0);
  heap.f32(arena, planned.arenaBytes / 4).fill(0);
  const executable = bind(prepared, { heap, provider, arena, shared });
  let done = 0;
  const bindNothing: Device["bind"] = () => [() => void done++];
  const nothing = Object.assign(Object.create(null) as Device, { bind: bindNothing });
  const idle = bindPlan(planned, nothing, ({ offset }) => offset, { checkFinite: false });
  const least = { step: Number.POSITIVE_INFINITY, empty: Number.POSITIVE_INFINITY };
  const time = (run: () => void): number => {
    const start = performance.now();
    run();
    return performance.now() - start;
  };
  for (let i = 0; i < runs; i++) {
    least.step = Math.min(least.step, time(executable.run));
    least.empty = Math.min(least.empty, time(idle.run));
  }
  return least;
}
