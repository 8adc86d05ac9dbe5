// All-reduce: between processes beside Open MPI, between threads beside copying, and over slow networks beside their rates;
// training steps over slow networks, technique by technique, and on two cores beside one.
import { Worker } from "node:worker_threads";
import { createThreadGroup, type Links } from "../src/collective/index.ts";
import { type Measured, measureCollectives, type TimedCall } from "../src/collective/measure/index.ts";
import { Heap } from "../src/memory/index.ts";
import { mpiAllReduce } from "./lib/collective-mpi.ts";
import type { TrainingModel } from "./lib/collective-recipes.ts";
import { type SlowTraining, slowTraining, twoRanks } from "./lib/collective-training.ts";
import type { CopyTask } from "./lib/copy-thread.ts";
import {
  atLeast,
  atMost,
  type BenchGoal,
  type BenchOptions,
  type BenchResult,
  type BenchRow,
  median,
  say,
} from "./lib/report.ts";
import { type SlowHost, slowNetworkProblem, withSlowNetwork } from "./lib/slow-network.ts";

const MIB = 2 ** 20;
const HOSTS = 4;
const MBIT = 1e6 / 8;
const PORT = 42_100;
const SMALL_TIMES = 25;

const reduce = (count: number, algorithm: TimedCall["algorithm"], times: number, groupSize?: number): TimedCall => ({
  collective: "all-reduce",
  count,
  algorithm,
  times,
  ...(groupSize === undefined ? {} : { groupSize }),
});
const rate = (count: number, seconds: number): number => (4 * count) / 1e6 / seconds;
const row = (system: string, metric: string, value: number, unit = "MB/s"): BenchRow => ({
  system,
  metric,
  value,
  unit,
});

interface Part {
  readonly rows: BenchRow[];
  readonly goals: BenchGoal[];
}

/** Of all-reduce: elements and repetitions. */
const sizes = (quick: boolean): [count: number, times: number] => (quick ? [MIB, 3] : [16 * MIB, 9]);

/** Steps that are all wire: one of each technique, of few rows. */
const tiny = (model: TrainingModel, quick: boolean) => ({ model, mbit: 100, batch: quick ? 1 : 4, steps: 1 });

/** Steps that compute about as long as the gradients are on the wire. */
const balanced = (
  model: TrainingModel,
  quick: boolean,
  whole: Pick<SlowTraining, "batch" | "steps" | "rounds">,
): SlowTraining => ({ model, mbit: 1000, ...(quick ? { batch: 1, steps: 1 } : { ...whole, balanced: true }) });

const measures: Readonly<Record<string, (quick: boolean) => Promise<Part>>> = {
  processes: (quick) => betweenProcesses(...sizes(quick)),
  threads: (quick) => betweenThreads(...sizes(quick)),
  networks: overSlowNetworks,
  "resnet50-1000": (quick) => slowTraining(balanced("resnet50", quick, { batch: 32, steps: 12, rounds: 5 })),
  "resnet50-100": (quick) => slowTraining({ ...tiny("resnet50", quick), exchanging: "always" }),
  "resnet50-100-local": (quick) => slowTraining({ ...tiny("resnet50", quick), exchanging: "sometimes" }),
  "bert-1000": (quick) => slowTraining(balanced("bert", quick, { batch: 8, steps: 16, rounds: 3 })),
  "bert-100": (quick) => slowTraining({ ...tiny("bert", quick), exchanging: "always" }),
  "bert-100-local": (quick) => slowTraining({ ...tiny("bert", quick), exchanging: "sometimes" }),
  "cores-resnet50": (quick) =>
    twoRanks({ model: "resnet50full", batch: quick ? 1 : 16, steps: quick ? 1 : 5 }, 1.9, quick ? 1 : 3),
  "cores-bert": (quick) =>
    twoRanks({ model: "bertbase", batch: quick ? 1 : 16, steps: quick ? 1 : 3 }, 1.85, quick ? 1 : 2),
};

/** What `--only` picks from. */
export const parts: readonly string[] = Object.keys(measures);

const QUICK: readonly string[] = ["processes", "threads", "networks"];

export async function run({ quick = false, only }: BenchOptions = {}): Promise<BenchResult> {
  const chosen = only ?? (quick ? QUICK : parts);
  const done: Part[] = [];
  for (const [name, measure] of Object.entries(measures)) if (chosen.includes(name)) done.push(await measure(quick));
  return { rows: done.flatMap(({ rows }) => rows), goals: done.flatMap(({ goals }) => goals) };
}

async function betweenProcesses(count: number, times: number): Promise<Part> {
  const rows: BenchRow[] = [];
  const goals: BenchGoal[] = [];
  for (const ranks of [2, 4]) {
    const metric = `all-reduce ${(4 * count) / MIB} MiB, ${ranks} processes`;
    const [inPlace, window] = await measureCollectives({
      ranks,
      transport: "shared",
      calls: [reduce(count, "auto", times), reduce(count, "direct", times)],
    });
    const [unix] = await measureCollectives({ ranks, transport: "unix", calls: [reduce(count, "ring", times)] });
    const speeds = [inPlace!, window!, unix!].map(({ seconds }) => rate(count, median(seconds)));
    for (const [i, system] of ["in shared memory", "through a window", "ring, Unix sockets"].entries()) {
      rows.push(row(system, metric, speeds[i]!));
    }
    const mpi = mpiAllReduce(ranks, [count], times);
    if (mpi === undefined) {
      say("Open MPI is left out: apt-get install openmpi-bin libopenmpi-dev");
      continue;
    }
    const peer = rate(count, median(mpi.get(count)!));
    rows.push(row("Open MPI", metric, peer));
    goals.push(atLeast(`${metric}, in shared memory / Open MPI`, speeds[0]! / peer, 1.5));
  }
  return { rows, goals };
}

async function betweenThreads(count: number, times: number): Promise<Part> {
  const ranks = 2;
  const metric = `all-reduce ${(4 * count) / MIB} MiB, ${ranks} threads`;
  const [measured] = await measureCollectives({ ranks, transport: "threads", calls: [reduce(count, "auto", times)] });
  const copying = await copySeconds(ranks, 4 * count, times);
  const speeds = [measured!.seconds, copying].map((seconds) => rate(count, median(seconds)));
  return {
    rows: [row("flotilla", metric, speeds[0]!), row("copying", `each thread its ${(4 * count) / MIB} MiB`, speeds[1]!)],
    goals: [atLeast(`${metric} / copying`, speeds[0]! / speeds[1]!, 0.9)],
  };
}

/** Of each repetition on the slowest thread. */
async function copySeconds(size: number, bytes: number, times: number): Promise<number[]> {
  const heap = Heap.create({ maxBytes: 2 ** 27 + size * 2 * bytes });
  const group = createThreadGroup(heap, size);
  const all = await Promise.all(
    Array.from({ length: size }, (_, rank) => {
      const workerData: CopyTask = { memory: heap.memory, group, rank, bytes, times };
      const worker = new Worker(new URL("./lib/copy-thread.ts", import.meta.url), { workerData });
      return new Promise<number[]>((resolve, reject) => worker.once("message", resolve).once("error", reject));
    }),
  );
  return all[0]!.map((_, i) => Math.max(...all.map((seconds) => seconds[i]!)));
}

async function overSlowNetworks(quick: boolean): Promise<Part> {
  const problem = slowNetworkProblem();
  if (problem !== undefined) {
    say(`slow networks are left out: ${problem}`);
    return { rows: [], goals: [] };
  }
  const even = await evenNetwork(quick);
  const groups = await groupedNetwork(quick);
  return { rows: [...even.rows, ...groups.rows], goals: [...even.goals, ...groups.goals] };
}

const between = (hosts: readonly SlowHost[], calls: readonly TimedCall[], links?: Links): Promise<Measured[]> =>
  measureCollectives({
    ranks: hosts.length,
    transport: "tcp",
    calls,
    hosts: hosts.map(({ command, ip }, i) => ({ command, address: `tcp://${ip}:${PORT + i}` })),
    ...(links === undefined ? {} : { links }),
  });

/** Hosts at one switch: the ring beside the rate of the line, and few messages beside many. */
async function evenNetwork(quick: boolean): Promise<Part> {
  const mbit = 400;
  const count = quick ? MIB : 16 * MIB;
  const small = [256, 1024, 4096];
  // In turns, so that both meet the same noise.
  const pairsOf = (elements: number): TimedCall[] => [
    reduce(elements, "halving-doubling", SMALL_TIMES),
    reduce(elements, "ring", SMALL_TIMES),
  ];
  const turns = quick ? 3 : 20;
  const calls = [
    reduce(count, "ring", quick ? 2 : 3),
    ...Array.from({ length: turns }, () => small.flatMap(pairsOf)).flat(),
  ];
  const [large, ...rest] = await withSlowNetwork({ hosts: HOSTS, rate: `${mbit}mbit` }, (hosts) =>
    between(hosts, calls),
  );
  const seconds = median(large!.seconds);
  const bound = (2 * 4 * count * (HOSTS - 1)) / HOSTS / (mbit * MBIT);
  const network = `${HOSTS} hosts at ${mbit} Mbit`;
  const middle = (elements: number, algorithm: string): number =>
    median(rest.flatMap(({ call, seconds: s }) => (call.count === elements && call.algorithm === algorithm ? s : [])));
  const pairs = small.map((elements) => ({
    bytes: 4 * elements,
    few: middle(elements, "halving-doubling"),
    ring: middle(elements, "ring"),
  }));
  return {
    rows: [
      row("ring", `all-reduce ${(4 * count) / MIB} MiB, ${network}`, 1000 * seconds, "ms"),
      row("2S(P-1)/P at line rate", `all-reduce ${(4 * count) / MIB} MiB, ${network}`, 1000 * bound, "ms"),
      ...pairs.flatMap(({ bytes, few, ring }) => [
        row("halving-doubling", `all-reduce ${bytes / 1024} KiB, ${network}`, 1e6 * few, "µs"),
        row("ring", `all-reduce ${bytes / 1024} KiB, ${network}`, 1e6 * ring, "µs"),
      ]),
    ],
    goals: [
      atMost(`ring / line rate, ${network}`, seconds / bound, 1.08),
      ...pairs.map(({ bytes, few, ring }) => atLeast(`${bytes / 1024} KiB: ring / halving-doubling`, ring / few, 1)),
    ],
  };
}

/** Two groups of two hosts with a slower link between them. */
async function groupedNetwork(quick: boolean): Promise<Part> {
  const count = quick ? MIB : 4 * MIB;
  const options = { hosts: HOSTS, rate: "400mbit", groupSize: 2, rateBetween: "100mbit" };
  const link = (mbit: number): { alpha: number; beta: number } => ({ alpha: 2e-4, beta: 1 / (mbit * MBIT) });
  const links: Links = { near: link(400), far: link(100), gamma: 1e-10, groupSize: 2 };
  const calls = [reduce(count, "hierarchical", 3, 2), reduce(count, "ring", 3), reduce(count, "auto", 1)];
  const [grouped, ring, auto] = await withSlowNetwork(options, (hosts) => between(hosts, calls, links));
  const metric = `all-reduce ${(4 * count) / MIB} MiB, 2 × 2 hosts, 100 Mbit between`;
  const [ofGroups, ofRing] = [median(grouped!.seconds), median(ring!.seconds)];
  return {
    rows: [row("hierarchical", metric, 1000 * ofGroups, "ms"), row("ring", metric, 1000 * ofRing, "ms")],
    goals: [
      atLeast(`${metric}: ring / hierarchical`, ofRing / ofGroups, 1.05),
      atLeast("auto takes hierarchical there", auto!.algorithm === "hierarchical" ? 1 : 0, 1),
    ],
  };
}
