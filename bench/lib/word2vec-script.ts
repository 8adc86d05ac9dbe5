// The script of the parts of the word2vec benchmark that run as jobs: one worker. Writes what it measured.
import { writeFileSync } from "node:fs";
import { fleet, models } from "../../src/index.ts";

export interface Word2VecScript {
  readonly text: string;
  readonly model: models.Word2VecOptions;
  readonly threads: number;
  readonly options: Pick<fleet.TrainVectorsOptions, "mode" | "everyWords" | "wire">;
  /** Stops there: what is slow is measured on a part. */
  readonly maxSeconds?: number;
  /** Where worker RANK writes its result: `PATH.RANK`. */
  readonly out: string;
}

export interface Word2VecMeasured {
  readonly words: number;
  /** From the first word to the end of the last exchange. */
  readonly seconds: number;
  readonly traffic: fleet.TrainVectorsResult["traffic"];
}

const { text, model, threads, options, maxSeconds, out } = JSON.parse(process.argv[2]!) as Word2VecScript;
const job = await fleet.init({ threads: 1, engine: "wasm" });
const signal = maxSeconds === undefined ? {} : { signal: AbortSignal.timeout(1000 * maxSeconds) };
const training = { ...options, ...signal, threads, progress: false, maxBytes: 2 ** 30 };
const { words, seconds, traffic } = await fleet.trainVectors(job, models.word2vec(model), text, training);
writeFileSync(`${out}.${job.rank}`, JSON.stringify({ words, seconds, traffic } satisfies Word2VecMeasured));
await job.close();
