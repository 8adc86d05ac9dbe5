// Which part of the data a worker of several reads: one share, or parts that workers lease one after the other, so that those
// of a worker that dies go to others.
import { statSync } from "node:fs";
import { type Dataset, expandPatterns } from "../data/index.ts";
import type { Job } from "./job.ts";
import type { Strategy } from "./strategy.ts";

/** The most parts a worker: enough to share out evenly and to lose little with a worker. */
const PARTS = 8;
/** The least bytes of a part: reader threads start anew for each. */
const PART_BYTES = 2 ** 24;

export interface DataPart {
  readonly dataset: Dataset;
  /** Whether the others wait for this part to be done, so that a pass ends for all at once. */
  readonly leased: boolean;
  /** All its rows are trained on, and what they taught is with the servers. */
  done(): Promise<void>;
}

/** The whole data, where the dataset is this worker's share of it as the job cuts it; else the dataset. */
export function wholeOf(dataset: Dataset, { rank, worldSize }: Pick<Job, "rank" | "worldSize">): Dataset {
  const { shard } = dataset.spec;
  return isOwnShare(shard, { rank, worldSize }) ? dataset.shard({ rank: 0, worldSize: 1 }) : dataset;
}

/** @param key the same in all workers, another one for each pass */
export async function* partsOf(
  dataset: Dataset,
  job: Pick<Job, "rank" | "worldSize" | "servers" | "workers">,
  { mode, split }: Pick<Strategy, "mode"> & { readonly split: boolean },
  key: string,
): AsyncGenerator<DataPart> {
  const { rank, worldSize, servers, workers } = job;
  const { shard } = dataset.spec;
  const whole = wholeOf(dataset, job);
  const shared = split && (servers !== undefined || mode === "collective") && worldSize > 1;
  if (!shared || whole.spec.shard.worldSize > 1) {
    yield { dataset, leased: false, done: async () => {} };
  } else if (mode === "sync" || mode === "collective" || workers.member === undefined) {
    // Workers in step need the same shares in every run.
    yield {
      dataset: isOwnShare(shard, job) ? dataset : whole.shard({ rank, worldSize }),
      leased: false,
      done: async () => {},
    };
  } else {
    const count = countParts(whole, worldSize);
    const parts = Array.from({ length: count }, (_, part) => `${part}/${count}`);
    const queue = await workers.member.lease(key, parts);
    for (let unit = await queue.next(); unit !== undefined; unit = await queue.next()) {
      const held = unit;
      const part = whole.shard({ rank: held.index, worldSize: count });
      yield { dataset: part, leased: true, done: () => held.done() };
    }
  }
}

function countParts({ spec }: Dataset, workers: number): number {
  if (spec.format === "tensors") return workers;
  const bytes = expandPatterns(spec.patterns).reduce((sum, path) => sum + statSync(path).size, 0);
  // As many for each: workers of the same speed end together.
  return workers * Math.max(1, Math.min(PARTS, Math.round(bytes / PART_BYTES / workers)));
}

const isOwnShare = (
  shard: { readonly rank: number; readonly worldSize: number },
  { rank, worldSize }: Pick<Job, "rank" | "worldSize">,
): boolean => worldSize > 1 && shard.worldSize === worldSize && shard.rank === rank;
