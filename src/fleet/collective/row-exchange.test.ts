// Embeddings over several ranks: rows that batches touch, summed as whole gradients are.
import { afterAll, expect, test } from "vitest";
import { type Dataset, tensors } from "../../data/index.ts";
import type { Model } from "../../models/index.ts";
import { embedding, linear } from "../../nn/index.ts";
import { momentum } from "../../optim/index.ts";
import type { StrategyOptions } from "../strategy.ts";
import { difference, learnt, type Numbers, temporaryFolder } from "../testing.ts";
import { TestRanks } from "./testing.ts";

const folder = temporaryFolder();
afterAll(() => folder.dispose());

const [VOCABULARY, LENGTH, BATCH, STEPS] = [900, 3, 8, 6];

const ROWS = "rows 0: words/weight";

const words: Model = {
  name: "words",
  config: {},
  task: "regression",
  forward: (columns, ctx) => {
    const rows = embedding(ctx, "words", columns.ids!, { vocabulary: VOCABULARY, dim: 5 });
    return linear(ctx, "output", rows.mean({ axes: 1 }).tanh(), 1);
  },
};

/** Other rows for each rank; some ids come twice in a row, or in both ranks' batches. The last batch is short. */
function sentencesOf(rank: number): Dataset {
  const rows = BATCH * STEPS - 3 * rank - 1;
  const ids = Uint32Array.from({ length: rows * LENGTH }, (_, i) => (i * i * 31 + rank * (i % 5) * 17) % VOCABULARY);
  const label = Float32Array.from({ length: rows }, (_, i) => Math.sin(i + rank));
  return tensors(
    { ids: { data: ids, shape: [rows, LENGTH] }, label: { data: label, shape: [rows, 1] } },
    { batch: BATCH },
  );
}

/** What ranks have learnt after two epochs, and what they summed. */
async function trained(ranks: TestRanks, strategy: StrategyOptions): Promise<{ numbers: Numbers; calls: string[] }> {
  const results = await ranks.all(async (job) => {
    const optimizer = momentum({ lr: 0.5 });
    const trainer = job.trainer(words, { strategy: { mode: "collective", ...strategy }, optimizer });
    const data = sentencesOf(job.rank);
    const { collective } = await trainer.session(data.layout);
    const calls = collective!.calls.map(({ name }) => name);
    const { communication } = await trainer.fit(data, { epochs: 2, split: false, progress: false });
    const rowsTravel = calls.some((name) => name === ROWS);
    expect(communication!.sentBytes < communication!.denseBytes / 3).toBe(rowsTravel || strategy.dgc !== undefined);
    const numbers = await learnt(trainer, data);
    await trainer.close();
    return { numbers, calls };
  });
  for (const { numbers } of results) expect(difference(numbers, results[0]!.numbers)).toEqual({ error: 0, where: "" });
  return results[0]!;
}

test("two ranks that send rows learn the same bits as with whole gradients", async () => {
  await using ranks = await TestRanks.open(2, folder.path);
  const whole = await trained(ranks, { overlap: false });
  expect(whole.calls).not.toContain(ROWS);
  // A norm that is never reached changes nothing.
  for (const more of [{}, { clip: { globalNorm: 100 } }, { elastic: { min: 1 } }, { amp: "bf16" }] as const) {
    const rows = await trained(ranks, more);
    expect(rows.calls).toContain(ROWS);
    const { numbers } = "amp" in more ? await trained(ranks, { ...more, overlap: false }) : whole;
    expect(difference(rows.numbers, numbers)).toEqual({ error: 0, where: "" });
  }
});

test("three ranks do, to rounding, also with half precision on the wire", async () => {
  await using ranks = await TestRanks.open(3, folder.path);
  const whole = await trained(ranks, { overlap: false });
  expect(difference((await trained(ranks, {})).numbers, whole.numbers).error).toBeLessThan(1e-5);
  const { error } = difference((await trained(ranks, { wire: "bf16" })).numbers, whole.numbers);
  expect(error).toBeLessThan(0.02);
  expect(error).toBeGreaterThan(1e-5);
});

test("what dgc compresses travels compressed, and what is short in rows", async () => {
  await using ranks = await TestRanks.open(2, folder.path);
  const dgc = { sparsity: [0.99], rampupSteps: 1 };
  const calls = async (minElements: number): Promise<string[]> =>
    (await trained(ranks, { dgc: { ...dgc, minElements } })).calls;
  expect(await calls(1000)).not.toContain(ROWS);
  expect(await calls(10_000)).toContain(ROWS);
});
