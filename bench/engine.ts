// The engine on whole models: one training step beside its peers', what bf16 and recompute bring, what planning and the
// executor take.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { tune } from "./lib/ctr-torch.ts";
import type { PlanFigures } from "./lib/engine-plan.ts";
import { type EngineModel, engineRecipes } from "./lib/engine-recipes.ts";
import { type EnginePart, measureHalf, measureSteps, recomputeLoss, type TorchPeer } from "./lib/engine-speed.ts";
import { findPython } from "./lib/python.ts";
import { atLeast, atMost, type BenchOptions, type BenchResult, median, say } from "./lib/report.ts";

const ROUNDS = 3;
const PLANNED: readonly { readonly model: EngineModel; readonly goal: number }[] = [
  { model: "resnet50", goal: 300 },
  { model: "bert", goal: 500 },
];
const script = fileURLToPath(new URL("lib/engine-plan.ts", import.meta.url));

type EnginePartName = EngineModel | "planning" | "executor" | "half" | "recompute";

const measures: Readonly<Record<EnginePartName, (part: EnginePart) => void | Promise<void>>> = {
  planning,
  executor,
  mlp: (part) => measureSteps("mlp", part),
  resnet50: (part) => measureSteps("resnet50", part),
  vgg16: (part) => measureSteps("vgg16", part),
  bert: (part) => measureSteps("bert", part),
  lstm: (part) => measureSteps("lstm", part),
  half: async (part) => {
    await measureHalf("resnet50", part);
    await measureHalf("bert", part);
  },
  recompute,
};

/** What `--only` picks from. */
export const parts: readonly string[] = Object.keys(measures);

const QUICK: readonly string[] = ["planning", "executor", "mlp"];

export async function run({ quick = false, only }: BenchOptions = {}): Promise<BenchResult> {
  const part: EnginePart = { rounds: quick ? 1 : ROUNDS, torch: await findTorch(), rows: [], goals: [] };
  const chosen = only ?? (quick ? QUICK : parts);
  for (const [name, measure] of Object.entries(measures)) {
    if (chosen.includes(name)) await measure(part);
  }
  return { rows: part.rows, goals: part.goals };
}

async function findTorch(): Promise<TorchPeer | undefined> {
  const found = findPython(["torch"]);
  if ("path" in found) return { python: found.path, environment: (await tune(found.path)).environment };
  say(`PyTorch left out: ${found.missing}`);
  return undefined;
}

function planOf(model: EngineModel, batch: number = engineRecipes[model].batch, ...args: string[]): PlanFigures {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, model, String(batch), ...args], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`planning ${model} failed:\n${stderr}`);
  return JSON.parse(stdout) as PlanFigures;
}

/** Each time in a process of its own: a program is planned once, with nothing compiled yet. */
function planning({ rounds, rows, goals }: EnginePart): void {
  for (const { model, goal } of PLANNED) {
    const { title } = engineRecipes[model];
    const runs = Array.from({ length: rounds }, () => planOf(model));
    for (const metric of ["trace", "differentiate", "optimize", "plan", "compile"] as const) {
      const value = median(runs.map((figures) => figures[metric]));
      rows.push({ system: title, metric, value, unit: "ms" });
    }
    const whole = median(runs.map((it) => it.trace + it.differentiate + it.optimize + it.plan));
    goals.push(atMost(`${title}: trace, differentiate, optimize and plan, ms`, whole, goal));
    const [{ arenaBytes, arenaLowerBound }] = runs as [PlanFigures];
    rows.push({ system: title, metric: "activations", value: arenaBytes / 2 ** 20, unit: "MiB" });
    goals.push(atMost(`${title}: peak memory over the liveness bound`, arenaBytes / arenaLowerBound, 1.1));
  }
}

/** The smallest steps have the largest share of it. */
function executor({ rows, goals }: EnginePart): void {
  const { title } = engineRecipes.mlp;
  const { run } = planOf("mlp", undefined, "--run", "300");
  if (run === undefined) return;
  rows.push({ system: title, metric: "executor", value: 1000 * run.empty, unit: "µs/step" });
  goals.push(atMost(`${title}: executor's share of a step, percent`, (100 * run.empty) / run.step, 3));
}

/** The largest batch whose activations fit where those of the recipe's batch fit without recompute, and what it costs. */
async function recompute({ rounds, rows, goals }: EnginePart): Promise<void> {
  const { title, batch } = engineRecipes.bert;
  const budget = planOf("bert").arenaBytes;
  let times = 1;
  while (planOf("bert", (times + 1) * batch, "--recompute").arenaBytes <= budget) times++;
  rows.push({ system: title, metric: "largest batch with recompute", value: times * batch, unit: "rows" });
  goals.push(atLeast(`${title}: times the batch with recompute in the same memory`, times, 4));
  goals.push(atMost(`${title}: speed lost by recompute, percent`, await recomputeLoss("bert", rounds), 25));
}
