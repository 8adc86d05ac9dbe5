// LocalSGD and adaptive LocalSGD beside a plain one over logistic regression, written here in float64.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Model } from "../../models/index.ts";
import { linear } from "../../nn/index.ts";
import { adam, momentum, sgd } from "../../optim/index.ts";
import type { StrategyOptions } from "../strategy.ts";
import { type ClickFile, clickFile, temporaryFolder } from "../testing.ts";
import { shareOf, TestRanks } from "./testing.ts";

const folder = temporaryFolder();
const BATCH = 8;
const WORKERS = 2;
// Ranks have 11 batches and 10, so that the last round has one rank only, with 5 rows.
const file = clickFile(folder.path, "all.csv", 20 * BATCH + 5, 3);
const logistic: Model = {
  name: "logistic",
  config: {},
  forward: (batch, ctx) => linear(ctx, "output", batch.dense!, 1),
};
const RATE = 0.5;

interface Row {
  readonly x: readonly number[];
  readonly label: number;
}

function batchesOf({ lines }: ClickFile, rank: number): Row[][] {
  const rows = lines.map((line): Row => {
    const [label, x, y] = line.split(",").map(Number) as [number, number, number];
    return { x: [x, y, 1], label };
  });
  const batches = Array.from({ length: Math.ceil(rows.length / BATCH) }, (_, i) =>
    rows.slice(i * BATCH, (i + 1) * BATCH),
  );
  return batches.filter((_, i) => i % WORKERS === rank);
}

interface Plan {
  readonly momentum: number;
  readonly begin: number;
  /** The steps of a round, given the mean loss of the last batches. */
  length(loss: number | undefined): number;
}

/** Weights and bias after `epochs`, from the start values. */
function plain(start: readonly number[], { momentum, begin, length }: Plan, epochs: number): number[] {
  const all = Array.from({ length: WORKERS }, (_, rank) => batchesOf(file, rank));
  const ranks = all.map((batches) => ({ batches, w: [...start], v: [0, 0, 0], rows: 0, loss: 0, last: 0 }));
  let snapshot = [...start];
  let steps = 0;
  let round = length(undefined);
  for (let epoch = 0; epoch < epochs; epoch++) {
    const most = Math.max(...all.map(({ length }) => length));
    let inRound = 0;
    for (let at = 0; at < most || inRound > 0; at++) {
      for (const rank of ranks) {
        const batch = rank.batches[at] ?? [];
        rank.rows += batch.length;
        rank.last = batch.length;
        rank.loss = 0;
        if (batch.length === 0) continue;
        const logit = ({ x }: Row): number => x.reduce((sum, xi, i) => sum + xi * rank.w[i]!, 0);
        const gradient = [0, 1, 2].map((i) =>
          batch.reduce(
            (sum, row) => sum + ((1 / (1 + Math.exp(-logit(row))) - row.label) * row.x[i]!) / batch.length,
            0,
          ),
        );
        rank.loss = batch.reduce((sum, row) => sum + Math.log1p(Math.exp(row.label > 0 ? -logit(row) : logit(row))), 0);
        rank.v = rank.v.map((v, i) => momentum * v + gradient[i]!);
        rank.w = rank.w.map((w, i) => w - RATE * rank.v[i]!);
      }
      steps++;
      inRound++;
      if (inRound < (steps <= begin ? 1 : round)) continue;
      inRound = 0;
      const rows = ranks.reduce((sum, rank) => sum + rank.rows, 0);
      snapshot = snapshot.map(
        (s, i) => s - ranks.reduce((sum, { rows: own, w }) => sum + (own / rows) * (s - w[i]!), 0),
      );
      for (const rank of ranks) Object.assign(rank, { w: [...snapshot], rows: 0 });
      const last = ranks.reduce((sum, rank) => sum + rank.last, 0);
      if (steps >= begin) round = length(ranks.reduce((sum, { loss }) => sum + loss, 0) / last);
    }
  }
  return snapshot;
}

const fixed = (steps: number) => (): number => steps;

/** ⌈√(loss / loss₀ · first)⌉, the learning rate being constant. */
function adaptive(first: number): Plan["length"] {
  let loss0: number | undefined;
  return (loss) => {
    if (loss === undefined) return first;
    loss0 ??= loss;
    return Math.min(16, Math.max(1, Math.ceil(Math.sqrt((loss / loss0) * first))));
  };
}

describe("two ranks that train apart", () => {
  let ranks: TestRanks;
  beforeAll(async () => {
    ranks = await TestRanks.open(WORKERS, folder.path);
  });
  afterAll(() => ranks[Symbol.asyncDispose]());

  const cases: readonly [string, StrategyOptions, ReturnType<typeof sgd>, () => Plan][] = [
    ["every step", { localSGD: { steps: 1 } }, sgd({ lr: RATE }), () => ({ momentum: 0, begin: 0, length: fixed(1) })],
    ["4 steps", { localSGD: { steps: 4 } }, sgd({ lr: RATE }), () => ({ momentum: 0, begin: 0, length: fixed(4) })],
    [
      "4 steps with momentum, from the sixth on",
      { localSGD: { steps: 4, begin: 5 } },
      momentum({ lr: RATE, momentum: 0.9 }),
      () => ({ momentum: 0.9, begin: 5, length: fixed(4) }),
    ],
    [
      "a number of steps that adapts",
      { adaptiveLocalSGD: { initSteps: 6, begin: 2 } },
      sgd({ lr: RATE }),
      () => ({ momentum: 0, begin: 2, length: adaptive(6) }),
    ],
  ];
  test.each(cases)("for %s", async (_, strategy, optimizer, plan) => {
    const results = await ranks.all(async (job) => {
      const trainer = job.trainer(logistic, { strategy: { mode: "collective", ...strategy }, optimizer });
      const data = shareOf(file, BATCH, { rank: job.rank, workers: WORKERS, folder: folder.path });
      const { parameters } = await trainer.session(data.layout);
      const weights = (): number[] => [...parameters.view("output/weight"), ...parameters.view("output/bias")];
      const start = weights();
      await trainer.fit(data, { epochs: 2, split: false, progress: false });
      const end = weights();
      await trainer.close();
      return { start, end };
    });
    const [{ start, end }] = results as [(typeof results)[0]];
    for (const other of results) expect(other.end).toEqual(end);
    for (const [i, expected] of plain(start, plan(), 2).entries()) expect(end[i]).toBeCloseTo(expected, 4);
  });

  test("an optimizer whose state would need averaging, and switches that need a meeting in each step, are refused", () => {
    const [job] = ranks.jobs;
    const make = (strategy: StrategyOptions, optimizer = sgd()): unknown =>
      job!.trainer(logistic, { strategy: { mode: "collective", localSGD: { steps: 4 }, ...strategy }, optimizer });
    expect(() => make({}, adam())).toThrow(/localSGD .* SGD and momentum only; the optimizer is adam/);
    expect(() => make({ ema: 0.9 })).toThrow(/localSGD does not combine with ema/);
    expect(() => make({ gradientMerge: 2 })).toThrow(/does not combine with gradientMerge: 2/);
    expect(() => make({ syncBatchNorm: true })).toThrow(/does not combine with syncBatchNorm/);
    expect(() => make({ amp: "fp16" })).toThrow(/does not combine with amp: "fp16"/);
    expect(() => make({ adaptiveLocalSGD: {} })).toThrow(/exclude each other/);
    expect(() => make({ mode: "sync" })).toThrow(/localSGD is for mode "collective"/);
  });
});
