// Steps of the engine benchmark's models beside those of its peers: the systems take turns, round by round, on batches of
// one size.
import { type EngineModel, type EngineRecipe, engineRecipes } from "./engine-recipes.ts";
import { type EngineSystem, type FlotillaOptions, openFlotilla, openScripted, openTorch } from "./engine-systems.ts";
import type { Environment } from "./python.ts";
import { atLeast, type BenchGoal, type BenchRow, counted, median, ratio, say } from "./report.ts";

/** PyTorch, where this machine has it, with the settings that make it fastest. */
export interface TorchPeer {
  readonly python: string;
  readonly environment: Environment;
}

export interface EnginePart {
  readonly rounds: number;
  readonly torch: TorchPeer | undefined;
  readonly rows: BenchRow[];
  readonly goals: BenchGoal[];
}

const THREADS = [1, 2];
/** Times a peer's speed. */
const GOAL = 1.2;
/** Times the speed of single precision. */
const HALF_GOAL = 1.7;

/** Seconds a step, one list a system, one number a round. */
async function takeTurns(systems: readonly EngineSystem[], rounds: number): Promise<number[][]> {
  const seconds: number[][] = systems.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, system] of systems.entries()) {
      const step = await system.step();
      seconds[i]!.push(step);
      say(`  ${system.name}: ${(1000 * step).toFixed(2)} ms`);
    }
  }
  return seconds;
}

/** One training step of a model on 1 and 2 threads. */
export async function measureSteps(model: EngineModel, part: EnginePart): Promise<void> {
  const { torch, rows, goals } = part;
  const { title, repeats = 1 }: EngineRecipe = engineRecipes[model];
  const rounds = repeats * part.rounds;
  for (const threads of THREADS) {
    say(`${title}, ${counted(threads, "thread")}`);
    const systems = [await openFlotilla(model, { threads })];
    if (torch !== undefined) {
      systems.push(await openTorch(torch.python, model, { threads, environment: torch.environment }));
    }
    if (model === "mlp" && threads === 1) systems.push(...(await openScripted()));
    const seconds = await takeTurns(systems, rounds);
    for (const system of systems) await system.close();
    for (const [i, { name, peer }] of systems.entries()) {
      rows.push({ system: name, metric: title, value: 1000 * median(seconds[i]!), unit: "ms/step" });
      if (peer === undefined) continue;
      const times = ratio(seconds[i]!, seconds[0]!);
      goals.push(atLeast(`${title}, ${counted(threads, "thread")}: times ${peer}'s speed`, times, GOAL));
    }
  }
}

/** What a switch of the strategy does to the time of a step on one thread: the times without it and with it. */
async function compare(model: EngineModel, rounds: number, ...options: FlotillaOptions[]): Promise<number[][]> {
  const systems: EngineSystem[] = [];
  for (const each of options) systems.push(await openFlotilla(model, each));
  const seconds = await takeTurns(systems, rounds);
  for (const system of systems) await system.close();
  return seconds;
}

/** Mixed precision against single precision; PyTorch's autocast beside it. */
export async function measureHalf(model: EngineModel, part: EnginePart): Promise<void> {
  const { torch, rows, goals, rounds } = part;
  const { title } = engineRecipes[model];
  say(`${title}, bf16`);
  const f32 = { threads: 1 };
  const bf16 = { threads: 1, strategy: { amp: "bf16" as const } };
  const [single, half] = await compare(model, rounds, f32, bf16);
  const rowOf = (system: string, seconds: readonly number[]): BenchRow => {
    return { system, metric: title, value: 1000 * median(seconds), unit: "ms/step" };
  };
  rows.push(rowOf("flotilla onednn, 1 thread", single!));
  rows.push(rowOf("flotilla onednn, 1 thread, bf16", half!));
  goals.push(atLeast(`${title}, bf16: times the speed of f32`, ratio(single!, half!), HALF_GOAL));
  if (torch === undefined) return;
  const peer = await openTorch(torch.python, model, { threads: 1, environment: torch.environment, bf16: true });
  const [seconds] = await takeTurns([peer], rounds);
  await peer.close();
  rows.push(rowOf(peer.name, seconds!));
}

/** The share of its speed that a model keeps when it recomputes, as the loss in percent. */
export async function recomputeLoss(model: EngineModel, rounds: number): Promise<number> {
  say(`${engineRecipes[model].title}, recompute`);
  const strategy = { recompute: { segments: "auto" as const } };
  const [plain, again] = await compare(model, rounds, { threads: 1 }, { threads: 1, strategy });
  return 100 * (1 - ratio(plain!, again!));
}
