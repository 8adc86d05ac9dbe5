// The parameter server: rows a second of a partition, training through servers beside one process, what modes hide of a slow
// network, what they learn, and what `flotilla plan` predicts.
import { psCapacity } from "./lib/ps-capacity.ts";
import { psNetwork } from "./lib/ps-network.ts";
import { psPartition } from "./lib/ps-partition.ts";
import { psQuality, type QualityData } from "./lib/ps-quality.ts";
import { psTraining } from "./lib/ps-training.ts";
import type { BenchOptions, BenchResult } from "./lib/report.ts";

interface Effort {
  readonly quick: boolean;
  /** Of one measurement of a partition. */
  readonly seconds: number;
}

const quality =
  (name: QualityData) =>
  ({ quick }: Effort): Promise<BenchResult> =>
    psQuality(name, quick);

const measures: Readonly<Record<string, (effort: Effort) => Promise<BenchResult>>> = {
  partition: ({ seconds }) => psPartition(seconds),
  training: ({ quick }) => psTraining(quick),
  network: ({ quick }) => psNetwork(quick),
  capacity: ({ quick }) => psCapacity(quick),
  generated: quality("generated"),
  flights: quality("flights"),
  movielens: quality("movielens"),
  criteo: quality("criteo"),
};

/** What `--only` picks from. */
export const parts: readonly string[] = Object.keys(measures);

const QUICK: readonly string[] = ["partition", "training", "criteo"];

export async function run({
  quick = false,
  only,
  seconds = 2,
}: BenchOptions & { readonly seconds?: number } = {}): Promise<BenchResult> {
  const chosen = only ?? (quick ? QUICK : parts);
  const results: BenchResult[] = [];
  for (const [name, measure] of Object.entries(measures)) {
    if (chosen.includes(name)) results.push(await measure({ quick, seconds }));
  }
  return { rows: results.flatMap(({ rows }) => rows), goals: results.flatMap(({ goals }) => goals) };
}
