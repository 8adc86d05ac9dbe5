// Training on hosts with slow links: a step split into computing, waiting and the wire, and how much of the wire each mode
// hides behind computing.
import { optim } from "../../src/index.ts";
import { recipe } from "./ctr-recipe.ts";
import { type PsJob, runPsJob, totalOf } from "./ps-job.ts";
import type { PsMeasured } from "./ps-script.ts";
import { ctrJob } from "./ps-training.ts";
import { atLeast, type BenchGoal, type BenchResult, type BenchRow, say } from "./report.ts";
import { slowNetworkProblem, withSlowNetwork } from "./slow-network.ts";

const MBIT = 1000;
/** A link that is never full here. */
const FAST_MBIT = 40_000;
/** With its server that is two hosts, which have a core each: several workers would mostly wait for a processor here. */
const WORKERS = 1;
const HIDDEN = 0.8;

const sgd = optim.sgd({ lr: 0.05 });
const durability = "none";
/** Rows come over the same link as dense weights, which take longer than a batch. */
const prefetch = 4;
const modes: readonly (Pick<PsJob, "strategy"> & Partial<Pick<PsJob, "optimizer">> & { readonly hides: boolean })[] = [
  { strategy: { mode: "sync", durability }, hides: false },
  { strategy: { mode: "half-async", durability }, hides: false },
  { strategy: { mode: "async", durability, prefetch }, hides: true },
  { strategy: { mode: "async", durability, prefetch, wire: "f16" }, hides: true },
  { strategy: { mode: "geo", durability, geo: { every: 25 } }, optimizer: sgd, hides: true },
];

/** Milliseconds of one step of a worker. */
interface Step {
  readonly all: number;
  readonly waiting: number;
  /** What the bytes of a step take on the link, one direction after the other: what a step waits for that hides nothing. */
  readonly wire: number;
}

function stepOf(all: readonly PsMeasured[]): Step {
  const steps = all.reduce((sum, { samples }) => sum + samples, 0) / recipe.batch / WORKERS;
  const bits = 8 * (totalOf(all, "pushedBytes") + totalOf(all, "pulledBytes"));
  return {
    all: (1000 * Math.max(...all.map(({ seconds }) => seconds))) / steps,
    waiting: totalOf(all, "waitedMs") / WORKERS / steps,
    wire: bits / (MBIT * 1e3) / steps,
  };
}

export async function psNetwork(quick: boolean): Promise<BenchResult> {
  const problem = slowNetworkProblem();
  if (problem !== undefined) {
    say(`the slow network is left out: ${problem}`);
    return { rows: [], goals: [] };
  }
  const job = { ...ctrJob(quick ? 20_000 : 100_000), warmUp: 1, workers: WORKERS, servers: 1, threads: 1 };
  const over = (mbit: number, mode: (typeof modes)[number]): Promise<Step> =>
    withSlowNetwork({ hosts: 1 + WORKERS, rate: `${mbit}mbit` }, async (hosts) =>
      stepOf(await runPsJob({ ...job, ...mode, hosts })),
    );
  const rows: BenchRow[] = [];
  const goals: BenchGoal[] = [];
  for (const mode of modes) {
    const { mode: name, wire = "f32" } = mode.strategy;
    const system = `${name}${wire === "f32" ? "" : `, ${wire}`}`;
    const fast = await over(FAST_MBIT, mode);
    const slow = await over(MBIT, mode);
    // By how much longer trainers wait: what others compute at the same time makes steps longer, but is not the wire.
    const hidden = 1 - Math.max(0, slow.waiting - fast.waiting) / slow.wire;
    const add = (metric: string, value: number, unit: string): void => {
      rows.push({ system, metric: `${metric}, a server and a worker at ${MBIT} Mbit`, value, unit });
    };
    add("a step", slow.all, "ms");
    add("of it computing", slow.all - slow.waiting, "ms");
    add("of it waiting", slow.waiting, "ms");
    add("bytes of a step on the wire", slow.wire, "ms");
    add("a step without limits of the network", fast.all, "ms");
    add("of the wire hidden", 100 * hidden, "%");
    say(
      `${system}: ${slow.all.toFixed(1)} ms a step, ${slow.waiting.toFixed(1)} waiting, wire ${slow.wire.toFixed(1)}; without limits ${fast.all.toFixed(1)}, ${fast.waiting.toFixed(1)} waiting; ${Math.round(100 * hidden)} % hidden`,
    );
    if (mode.hides) goals.push(atLeast(`share of the wire that ${system} hides at ${MBIT} Mbit`, hidden, HIDDEN));
  }
  return { rows, goals };
}
