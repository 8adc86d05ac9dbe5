// Data-parallel training steps: on four hosts with slow links, technique by technique; and on two cores beside one.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Coordinator, environmentOf, type World } from "../../src/cluster/index.ts";
import type { StrategyOptions } from "../../src/fleet/index.ts";
import { type TrainingModel, trainingRecipes } from "./collective-recipes.ts";
import type { CollectiveMeasured, CollectiveScript } from "./collective-script.ts";
import { atLeast, atMost, type BenchGoal, type BenchRow, median, ratio, say } from "./report.ts";
import { type SlowHost, slowNetworkProblem, withSlowNetwork } from "./slow-network.ts";

const script = fileURLToPath(new URL("./collective-script.ts", import.meta.url));
const HOSTS = 4;
/** Half a minute after it started V8 collects twice to give memory back: once in a training, a tenth of what is timed here. */
const NODE_FLAGS = ["--no-memory-reducer"];
/** Ranks that have just compiled are slower for some steps, and not in step yet. */
const WARM_UP = 8;
/** Ranks with cores of their own soon are in step: what takes them some steps is to touch all of their memory once. */
const CORES_WARM_UP = 3;

export interface TrainingPart {
  readonly rows: BenchRow[];
  readonly goals: BenchGoal[];
}

/** A rank: where it runs. */
type Place = Pick<SlowHost, "command"> & { readonly ip?: string };

/** Runs a job of a rank a place; what each measured. */
async function train(places: readonly Place[], options: Omit<CollectiveScript, "out">): Promise<CollectiveMeasured[]> {
  const folder = mkdtempSync(join(tmpdir(), "flotilla-bench-"));
  const out = join(folder, "result");
  const workers = places.length;
  // Four ranks that compile on two cores have no ear for anything else.
  const silenceMs = 120_000;
  const coordinator = await Coordinator.start({ address: `unix://${folder}/c`, workers, servers: 0, silenceMs });
  const common = { job: "bench", role: "worker", workers, servers: 0, coordinator: coordinator.address } as const;
  const children: ChildProcess[] = [];
  try {
    const ranks = places.map(({ command, ip }, rank) => {
      const world: World = { ...common, rank, attempt: 0, folder, ...(ip && { host: ip, trustedNetwork: true }) };
      const words = [
        ...command,
        process.execPath,
        ...NODE_FLAGS,
        script,
        JSON.stringify({ ...options, out } satisfies CollectiveScript),
      ];
      const [program, ...args] = words as [string, ...string[]];
      const env = { ...process.env, ...environmentOf(world) };
      const child = spawn(program, args, { env, stdio: ["ignore", "ignore", "inherit"] });
      children.push(child);
      return new Promise<void>((resolve, reject) =>
        child.on("exit", (code) =>
          code === 0 ? resolve() : reject(new Error(`rank ${rank} ended with code ${code}`)),
        ),
      );
    });
    await Promise.all(ranks);
    return places.map((_, rank) => JSON.parse(readFileSync(`${out}.${rank}`, "utf8")) as CollectiveMeasured);
  } finally {
    for (const child of children) child.kill();
    await coordinator.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Technique {
  readonly name: string;
  readonly strategy: StrategyOptions;
  /** Steps of which one exchanges. */
  readonly every?: number;
}

const UNFUSED = "baseline: each gradient by itself, after the backward pass";
const FUSED = "+ fusion";
const OVERLAP = "+ overlap";
const HALF = "+ half precision";
const DGC = "DGC 99.9 %";
const DGC_HALF = "DGC 99.9 %, half precision";

const BASELINE: StrategyOptions = { overlap: false, fuseBytes: 4, lastBucketBytes: 0 };
const dgc = { sparsity: [0.999], rampupSteps: 1 };
const techniques: readonly Technique[] = [
  { name: UNFUSED, strategy: BASELINE },
  { name: FUSED, strategy: { overlap: false } },
  { name: OVERLAP, strategy: {} },
  { name: HALF, strategy: { wire: "bf16" } },
  { name: DGC, strategy: { dgc } },
  { name: DGC_HALF, strategy: { dgc, wire: "bf16" } },
  { name: "LocalSGD, 4 steps", strategy: { localSGD: { steps: 4 } }, every: 4 },
  { name: "LocalSGD, 8 steps", strategy: { localSGD: { steps: 8 } }, every: 8 },
];

export interface SlowTraining {
  readonly model: TrainingModel;
  readonly mbit: number;
  /** Rows of a rank's step; where they are balanced, those that are tried first. */
  readonly batch: number;
  /** Takes as many rows as this machine computes while the gradients are on the wire: what overlap can gain most by. */
  readonly balanced?: boolean;
  /** Steps that are measured, of techniques that exchange in each. */
  readonly steps: number;
  /** How often baseline and overlap are measured, in turns, for medians; default once. */
  readonly rounds?: number;
  /** Techniques that exchange in each step, those that do not, or all (default): on a slow network each takes a minute. */
  readonly exchanging?: "always" | "sometimes";
}

/** As many steps as wished, in periods of `every`, of which there is one at least. */
const wholePeriods = (steps: number, every: number): number => every * Math.max(1, Math.floor(steps / every));

/** What the first of four hosts measured. */
async function onSlowHosts(mbit: number, options: Omit<CollectiveScript, "out">): Promise<CollectiveMeasured> {
  const [first] = await withSlowNetwork({ hosts: HOSTS, rate: `${mbit}mbit` }, (hosts) => train(hosts, options));
  return first!;
}

/** Rows of a rank whose step computes no longer than its whole gradients are on the wire. */
async function balancedBatch({ model, mbit, batch, steps }: SlowTraining): Promise<number> {
  say(`${trainingRecipes[model].title}: how many rows are computed while gradients are on a wire of ${mbit} Mbit`);
  const { secondsAStep, bytesAStep } = await onSlowHosts(mbit, {
    ...{ model, batch, warmUp: Math.min(steps, WARM_UP), steps: Math.ceil(steps / 2) },
    strategy: { mode: "collective", ...BASELINE },
  });
  const wire = (8 * bytesAStep) / (mbit * 1e6);
  return Math.max(1, Math.floor((batch * wire) / (secondsAStep - wire)));
}

/** Steps of a model on four hosts, with each technique. */
export async function slowTraining(options: SlowTraining): Promise<TrainingPart> {
  const { model, mbit, steps, rounds = 1, exchanging } = options;
  const problem = slowNetworkProblem();
  if (problem !== undefined) {
    say(`slow networks are left out: ${problem}`);
    return { rows: [], goals: [] };
  }
  const batch = options.balanced ? await balancedBatch(options) : options.batch;
  const metric = `${trainingRecipes[model].title}, batch ${HOSTS} × ${batch}, ${HOSTS} hosts at ${mbit} Mbit`;
  say(metric);
  const rows: BenchRow[] = [];
  const measured = new Map<string, CollectiveMeasured>();
  const seconds = new Map<string, number[]>();
  const chosen = techniques.filter(
    ({ every }) => exchanging === undefined || (exchanging === "always") === (every === undefined),
  );
  const again = chosen.filter(({ name }) => name === UNFUSED || name === OVERLAP);
  const runs = [...Array.from({ length: rounds - 1 }, () => again).flat(), ...chosen];
  for (const { name, strategy, every = 1 } of runs) {
    const first = await onSlowHosts(mbit, {
      ...{ model, batch, warmUp: wholePeriods(Math.min(steps, WARM_UP), every), steps: wholePeriods(steps, every) },
      strategy: { mode: "collective", ...strategy },
    });
    const times = [...(seconds.get(name) ?? []), first.secondsAStep];
    seconds.set(name, times);
    const result = { ...first, secondsAStep: median(times) };
    say(
      `  ${name}: ${Math.round(1000 * first.secondsAStep)} ms, ${(result.bytesAStep / 1e6).toFixed(2)} MB, ${Math.round(100 * result.hidden)} % hidden`,
    );
    measured.set(name, result);
  }
  for (const [name, result] of measured) {
    const add = (what: string, value: number, unit: string): void => {
      rows.push({ system: name, metric: `${metric}: ${what}`, value, unit });
    };
    add("a step", 1000 * result.secondsAStep, "ms");
    add("sent a step and rank", result.bytesAStep / 1e6, "MB");
    add("times fewer bytes than whole gradients", result.denseBytesAStep / result.bytesAStep, "");
    add("communication hidden", 100 * result.hidden, "%");
  }
  if (exchanging === "sometimes") return { rows, goals: [] };
  const of = (name: string): CollectiveMeasured => measured.get(name)!;
  const times = (slow: string, fast: string): number => ratio(seconds.get(slow)!, seconds.get(fast)!);
  const fewer = (name: string): number => of(name).denseBytesAStep / of(name).bytesAStep;
  const halved = of(HALF).bytesAStep / of(OVERLAP).bytesAStep;
  const goals = [
    // Where the network takes many times as long as the arithmetic, there is nothing to hide it behind.
    ...(mbit < 1000
      ? []
      : [atLeast(`${metric}: fusion and overlap, times the baseline's speed`, times(UNFUSED, OVERLAP), 1.5)]),
    // The numbers of the rows of an embedding, a thousandth of what is in them, are not halved.
    atMost(`${metric}: bytes in half precision, per mille of all`, Math.round(1000 * halved), 500),
    ...(mbit > 100
      ? []
      : [atLeast(`${metric}: DGC in half precision, times the baseline's speed`, times(UNFUSED, DGC_HALF), 5)]),
    atLeast(`${metric}: DGC in half precision, times fewer bytes`, fewer(DGC_HALF), 250),
  ];
  return { rows, goals };
}

const ONE = "1 rank, 1 thread";
const TWO = "2 ranks of 1 thread";
const APART = "2 jobs of 1 rank side by side";
const SLOWER = "twice the slower of these";

/**
 * Two ranks on two cores beside one, and beside two jobs of one rank that know nothing of each other: what the machine allows.
 * Steps in common go at the pace of the slower core, so twice the slower job is the most that two ranks can reach.
 */
export async function twoRanks(
  { model, batch, steps }: Pick<SlowTraining, "model" | "batch" | "steps">,
  goal: number,
  rounds: number,
): Promise<TrainingPart> {
  const metric = `${trainingRecipes[model].title}, batch ${batch} a rank`;
  say(metric);
  const options = { model, batch, warmUp: CORES_WARM_UP, steps, strategy: { mode: "collective" } } as const;
  const here: Place = { command: [] };
  const rowsASecond = async (places: readonly Place[]): Promise<number> =>
    (await train(places, options)).reduce((sum, rank) => sum + rank.rowsASecond, 0);
  const rates = new Map<string, number[]>();
  const add = (system: string, rate: number): void => {
    rates.set(system, [...(rates.get(system) ?? []), rate]);
    say(`  ${system}: ${rate.toFixed(2)} rows/s`);
  };
  for (let round = 0; round < rounds; round++) {
    add(ONE, await rowsASecond([here]));
    add(TWO, await rowsASecond([here, here]));
    const [first, second] = await Promise.all([rowsASecond([here]), rowsASecond([here])]);
    add(APART, first + second);
    add(SLOWER, 2 * Math.min(first, second));
  }
  return {
    rows: [...rates].map(([system, values]) => ({ system, metric, value: median(values), unit: "rows/s" })),
    goals: [atLeast(`${metric}: 2 ranks, times the speed of one`, ratio(rates.get(TWO)!, rates.get(ONE)!), goal)],
  };
}
