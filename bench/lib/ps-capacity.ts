// `flotilla plan` held against jobs of one to four processes on this machine: samples a second and bytes a sample, predicted
// from constants that are measured here in the same run.
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { type Constants, measureConstants, plan, rowSpec } from "../../src/capacity/index.ts";
import { generateCriteo } from "../../src/data/index.ts";
import { data, optim } from "../../src/index.ts";
import { recipe } from "./ctr-recipe.ts";
import { scratchFile } from "./paths.ts";
import { runPsJob, samplesPerSecond, totalOf } from "./ps-job.ts";
import { atLeast, atMost, type BenchGoal, type BenchResult, type BenchRow, median, say } from "./report.ts";

const jobs = [
  { workers: 1, servers: 0 },
  { workers: 1, servers: 1 },
  { workers: 2, servers: 1 },
  { workers: 2, servers: 2 },
] as const;
const { fields, numbers, dim, hidden, learningRate } = recipe;
const optimizer = optim.adagrad({ lr: learningRate });
const model = { categorical: fields, dense: numbers, dim, hidden: [...hidden] };

/** A plan is of use if it is right to a quarter. */
const TOLERANCE = 1.25;
const ROUNDS = 2;

interface Costs {
  /** Seconds of a core a sample. */
  readonly trainer: number;
  readonly communicator: number;
  readonly server: number;
  readonly pulled: number;
  readonly pushed: number;
}

/** What the plan says of a sample of the CTR recipe, of processes that speak by unix sockets. */
function costsOf(constants: Constants, mergedBatches: number): Costs {
  const { batch } = recipe;
  const planFor = (wire: number): ReturnType<typeof plan> =>
    plan({
      ...{ features: 1e6, row: rowSpec({ dim, linear: true, statistics: false, optimizer }), idsPerSample: fields },
      ...{ dense: numbers, hidden, batch, servers: 1, workers: 1, cores: 1, memoryBytes: 1e12 },
      ...{ networkBytes: 1e12, diskBytes: 1e12, inMemory: 1, wireBytes: 4, journal: false, mergedBatches },
      constants: { ...constants, network: { ...constants.network, tls: wire } },
    });
  const seconds = (found: ReturnType<typeof plan>, resource: string): number =>
    1 / found.limits.find((limit) => limit.resource === resource)!.samplesPerSecond;
  const [real, free] = [planFor(constants.network.unix), planFor(Number.POSITIVE_INFINITY)];
  const trainer = seconds(free, "cores of the workers");
  return {
    ...{ trainer, communicator: seconds(real, "cores of the workers") - trainer },
    server: seconds(real, "cores of the servers"),
    ...real.traffic,
  };
}

/** All processes share the cores; a thread is no faster than a core. */
function predicted(costs: Costs, { workers, servers }: (typeof jobs)[number], cores: number): number {
  const { trainer, communicator, server } = costs;
  if (servers === 0) return Math.min(cores, workers) / trainer;
  return Math.min(
    cores / (trainer + communicator + server),
    workers / trainer,
    workers / communicator,
    servers / server,
  );
}

/** Clicks as those by which the constants are measured. */
async function generated(rows: number): Promise<unknown> {
  const path = scratchFile(`capacity-${rows}.tsv`);
  if (!existsSync(path)) await generateCriteo({ path, rows });
  return data.criteo(path, { batch: recipe.batch }).spec;
}

export async function psCapacity(quick: boolean): Promise<BenchResult> {
  const constants = await measureConstants();
  say(`constants: ${JSON.stringify(constants)}`);
  const cores = availableParallelism();
  const rows: BenchRow[] = [];
  const goals: BenchGoal[] = [];
  const train = await generated(quick ? 20_000 : 150_000);
  // A plan is for long jobs: rows are there, and code is compiled.
  const common = { train, model, optimizer, epochs: 1, warmUp: quick ? 0 : 1, threads: 1 };
  const strategy = { mode: "async", durability: "none" } as const;
  for (const job of jobs) {
    const runs = [];
    for (let round = 0; round < (quick ? 1 : ROUNDS); round++)
      runs.push(await runPsJob({ ...common, ...job, strategy }));
    const measured = median(runs.map(samplesPerSecond));
    const last = runs.at(-1)!;
    const samples = last.reduce((sum, run) => sum + run.samples, 0);
    // How many batches a push carries follows from who waits for whom; the plan is told.
    const merges = job.servers === 0 ? 1 : Math.max(1, samples / recipe.batch / totalOf(last, "pushes"));
    const costs = costsOf(constants, merges);
    const expected = predicted(costs, job, cores);
    const system = job.servers === 0 ? "1 process of 1 thread" : `${job.workers} + ${job.servers} processes`;
    say(`${system}: ${Math.round(measured)} samples/s, predicted ${Math.round(expected)}`);
    rows.push({ system, metric: "training", value: measured, unit: "samples/s" });
    rows.push({ system, metric: "predicted", value: expected, unit: "samples/s" });
    goals.push(atLeast(`${system}, predicted of measured`, expected / measured, 1 / TOLERANCE));
    goals.push(atMost(`${system}, predicted of measured`, expected / measured, TOLERANCE));
    if (job.servers === 0) continue;
    rows.push({ system, metric: "batches in a push", value: merges, unit: "" });
    for (const [name, counter] of [
      ["pulled", "pulledBytes"],
      ["pushed", "pushedBytes"],
    ] as const) {
      rows.push({
        system,
        metric: `${name}, a sample`,
        value: totalOf(last, counter) / samples,
        unit: "bytes",
      });
      rows.push({ system, metric: `${name}, predicted`, value: costs[name], unit: "bytes" });
    }
  }
  return { rows, goals };
}
