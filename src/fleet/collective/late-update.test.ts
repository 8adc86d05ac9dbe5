// Updates in the next step: what must come before what, and the same bits as updates at the end of their own step.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Instruction, Plan } from "../../engine/index.ts";
import { adam, type Optimizer } from "../../optim/index.ts";
import type { StrategyOptions } from "../strategy.ts";
import { clickFile, difference, learnt, type Numbers, temporaryFolder } from "../testing.ts";
import { updatesBefore } from "./late-update.ts";
import { normalised, shareOf, TestRanks } from "./testing.ts";

const SHARED = 4096;
const operand = (space: "arena" | "shared" | "exchange", offset: number, elements: number) =>
  ({ space, offset, shape: [elements], dtype: "f32" }) as const;
const plan = (instructions: readonly Instruction[]): Plan => ({ instructions }) as Plan;
const read = (...inputs: Instruction["inputs"]): Instruction => ({
  ...{ kind: "map", inputs, outputs: [operand("arena", 0, 1)], attrs: {} },
});
const update = (offset: number, elements: number): Instruction => ({
  ...{ kind: "update", inputs: [operand("shared", SHARED + offset, elements), operand("arena", 0, elements)] },
  ...{ outputs: [], attrs: { targets: [0] } },
});
const fill: Instruction = {
  ...{ kind: "bucket", inputs: [operand("arena", 0, 4)], outputs: [operand("exchange", 0, 4)], attrs: {} },
};

test("an instruction comes behind the updates of all that it reads, and what fills buckets behind all", () => {
  const updates = plan([update(0, 16), update(64, 16), update(128, 16), update(192, 16)]);
  const step = plan([
    read(operand("arena", 64, 16)),
    // The last element of the second parameter.
    read(operand("shared", 64 + 60, 1)),
    read(operand("shared", 0, 16)),
    // Between the parameters that move.
    read(operand("shared", 256, 16)),
    read(operand("shared", 0, 16), operand("shared", 128, 4)),
    read(operand("arena", 0, 1)),
    fill,
    read(operand("shared", 0, 16)),
  ]);
  expect(updatesBefore(step, updates, SHARED)).toEqual([0, 2, 2, 2, 3, 3, 4, 4]);
});

const UNION = 24;
const folder = temporaryFolder();
// An epoch ends with a step of few rows, and a rank without any.
const file = clickFile(folder.path, "all.csv", 9 * UNION + 5, 3);
const optimizer: Optimizer = adam({ lr: 0.02, epsilon: 1e-3 });
let ranks: TestRanks;
beforeAll(async () => {
  ranks = await TestRanks.open(2, folder.path, {}, true);
});
afterAll(async () => {
  await ranks[Symbol.asyncDispose]();
  folder.dispose();
});

/** After one epoch, and after two more; and whether updates ran in the next steps. */
async function trained(strategy: StrategyOptions, by = ranks): Promise<{ late: boolean; numbers: Numbers[] }> {
  const results = await by.all(async (job) => {
    const trainer = job.trainer(normalised, { strategy: { mode: "collective", ...strategy }, optimizer });
    const data = shareOf(file, UNION / 2, { rank: job.rank, workers: 2, folder: folder.path });
    const numbers: Numbers[] = [];
    for (const epochs of [1, 3]) {
      await trainer.fit(data, { epochs, split: false, progress: false });
      numbers.push(await learnt(trainer, data));
    }
    const { updates } = await trainer.session(data.layout);
    await trainer.close();
    return { late: updates[0]!.late !== undefined, numbers };
  });
  for (const { numbers } of results) expect(numbers).toEqual(results[0]!.numbers);
  return results[0]!;
}

const same = (a: readonly Numbers[], b: readonly Numbers[]): void => {
  for (const [i, numbers] of a.entries()) expect(difference(numbers, b[i]!)).toEqual({ error: 0, where: "" });
};

test("two ranks learn the same bits with updates in the next step as at the end of each", async () => {
  for (const more of [{}, { ema: 0.9, clip: { value: 0.01 } }, { fuseBytes: 256, streams: 2 }]) {
    const [late, whole] = [await trained(more), await trained({ ...more, overlap: false })];
    expect([late.late, whole.late]).toEqual([true, false]);
    same(late.numbers, whole.numbers);
  }
});

test("ranks that share the memory of a machine update at the end of a step", async () => {
  await using here = await TestRanks.open(2, folder.path);
  expect((await trained({}, here)).late).toBe(false);
});

test("what needs all gradients before it moves the first parameter is updated at the end of its step", async () => {
  for (const strategy of [
    { clip: { globalNorm: 0.05 } },
    { debug: { nan: true } },
    { elastic: { min: 1 } },
    { gradientMerge: 2 },
  ]) {
    expect((await trained(strategy)).late).toBe(false);
  }
});
