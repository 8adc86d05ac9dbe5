// CTR training through parameter servers beside training in one process on the same cores, and what merging saves.
import { data, optim } from "../../src/index.ts";
import { recipe, writeCtrFiles } from "./ctr-recipe.ts";
import { type PsJob, runPsJob, samplesPerSecond, totalOf } from "./ps-job.ts";
import { atLeast, atMost, type BenchResult, mean, say } from "./report.ts";

const { fields, numbers, dim, hidden, batch, learningRate } = recipe;

/** The model of the CTR benchmark on generated clicks. */
export function ctrJob(rows: number): Pick<PsJob, "train" | "model" | "optimizer" | "epochs"> {
  return {
    train: data.criteo(writeCtrFiles("ps-train", rows, 1).criteo, { batch }).spec,
    model: { categorical: fields, dense: numbers, dim, hidden: [...hidden] },
    optimizer: optim.adagrad({ lr: learningRate }),
    epochs: 1,
  };
}

const ROUNDS = 2;
/** Rows are made and code is compiled in a pass of its own: a job is long. */
const WARM_UP = 1;
/** As little traffic and waiting as large data allows; one process keeps no journal either. */
const strategy = { mode: "async", durability: "none", prefetch: 2, maxMergeGrads: 8 } as const;

export async function psTraining(quick: boolean): Promise<BenchResult> {
  const common = { ...ctrJob(quick ? 20_000 : 400_000), warmUp: quick ? 0 : WARM_UP, strategy } as const;
  const rates: { readonly here: number[]; readonly served: number[] } = { here: [], served: [] };
  for (let round = 0; round < (quick ? 1 : ROUNDS); round++) {
    rates.here.push(samplesPerSecond(await runPsJob({ ...common, workers: 1, servers: 0, threads: 2 })));
    rates.served.push(samplesPerSecond(await runPsJob({ ...common, workers: 2, servers: 1, threads: 1 })));
    say(`one process: ${Math.round(rates.here.at(-1)!)} samples/s, served: ${Math.round(rates.served.at(-1)!)}`);
  }
  const [here, served] = [mean(rates.here), mean(rates.served)];
  const byDefault = { ...common, strategy: { mode: "async" } } as const;
  const journal = samplesPerSecond(await runPsJob({ ...byDefault, workers: 2, servers: 1, threads: 1 }));
  const merged = await runPsJob({ ...byDefault, warmUp: 0, workers: 1, servers: 1, threads: 8 });
  const share = totalOf(merged, "pushedBytes") / totalOf(merged, "unmergedBytes");
  return {
    rows: [
      { system: "one process, 2 threads", metric: "training", value: here, unit: "samples/s" },
      { system: "1 server, 2 workers of 1 thread", metric: "training", value: served, unit: "samples/s" },
      { system: "the same by default, with a journal", metric: "training", value: journal, unit: "samples/s" },
      { system: "1 server, 1 worker of 8 threads", metric: "bytes pushed, of unmerged", value: share, unit: "" },
    ],
    goals: [
      atLeast("async through a server, samples/s of one process", served / here, 0.75),
      atMost("bytes pushed of 8 threads, of unmerged", share, 0.4),
    ],
  };
}
