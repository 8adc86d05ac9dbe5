// DeepFM as on the Criteo challenge (26 × 16 embeddings of a million rows, 13 numbers, MLP 400-400-400, batch 512,
// AdaGrad): rates beside the bound of the matrix products alone and beside PyTorch, scaling, memory, and held-out loss.

import type { ProviderDescription } from "../src/engine/providers/index.ts";
import { type Engine, Flotilla } from "./lib/ctr-flotilla.ts";
import { flotillaScores, type LossFiles, type Scores, torchScores } from "./lib/ctr-loss.ts";
import { measureMemory } from "./lib/ctr-memory.ts";
import { type CtrFiles, flopsPerSample, recipe, type System, writeCtrFiles, writeEveryId } from "./lib/ctr-recipe.ts";
import { measureRates } from "./lib/ctr-speed.ts";
import { asInstalled, Torch, type Tuning, tune } from "./lib/ctr-torch.ts";
import { findPython } from "./lib/python.ts";
import {
  atLeast,
  atMost,
  type BenchGoal,
  type BenchOptions,
  type BenchResult,
  type BenchRow,
  counted,
  mean,
  median,
  ratio,
  say,
} from "./lib/report.ts";
import { TFJS_ROWS, tfjsRate } from "./lib/tfjs.ts";

const THREADS = 2;

const full = {
  rows: 300_000,
  rounds: 5,
  seconds: 3,
  steps: 10_000,
  lossRows: 500_000,
  testRows: 100_000,
  seeds: [1, 2, 3],
};
const quick = { rows: 50_000, rounds: 1, seconds: 1, steps: 300, lossRows: 30_000, testRows: 10_000, seeds: [1] };
type Size = typeof full;

/** PyTorch, where this machine has it. */
interface Peers {
  readonly python: string;
  readonly tuning: Tuning;
}

export async function run(options: BenchOptions = {}): Promise<BenchResult> {
  const size = options.quick ? quick : full;
  const rows: BenchRow[] = [];
  const goals: BenchGoal[] = [];
  const peers = await findPeers();
  say("writing click data");
  const files = writeCtrFiles("speed", size.rows, 1);
  const everyId = writeEveryId();

  const engines: Engine[] = ["wasm"];
  const flotillas = new Map<string, Flotilla>();
  const open = async (engine: Engine, threads: number): Promise<void> => {
    say(`opening flotilla ${engine}, ${counted(threads, "thread")}`);
    flotillas.set(`${engine}${threads}`, await Flotilla.open(threads, engine, files, everyId));
  };
  for (const threads of [1, THREADS]) await open("wasm", threads);
  try {
    for (const threads of [1, THREADS]) await open("onednn", threads);
    engines.unshift("onednn");
  } catch (error) {
    say(`onednn left out: ${(error as Error).message}`);
  }
  await speed(size, files, engines, flotillas, peers, rows, goals);
  await memory(flotillas.get(`${engines[0]}${THREADS}`)!, size, rows, goals);
  for (const flotilla of flotillas.values()) await flotilla.close();

  const lossFiles = {
    train: writeCtrFiles("train", size.lossRows, 11),
    test: writeCtrFiles("test", size.testRows, 12),
  };
  await loss(size, lossFiles, engines[0]!, peers, rows, goals);
  tensorFlow(rows);
  return { rows, goals };
}

async function findPeers(): Promise<Peers | undefined> {
  const found = findPython(["torch"]);
  if ("path" in found) return { python: found.path, tuning: await tune(found.path) };
  say(`PyTorch left out: ${found.missing}`);
  return undefined;
}

async function speed(
  size: Size,
  files: CtrFiles,
  engines: readonly Engine[],
  flotillas: ReadonlyMap<string, Flotilla>,
  peers: Peers | undefined,
  rows: BenchRow[],
  goals: BenchGoal[],
): Promise<void> {
  const torches: Torch[] = [];
  if (peers !== undefined) {
    const { python, tuning } = peers;
    say("opening PyTorch");
    torches.push(await Torch.open(python, "tuned", tuning.environment, THREADS, files));
    torches.push(await Torch.open(python, "as installed", asInstalled, THREADS, files));
    torches.push(await Torch.open(python, "tuned", tuning.environment, 1, files));
  }
  const systems: System[] = [...torches, ...flotillas.values()];
  const providers: ProviderDescription[] = engines.map((engine) => flotillas.get(`${engine}1`)!.job.provider);
  const { rounds, seconds } = size;
  const { rates, peaks } = await measureRates({ systems, providers, threads: THREADS, rounds, seconds });
  for (const torch of torches) await torch.close();

  for (const [system, values] of rates) {
    rows.push({ system: system.name, metric: "training", value: median(values), unit: "samples/s" });
  }
  const flops = flopsPerSample();
  rows.push({ system: "model", metric: "matrix products", value: flops / 1e6, unit: "MFLOP/sample" });
  for (const engine of engines) {
    const [one, two] = [rates.get(flotillas.get(`${engine}1`)!)!, rates.get(flotillas.get(`${engine}${THREADS}`)!)!];
    const bounds = peaks[engine]!.map((gflops) => (gflops * 1e9) / flops);
    rows.push({ system: engine, metric: `peak, ${THREADS} threads`, value: median(peaks[engine]!), unit: "GFLOP/s" });
    rows.push({ system: engine, metric: "bound of the products", value: median(bounds), unit: "samples/s" });
    goals.push(
      atLeast(`${engine}: samples/s / bound of its products`, ratio(two, bounds), engine === "wasm" ? 0.85 : 0.75),
    );
    goals.push(atLeast(`${engine}: two threads / one`, ratio(two, one), 1.85));
  }
  const [tuned, plain] = torches;
  if (tuned === undefined || plain === undefined) return;
  const best = rates.get(flotillas.get(`${engines[0]}${THREADS}`)!)!;
  goals.push(atLeast(`${engines[0]} / PyTorch tuned, two Hogwild processes`, ratio(best, rates.get(tuned)!), 1.6));
  goals.push(atLeast(`${engines[0]} / PyTorch as installed`, ratio(best, rates.get(plain)!), 2.3));
}

async function memory(flotilla: Flotilla, { steps }: Size, rows: BenchRow[], goals: BenchGoal[]): Promise<void> {
  say(`memory over ${steps} steps`);
  const result = await measureMemory(flotilla, steps);
  const system = flotilla.name;
  const over = `over ${result.steps} steps`;
  rows.push(
    { system, metric: `growth of the heap ${over}`, value: result.heapGrowth / 2 ** 20, unit: "MiB" },
    { system, metric: `growth of resident memory ${over}`, value: result.residentGrowth / 2 ** 20, unit: "MiB" },
    { system, metric: "garbage", value: result.garbagePerStep, unit: "bytes/step" },
  );
  goals.push(atMost(`growth of the heap ${over}, MiB`, result.heapGrowth / 2 ** 20, 0));
  goals.push(atMost(`growth of resident memory ${over}, MiB`, result.residentGrowth / 2 ** 20, RESIDENT_NOISE_MIB));
  goals.push(atMost("garbage of a step, bytes", result.garbagePerStep, 1024));
}

/** The collector's heaps breathe by this much. */
const RESIDENT_NOISE_MIB = 8;

async function loss(
  { seeds }: Size,
  files: LossFiles,
  engine: Engine,
  peers: Peers | undefined,
  rows: BenchRow[],
  goals: BenchGoal[],
): Promise<void> {
  say("held-out loss");
  const add = (system: string, scores: readonly Scores[]): number => {
    const value = mean(scores.map(({ logLoss }) => logLoss));
    rows.push({ system, metric: `held-out log loss, mean of ${counted(scores.length, "seed")}`, value, unit: "" });
    rows.push({ system, metric: "held-out AUC", value: mean(scores.map(({ auc }) => auc)), unit: "" });
    return value;
  };
  rows.push({ system: "the data's own model", metric: "held-out log loss", value: files.test.bestLogLoss, unit: "" });
  for (const threads of [1, THREADS]) {
    const ours = add(
      `flotilla ${engine}, ${counted(threads, "thread")}`,
      await flotillaScores(files, threads, engine, seeds),
    );
    if (peers === undefined) continue;
    const scores = await torchScores(peers.python, peers.tuning.environment, files, threads, seeds);
    const theirs = add(`PyTorch, ${counted(threads, "process", "es")}`, scores);
    goals.push(atMost(`|log loss − PyTorch's|, ${threads} each`, Math.abs(ours - theirs), 0.001));
  }
}

function tensorFlow(rows: BenchRow[]): void {
  const result = tfjsRate();
  if ("missing" in result) {
    say(`TensorFlow.js left out: ${result.missing}`);
    return;
  }
  const system = `TensorFlow.js ${result.backend}, table of ${TFJS_ROWS} instead of ${recipe.vocabulary} rows`;
  rows.push({ system, metric: "training", value: result.samplesPerSecond, unit: "samples/s" });
}
