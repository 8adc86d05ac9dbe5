// The matrix products of a click model's step by each provider, one and two threads, beside the best rate of the same
// provider on large products and, for WASM, the rate of the register tile alone: what packing and odd sizes cost. Then
// convolutions beside plain products with the same arithmetic: what windows cost.
import { measureSpeed, type Speed, type SpeedCase } from "../src/engine/doctor/index.ts";
import type { MatmulCase } from "../src/engine/providers/contract.ts";
import type { ProviderDescription } from "../src/engine/providers/index.ts";
import { findOneDnn } from "../src/engine/providers/onednn/library.ts";
import { type ConvLayer, convLayers, isPlain3x3 } from "./lib/conv-layers.ts";
import { atLeast, type BenchGoal, type BenchOptions, type BenchResult, type BenchRow, say } from "./lib/report.ts";

const BATCH = 512;
/** 26 embeddings of 16 and 13 numbers, three hidden layers, one logit. */
const WIDTHS = [429, 400, 400, 400, 1];
const ROUNDS = 4;
/** Of the rate of plain products: windows are copied in WASM, and summed up again in gradients of the input. */
const FORWARD_GOAL = 0.85;
const GRADIENT_GOAL = 0.7;

/** Products at which a provider reaches its peak. */
export const peakCases: readonly MatmulCase[] = [
  { m: 512, n: 512, k: 512 },
  { m: 512, n: 400, k: 400 },
  { m: 1024, n: 1024, k: 1024 },
];

/** For each layer: forward, gradient of the input, gradient of the weights. */
export const stepCases: readonly MatmulCase[] = WIDTHS.slice(1).flatMap((n, layer) => {
  const k = WIDTHS[layer]!;
  const last = layer === WIDTHS.length - 2;
  return [
    { m: BATCH, n, k, bias: true, ...(last ? {} : { activation: "relu" as const }) },
    { m: BATCH, n: k, k: n, transposeB: true },
    { m: k, n, k: BATCH, transposeA: true },
  ];
});

export interface GemmBenchOptions extends BenchOptions {
  /** Seconds spent on each shape; default 0.4. */
  readonly seconds?: number;
}

/** Rates of one provider at one number of threads, in GFLOP/s. */
interface Rates {
  readonly peak: number;
  readonly cases: readonly number[];
  /** Of all products of a step one after the other. */
  readonly step: number;
  /** Of the register tile alone; WASM only. */
  readonly tile: number;
}

/** GFLOP/s of the providers. Goals are ratios within this run. */
export async function run(options: GemmBenchOptions = {}): Promise<BenchResult> {
  const { seconds = 0.4 } = options;
  const rows: BenchRow[] = [];
  const goals: BenchGoal[] = [];
  for (const provider of providersHere()) {
    const one = await measure(provider, 1, seconds);
    const two = await measure(provider, 2, seconds);
    rows.push(...rowsOf(provider, one, 1), ...rowsOf(provider, two, 2));
    const [bound, name] =
      provider.name === "wasm" ? [Math.max(one.tile, one.peak), "register tile"] : [one.peak, "its peak"];
    goals.push(atLeast(`${provider.name}: products of a step / ${name}`, one.step / bound, 0.85));
    goals.push(atLeast(`${provider.name}: two threads / one`, two.step / one.step, 1.85));
    const convs = await measureConvs(provider, seconds);
    rows.push(...convs.map(({ title, speed }) => row(provider, 1, title, speed)));
    goals.push(
      atLeast(`${provider.name}: 3×3 convolutions forward / products`, ratio(convs, isForward), FORWARD_GOAL),
      atLeast(
        `${provider.name}: their gradients / products`,
        ratio(convs, (c) => !isForward(c)),
        GRADIENT_GOAL,
      ),
    );
  }
  return { rows, goals };
}

interface ConvRate extends ConvLayer {
  /** GFLOP/s of the convolution, and of the product. */
  readonly speed: number;
  readonly productSpeed: number;
}

/** On one thread, each convolution right before its product. */
async function measureConvs(provider: ProviderDescription, seconds: number): Promise<ConvRate[]> {
  say(`${provider.name}, convolutions`);
  const cases = convLayers.flatMap(({ shape, product }): SpeedCase[] => [shape, ...(product ? [product] : [])]);
  const best = await bestOf(provider, cases, 1, seconds);
  return convLayers.map((layer) => ({
    ...layer,
    speed: best[cases.indexOf(layer.shape)]!,
    productSpeed: layer.product ? best[cases.indexOf(layer.product)]! : Number.NaN,
  }));
}

const isForward = ({ shape }: ConvLayer): boolean => shape.direction === "forward";

/** Mean over the 3×3 layers among `which`. */
function ratio(rates: readonly ConvRate[], which: (rate: ConvRate) => boolean): number {
  const ratios = rates.filter((rate) => isPlain3x3(rate) && which(rate)).map((rate) => rate.speed / rate.productSpeed);
  return ratios.reduce((sum, value) => sum + value, 0) / ratios.length;
}

function providersHere(): ProviderDescription[] {
  const { library, problems } = findOneDnn();
  if (library) return [{ name: "wasm" }, { name: "onednn", path: library.path, version: library.native.version }];
  say(`onednn left out: ${problems.join("; ")}`);
  return [{ name: "wasm" }];
}

/** In several rounds, so that a slow moment of the machine does not hit one shape alone; the fastest counts. */
async function bestOf(
  provider: ProviderDescription,
  cases: readonly SpeedCase[],
  threads: number,
  seconds: number,
): Promise<number[]> {
  const task = { provider, cases, milliseconds: (seconds * 1000) / ROUNDS };
  const rounds: Speed[][] = [];
  for (let round = 0; round < ROUNDS; round++) rounds.push(await measureSpeed(task, threads));
  return cases.map((_, i) => Math.max(...rounds.map((speeds) => speeds[i]!.best)));
}

async function measure(provider: ProviderDescription, threads: number, seconds: number): Promise<Rates> {
  say(`${provider.name}, ${threads} thread${threads > 1 ? "s" : ""}`);
  const tile: SpeedCase[] = provider.name === "wasm" ? ["micro-kernel"] : [];
  const cases: SpeedCase[] = [...stepCases, ...peakCases, ...tile];
  const best = await bestOf(provider, cases, threads, seconds);
  const products = best.slice(0, stepCases.length);
  const flops = stepCases.map(({ m, n, k }) => m * n * k);
  const time = flops.reduce((sum, count, i) => sum + count / products[i]!, 0);
  return {
    peak: Math.max(...best.slice(0, stepCases.length + peakCases.length)),
    cases: products,
    step: flops.reduce((sum, count) => sum + count, 0) / time,
    tile: tile.length > 0 ? best.at(-1)! : 0,
  };
}

function row(provider: ProviderDescription, threads: number, metric: string, value: number): BenchRow {
  const system = provider.version ? `${provider.name} ${provider.version}` : provider.name;
  return { system: `${system}, ${threads}t`, metric, value, unit: "GFLOP/s" };
}

function rowsOf(provider: ProviderDescription, rates: Rates, threads: number): BenchRow[] {
  const rowOf = (metric: string, value: number): BenchRow => row(provider, threads, metric, value);
  const seen = new Set<string>();
  const shapes = stepCases.flatMap((test, i) => {
    const name = `${test.m}×${test.n}×${test.k}${test.transposeA ? " Aᵀ" : ""}${test.transposeB ? " Bᵀ" : ""}`;
    const isNew = !seen.has(name);
    seen.add(name);
    return isNew ? [rowOf(name, rates.cases[i]!)] : [];
  });
  return [
    ...shapes,
    rowOf("all products of a step", rates.step),
    rowOf("peak", rates.peak),
    ...(rates.tile > 0 ? [rowOf("register tile alone", rates.tile)] : []),
  ];
}
