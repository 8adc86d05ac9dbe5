// What data-parallel training reaches on digits beside one rank on the same rows, in the same batches, for as many epochs.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sharedData } from "../bench/lib/real-data.ts";
import { type Dataset, tensors } from "../src/data/index.ts";
import { TestRanks } from "../src/fleet/collective/testing.ts";
import type { StrategyOptions } from "../src/fleet/index.ts";
import { temporaryFolder } from "../src/fleet/testing.ts";
import type { Model } from "../src/models/index.ts";
import { layers, sequential } from "../src/nn/index.ts";
import { momentum } from "../src/optim/index.ts";
import { type Pictures, readPictures } from "./pictures.ts";

const data = sharedData();
const RANKS = 2;
const BATCH = 32;
const EPOCHS = 2;
const SHAPE = [28, 28, 1] as const;
const ROWS = { train: 30_016, test: 10_000 };
/** Points of accuracy, as a share. */
const MARGIN = 0.005;

const net = sequential({
  first: layers.conv2d(16, { kernel: 3, padding: 1, activation: "relu" }),
  pool: layers.maxPool2d({ kernel: 2 }),
  second: layers.conv2d(32, { kernel: 3, padding: 1, activation: "relu" }),
  poolAgain: layers.maxPool2d({ kernel: 2 }),
  flat: layers.flatten(),
  head: layers.linear(10),
});
const model: Model = {
  name: "digits",
  config: {},
  task: "classification",
  forward: ({ image }, ctx) => net.apply(ctx, "net", image!),
};
const optimizer = momentum({ lr: 0.02, momentum: 0.9 });

function datasetOf({ image, label }: Pictures, kept: readonly number[], batch: number): Dataset {
  const size = image.length / label.length;
  const pixels = new Float32Array(kept.length * size);
  for (const [to, from] of kept.entries()) pixels.set(image.subarray(from * size, (from + 1) * size), to * size);
  const columns = {
    image: { data: pixels, shape: [kept.length, ...SHAPE] },
    label: { data: Int32Array.from(kept, (row) => label[row]!), shape: [kept.length] },
  };
  return tensors(columns, { batch });
}

describe.skipIf(data === undefined)("digits of MNIST", () => {
  const folder = temporaryFolder();
  const all: Partial<Record<"train" | "test", Pictures>> = {};
  let one: TestRanks;
  let ranks: TestRanks;
  let alone: number;

  /** Accuracy on the test rows, the same on all ranks. */
  async function accuracy(group: TestRanks, strategy: StrategyOptions): Promise<number> {
    const workers = group.jobs.length;
    const results = await group.all(async (job) => {
      const own = (_: unknown, row: number): boolean => Math.floor(row / BATCH) % workers === job.rank;
      const rows = Array.from({ length: ROWS.train }, (_, row) => row).filter(own);
      const batch = workers === 1 ? RANKS * BATCH : BATCH;
      const trainer = job.trainer(model, { optimizer, strategy: { mode: "collective", ...strategy } });
      await trainer.fit(datasetOf(all.train!, rows, batch), { epochs: EPOCHS, split: false, progress: false });
      const held = Array.from({ length: ROWS.test }, (_, row) => row);
      const { accuracy } = await trainer.evaluate(datasetOf(all.test!, held, batch));
      await trainer.close();
      return accuracy!;
    });
    for (const result of results) expect(result).toBe(results[0]);
    return results[0]!;
  }

  beforeAll(async () => {
    Object.assign(all, readPictures(join(data!, "mnist/mnist-png.tar.gz"), SHAPE, ROWS));
    one = await TestRanks.open(1, folder.path, { engine: "auto", maxBytes: 2 ** 30 });
    ranks = await TestRanks.open(RANKS, folder.path, { engine: "auto", maxBytes: 2 ** 30 });
    alone = await accuracy(one, {});
    console.log(`one rank: ${(100 * alone).toFixed(2)} %`);
    expect(alone).toBeGreaterThan(0.97);
  }, 600_000);
  afterAll(async () => {
    await one[Symbol.asyncDispose]();
    await ranks[Symbol.asyncDispose]();
  });

  const dgc = { minElements: 1000, rampupSteps: 400 };
  const cases: readonly [string, StrategyOptions, number][] = [
    ["gradients summed in each step", {}, MARGIN / 2],
    ["half precision on the wire", { wire: "bf16" }, MARGIN],
    ["deep gradient compression", { dgc }, MARGIN],
    ["LocalSGD of 4 steps", { localSGD: { steps: 4 } }, MARGIN],
  ];
  test.each(cases)("%s", async (name, strategy, margin) => {
    const reached = await accuracy(ranks, strategy);
    console.log(`${name}: ${(100 * reached).toFixed(2)} %, one rank ${(100 * alone).toFixed(2)} %`);
    expect(reached).toBeGreaterThan(alone - margin);
    if (margin < MARGIN) expect(reached).toBeLessThan(alone + margin);
  });
});
