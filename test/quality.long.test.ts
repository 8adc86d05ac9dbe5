// What training reaches: on real click-like data PyTorch's AUC, on generated Criteo data the best possible one.
import { afterAll, describe, expect, test } from "vitest";
import { type RealDataName, realData, sharedData } from "../bench/lib/real-data.ts";
import { datasets, recipes } from "../bench/lib/real-recipes.ts";
import { criteo, generateCriteo } from "../src/data/index.ts";
import { temporaryFolder } from "../src/data/testing.ts";
import { whyAbsent } from "../src/engine/providers/testing.ts";
import { init } from "../src/fleet/index.ts";
import { deepFM, logisticRegression } from "../src/models/index.ts";
import { adagrad, adam } from "../src/optim/index.ts";

const engine = whyAbsent("onednn") === undefined ? "onednn" : "wasm";
const modes = [
  { mode: "async", threads: 1 },
  { mode: "async", threads: 2 },
  { mode: "sync", threads: 2 },
] as const;

/** What PyTorch 1.13 reaches with the same hyperparameters, mean of three seeds; `npm run bench -- quality` measures anew. */
const torch: Readonly<
  Record<Exclude<RealDataName, "flights">, { readonly deepFM: number; readonly logistic: number }>
> = {
  criteo: { deepFM: 0.7334, logistic: 0.7247 },
  census: { deepFM: 0.9116, logistic: 0.9056 },
  movielens: { deepFM: 0.7045, logistic: 0.697 },
};

const absent = sharedData() === undefined ? "no ../shared/data and no FLOTILLA_SHARED_DATA" : undefined;
describe.skipIf(absent)(`real data${absent ? ` (skipped: ${absent})` : ""}`, () => {
  describe.each(Object.keys(torch) as (keyof typeof torch)[])("%s", (name) => {
    const { dim, hidden, dropout, seeds, epochs, learningRate, logisticRate } = recipes[name];

    test.each(modes)("$mode with $threads threads reaches PyTorch's AUC", async ({ mode, threads }) => {
      const real = await realData(name);
      const data = datasets(name, real);
      const columns = { categorical: real.train.fields, dense: real.train.numbers };
      // As many rows a step as the recipe says, of however many threads.
      const batch = data.train.spec.batch / (mode === "sync" ? threads : 1);
      const [train, held] = [data.train.with({ batch }), data.test.with({ batch })];
      const job = await init({ threads, engine, maxBytes: 2 ** 30 });
      const reach = async (model: ReturnType<typeof deepFM>, lr: number, seed: number): Promise<number> => {
        const trainer = job.trainer(model, { optimizer: adagrad({ lr }), strategy: { mode }, seed });
        await trainer.fit(train, { epochs, progress: false });
        const { auc, samples } = await trainer.evaluate(held);
        expect(samples).toBe(real.test.rows);
        await trainer.close();
        return auc;
      };
      const aucs: number[] = [];
      for (const seed of seeds) {
        aucs.push(await reach(deepFM({ ...columns, dim, hidden, dropout, seed }), learningRate, seed));
      }
      expect(aucs.reduce((a, b) => a + b, 0) / aucs.length).toBeGreaterThan(torch[name].deepFM - 0.005);
      expect(await reach(logisticRegression(columns), logisticRate, 1)).toBeGreaterThan(torch[name].logistic - 0.005);
      await job.close();
    });
  });
});

describe("generated Criteo data", () => {
  const folder = temporaryFolder();
  afterAll(() => folder.dispose());
  const file = (name: string): string => `${folder.path}/${name}`;
  const generated = (async () => {
    await generateCriteo({ path: file("train.tsv"), rows: 1_000_000, maxCardinality: 5 });
    return generateCriteo({ path: file("held.tsv"), rows: 100_000, seed: 2, maxCardinality: 5 });
  })();

  test.each(modes)("$mode with $threads threads comes within 0.005 of the best AUC", async ({ mode, threads }) => {
    const { bestAuc, bestLogLoss } = await generated;
    const job = await init({ threads, engine, maxBytes: 2 ** 30 });
    const batch = mode === "sync" ? 128 : 256;
    const model = deepFM({ categorical: 26, dense: 13, dim: 8, hidden: [64, 32] });
    const lr = { kind: "cosine", lr: 0.005, total: 7800 } as const;
    const trainer = job.trainer(model, { optimizer: adam({ lr }), strategy: { mode } });
    await trainer.fit(criteo(file("train.tsv"), { batch, shuffle: 1 }), { epochs: 2, progress: false });
    const { auc, loss } = await trainer.evaluate(criteo(file("held.tsv"), { batch }));
    expect(auc).toBeGreaterThan(bestAuc - 0.005);
    expect(loss).toBeLessThan(bestLogLoss + 0.005);
    await job.close();
  });
});
