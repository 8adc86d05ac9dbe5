// Deep gradient compression beside a plain one over a perceptron: gradients by the interpreter, the rest written here in float64.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeAll } from "../../data/testing.ts";
import { type FloatType, roundTo } from "../../kernels/half.ts";
import { Heap } from "../../memory/index.ts";
import type { Model } from "../../models/index.ts";
import { adam, momentum, type Optimizer, sgd, updateRule } from "../../optim/index.ts";
import { deferUpdates, differentiate, interpret } from "../../program/index.ts";
import type { StrategyOptions } from "../strategy.ts";
import {
  clickFile,
  columnsFeed,
  difference,
  learnt,
  PlainTrainer,
  startOf,
  temporaryFolder,
  tracedFor,
} from "../testing.ts";
import { normalised, perceptron, shareOf, TestRanks } from "./testing.ts";

const folder = temporaryFolder();
const RATE = 0.2;
const BATCH = 16;
const RANKS = 2;
const EPOCHS = 2;
// Ranks have 6 batches and 5; the last one of the first rank has 9 rows.
const file = clickFile(folder.path, "all.csv", 10 * BATCH + 9, 8);
const quiet = { progress: false } as const;
/** The layers of 48 and 384 weights are compressed, biases and the last layer are not. */
const minElements = 40;

interface Dgc {
  readonly rampupBegin?: number;
  readonly rampupSteps?: number;
  readonly sparsity: readonly number[];
  readonly clipNorm?: number;
}

interface Plain {
  readonly dgc: Dgc;
  readonly optimizer: Optimizer;
  readonly wire?: FloatType;
  /** Compressed are tensors from so many numbers on. */
  readonly least?: number;
}

const shares = Array.from({ length: RANKS }, (_, rank) =>
  shareOf(file, BATCH, { rank, workers: RANKS, folder: folder.path }),
);

/** Weights after training, and the numbers that a rank has sent. */
async function plain({
  dgc,
  optimizer,
  wire = "f32",
  least = minElements,
}: Plain): Promise<Map<string, readonly number[]>> {
  const {
    momentum: m = 0,
    nesterov = false,
    weightDecay = 0,
  } = optimizer as Partial<ReturnType<typeof momentum> & { momentum: number; nesterov: boolean; weightDecay: number }>;
  const { rampupBegin = 0, rampupSteps = 1, sparsity, clipNorm } = dgc;
  const forward = tracedFor(perceptron, shares[0]!, BATCH);
  const rule = updateRule(optimizer, "default");
  const rules = { parameter: () => rule, field: () => rule };
  const { step: program, parameters: names } = deferUpdates(differentiate(forward, { loss: "loss" }), rules);
  const parameters = startOf(program, 1);
  const zeros = (name: string): Float64Array => new Float64Array(parameters[name]!.length);
  const velocity = Object.fromEntries(names.map((name) => [name, zeros(name)]));
  const heap = Heap.create({ maxBytes: 2 ** 26 });
  const ranks: { rows: Awaited<ReturnType<typeof decodeAll>>; u: typeof velocity; v: typeof velocity }[] = [];
  for (const share of shares) {
    const state = (): typeof velocity => Object.fromEntries(names.map((name) => [name, zeros(name)]));
    ranks.push({ rows: await decodeAll(heap, share), u: state(), v: state() });
  }
  const batches = Math.ceil(Math.max(...ranks.map(({ rows }) => rows.length)) / BATCH);
  for (let step = 0; step < EPOCHS * batches; step++) {
    const at = (step % batches) * BATCH;
    const batchOf = ranks.map(({ rows }) => rows.slice(at, at + BATCH));
    const all = batchOf.reduce((sum, { length }) => sum + length, 0);
    const gradients = batchOf.map((rows, rank) => {
      const feed = { ...columnsFeed(shares[rank]!, rows, BATCH), "scalar:lossScale": [1 / all] };
      return interpret(program, feed, { parameters }).outputs as Record<string, Float64Array>;
    });
    const stage = Math.min(sparsity.length - 1, Math.floor(((step - rampupBegin) * sparsity.length) / rampupSteps));
    for (const name of names) {
      const w = parameters[name]!;
      const sum = w.map((_, i) => gradients.reduce((total, of) => total + of[`grad:${name}`]![i]!, 0));
      if (w.length < least || step < rampupBegin) {
        for (const [i, g] of sum.entries()) {
          const d = g + weightDecay * w[i]!;
          velocity[name]![i] = m * velocity[name]![i]! + d;
          w[i]! -= RATE * (nesterov ? d + m * velocity[name]![i]! : velocity[name]![i]!);
        }
        continue;
      }
      const sent = w.map(() => 0);
      for (const [rank, { u, v }] of ranks.entries()) {
        const g = gradients[rank]![`grad:${name}`]!.map((x) => RANKS * x);
        const limit = clipNorm === undefined ? Number.POSITIVE_INFINITY : clipNorm / Math.sqrt(RANKS);
        const factor = Math.min(1, limit / (Math.hypot(...g) + 1e-6));
        for (const [i, x] of g.entries()) {
          const d = factor * x + weightDecay * w[i]!;
          u[name]![i] = nesterov ? m * (u[name]![i]! + d) : m * u[name]![i]! + d;
          v[name]![i]! += u[name]![i]! + (nesterov ? d : 0);
        }
        const order = Array.from(w, (_, i) => i).sort((a, b) => Math.abs(v[name]![b]!) - Math.abs(v[name]![a]!));
        for (const i of order.slice(0, Math.max(1, Math.round(w.length * (1 - sparsity[stage]!))))) {
          const value = wire === "f32" ? v[name]![i]! : roundTo(wire, v[name]![i]!);
          sent[i]! += value;
          v[name]![i]! -= value;
          u[name]![i] = 0;
        }
      }
      for (const [i, s] of sent.entries()) w[i]! -= (RATE * s) / RANKS;
    }
  }
  return new Map(names.map((name) => [name, [...parameters[name]!]]));
}

describe(`${RANKS} ranks`, () => {
  let ranks: TestRanks;
  beforeAll(async () => {
    ranks = await TestRanks.open(RANKS, folder.path);
  });
  afterAll(() => ranks[Symbol.asyncDispose]());

  async function trained(strategy: StrategyOptions, optimizer: Optimizer, model: Model = perceptron) {
    const results = await ranks.all(async (job) => {
      const trainer = job.trainer(model, { strategy: { mode: "collective", ...strategy }, optimizer });
      const data = shares[job.rank]!;
      const { communication } = await trainer.fit(data, { epochs: EPOCHS, split: false, ...quiet });
      const { parameters } = await trainer.session(data.layout);
      const weights = [...(await learnt(trainer, data))].filter(([name]) => parameters.parameter(name).trainable);
      await trainer.close();
      return { weights: new Map(weights), communication };
    });
    for (const { weights } of results) expect(weights).toEqual(results[0]!.weights);
    return results[0]!;
  }

  const heavy = momentum({ lr: RATE, momentum: 0.9, weightDecay: 0.01 });
  const warmUp = { rampupBegin: 2, rampupSteps: 6, sparsity: [0.5, 0.75, 0.9] };
  const cases: readonly [string, Plain, StrategyOptions?][] = [
    ["SGD", { dgc: { sparsity: [0.9] }, optimizer: sgd({ lr: RATE }) }],
    ["momentum and decay", { dgc: { sparsity: [0.95] }, optimizer: heavy }],
    [
      "momentum of Nesterov",
      { dgc: { sparsity: [0.9] }, optimizer: momentum({ lr: RATE, momentum: 0.8, nesterov: true }) },
    ],
    ["a bound on local gradients", { dgc: { sparsity: [0.9], clipNorm: 0.05 }, optimizer: heavy }],
    ["a warm-up after whole steps", { dgc: warmUp, optimizer: heavy }],
    [
      "a warm-up after the backward pass, and averages",
      { dgc: warmUp, optimizer: heavy },
      { overlap: false, ema: 0.9 },
    ],
    [
      "several streams and small buckets",
      { dgc: warmUp, optimizer: heavy },
      { streams: 2, fuseBytes: 256, lastBucketBytes: 64 },
    ],
    ["f16 on the wire", { dgc: { sparsity: [0.9] }, optimizer: heavy, wire: "f16", least: 1 }, { wire: "f16" }],
    ["bf16 on the wire", { dgc: { sparsity: [0.9] }, optimizer: heavy, wire: "bf16", least: 1 }, { wire: "bf16" }],
  ];
  test.each(cases)("with %s learn what a plain one does", async (_, options, strategy) => {
    const { weights } = await trained(
      { ...strategy, dgc: { ...options.dgc, minElements: options.least ?? minElements } as never },
      options.optimizer,
    );
    const { error, where } = difference(weights, await plain(options));
    // A number that float32 and float64 round otherwise goes otherwise.
    const tolerance = { f32: 1e-4, f16: 2e-3, bf16: 2e-2 }[options.wire ?? "f32"];
    expect(error, where).toBeLessThan(tolerance);
  });

  test("that leave nothing behind train as one", async () => {
    // What is sent takes its momentum along, so that this is SGD.
    const nothing = { sparsity: [0], rampupSteps: 1, minElements: 1 };
    const { weights } = await trained({ dgc: nothing }, heavy);
    const expected = await trained({}, sgd({ lr: RATE, weightDecay: 0.01 }));
    expect(difference(weights, expected.weights).error).toBeLessThan(1e-5);
  });

  test("take the statistics of all rows with syncBatchNorm, within the steps of compression", async () => {
    const nothing = { sparsity: [0], rampupSteps: 1, minElements: 1 };
    const { weights } = await trained({ dgc: nothing, syncBatchNorm: true }, heavy, normalised);
    const expected = await trained({ syncBatchNorm: true }, sgd({ lr: RATE, weightDecay: 0.01 }), normalised);
    expect(difference(weights, expected.weights).error).toBeLessThan(1e-4);
    const apart = await trained({ dgc: nothing }, heavy, normalised);
    expect(difference(weights, apart.weights).error).toBeGreaterThan(0.01);
  });

  test("send as much less as the sparsity says", async () => {
    const { communication } = await trained({ dgc: { sparsity: [0.99], minElements } }, heavy);
    const { sentBytes, denseBytes } = communication!;
    // A step: 48 + 384 weights by 1 % and in groups of 4 entries of 6 bytes; 57 others whole, each of 4 parts from a line on.
    const sparse = 6 * (4 + 4);
    const dense = 4 * (32 + 16 + 16 + 16);
    const steps = 6 * EPOCHS;
    expect(denseBytes).toBe(steps * 4 * (48 + 384 + 32 + 16 + 16 + 16));
    expect(sentBytes).toBe(steps * (sparse + dense));
  });

  test("what does not go together is refused", () => {
    const [job] = ranks.jobs;
    const make = (strategy: StrategyOptions, optimizer: Optimizer = sgd()): unknown =>
      job!.trainer(perceptron, { strategy: { mode: "collective", dgc: {}, ...strategy }, optimizer });
    expect(() => make({}, adam())).toThrow(/dgc .* SGD and momentum only; the optimizer is adam/);
    expect(() => make({ localSGD: { steps: 4 } })).toThrow(/dgc does not combine with LocalSGD/);
    expect(() => make({ gradientMerge: 2 })).toThrow(/dgc does not combine with gradientMerge: 2/);
    expect(() => make({ clip: { norm: 1 } })).toThrow(/dgc does not combine with clip.*clipNorm/);
    expect(() => make({ amp: "fp16" })).toThrow(/dgc does not combine with amp: "fp16"/);
    expect(() => make({ mode: "sync" })).toThrow(/dgc is for mode "collective"/);
    expect(() => make({ dgc: { sparsity: [1] } })).toThrow(/sparsity/);
  });
});

test("a rank of several threads is refused, and one rank alone trains as without", async () => {
  await using two = await TestRanks.open(2, folder.path, { threads: 2 });
  const strategy: StrategyOptions = { mode: "collective", dgc: { sparsity: [0.9], minElements } };
  const opened = await two.settled((job) =>
    job.trainer(perceptron, { strategy, optimizer: sgd() }).session(shares[0]!.layout),
  );
  for (const result of opened)
    expect(String((result as PromiseRejectedResult).reason)).toMatch(/dgc is for one thread/);
  await using one = await TestRanks.open(1, folder.path);
  const optimizer = momentum({ lr: RATE });
  const trainer = one.jobs[0]!.trainer(perceptron, { strategy, optimizer });
  await trainer.fit(shares[0]!, { split: false, ...quiet });
  const twin = new PlainTrainer(perceptron, shares[0]!, { optimizers: { default: optimizer }, batch: BATCH });
  await twin.epoch();
  expect(difference(await learnt(trainer, shares[0]!), twin.numbers).error).toBeLessThan(1e-4);
});
