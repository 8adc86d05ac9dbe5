// Switches of the strategy that change how a step is computed, and not what comes out.
import { createHash } from "node:crypto";
import { afterAll, describe, expect, test } from "vitest";
import { deepFM } from "../models/index.ts";
import { adam } from "../optim/index.ts";
import { init } from "./job.ts";
import type { StrategyOptions } from "./strategy.ts";
import { clickColumns, clickFile, clicks, temporaryFolder } from "./testing.ts";

const folder = temporaryFolder();
afterAll(() => folder.dispose());
const train = clickFile(folder.path, "train.csv", 800, 1);
const dataset = clicks(train.path, 32, { order: "file" });
const model = deepFM({ ...clickColumns, dim: 4, hidden: [64, 64, 64, 64], dropout: 0.2, norm: "batch" });

/** Bytes of activations, and a digest of all dense weights, statistics and optimizer state after two epochs. */
async function result(strategy: StrategyOptions, threads: number): Promise<{ activations: number; state: string }> {
  const job = await init({ threads, engine: "wasm", maxBytes: 2 ** 26 });
  const trainer = job.trainer(model, { strategy, optimizer: adam({ lr: 0.01 }) });
  const session = await trainer.session(dataset.layout);
  await trainer.fit(dataset, { epochs: 2, progress: false });
  const digest = createHash("sha256");
  for (const name of session.parameters.names)
    digest.update(new Uint8Array(session.parameters.view(name).slice().buffer));
  await job.close();
  return { activations: session.memory.activations, state: digest.digest("hex") };
}

describe.each([
  ["async", 1],
  ["sync", 2],
] as const)("%s with %i threads", (mode, threads) => {
  test("recompute trains the same to the bit, in less memory", async () => {
    const [whole, again] = [
      await result({ mode }, threads),
      await result({ mode, recompute: { segments: 3 } }, threads),
    ];
    expect(again.state).toBe(whole.state);
    expect(again.activations).toBeLessThan(whole.activations);
  });

  test("debug.nan changes nothing where all is finite", async () => {
    expect(await result({ mode, debug: { nan: true } }, threads)).toEqual(await result({ mode }, threads));
  });
});

test("deterministic runs repeat to the bit", async () => {
  const strategy = { mode: "sync", deterministic: true } as const;
  expect(await result(strategy, 2)).toEqual(await result(strategy, 2));
});
