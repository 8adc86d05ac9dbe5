// Word vectors by several workers beside a server: Geo-SGD against one worker on this machine, and against exchanges after each
// batch over a slow network.
import { fileURLToPath } from "node:url";
import { formatCount } from "../../src/report/index.ts";
import { runJob } from "./job.ts";
import { atLeast, type BenchResult, type BenchRow, median, say } from "./report.ts";
import { slowNetworkProblem, withSlowNetwork } from "./slow-network.ts";
import type { Word2VecMeasured, Word2VecScript } from "./word2vec-script.ts";

const script = fileURLToPath(new URL("./word2vec-script.ts", import.meta.url));

type Options = Omit<Word2VecScript, "out" | "threads">;

/** Words a second of all workers together, over the time of the slowest. */
const wordsPerSecond = (all: readonly Word2VecMeasured[]): number =>
  all.reduce((sum, { words }) => sum + words, 0) / Math.max(...all.map(({ seconds }) => seconds));

const megabytes = (all: readonly Word2VecMeasured[], name: "sentBytes" | "receivedBytes"): number =>
  all.reduce((sum, { traffic }) => sum + traffic[name], 0) / 1e6;

/** One worker of one thread beside a server, and two, in turns. */
export async function geoScaling(options: Options, rounds: number): Promise<BenchResult> {
  const rates: Record<1 | 2, number[]> = { 1: [], 2: [] };
  let last: Word2VecMeasured[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const workers of [1, 2] as const) {
      last = await runJob<Word2VecMeasured>({ workers, servers: 1, threads: 1 }, script, { ...options, threads: 1 });
      rates[workers].push(wordsPerSecond(last));
      say(`geo, ${workers} × 1 thread: ${Math.round(rates[workers].at(-1)! / 1000)} k words/s`);
    }
  }
  const [one, two] = [median(rates[1]), median(rates[2])];
  const every = formatCount(options.options.everyWords ?? 0);
  const row = (metric: string, value: number, unit: string): BenchRow => ({ system: "flotilla", metric, value, unit });
  return {
    rows: [
      row(`geo, 1 worker of 1 thread, 1 server, every ${every} words`, one / 1000, "k words/s"),
      row(`geo, 2 workers of 1 thread, 1 server, every ${every} words`, two / 1000, "k words/s"),
      row("of them sent and received", megabytes(last, "sentBytes") + megabytes(last, "receivedBytes"), "MB"),
    ],
    goals: [atLeast("two geo workers / one", two / one, 1.8)],
  };
}

const MBIT = 100;
const WORKERS = 4;
/** Of mode `async`, whose speed does not change with time. */
const ASYNC_SECONDS = 20;

/** Four workers and a server, each on a host with a slow link, in both modes. */
export async function overSlowNetwork(options: Options): Promise<BenchResult> {
  const problem = slowNetworkProblem();
  if (problem !== undefined) {
    say(`the slow network is left out: ${problem}`);
    return { rows: [], goals: [] };
  }
  const measure = (mode: "geo" | "async"): Promise<number> =>
    withSlowNetwork({ hosts: 1 + WORKERS, rate: `${MBIT}mbit` }, async (hosts) => {
      const { everyWords: _, ...common } = options.options;
      const own = mode === "geo" ? options.options : { ...common, mode };
      const limit = mode === "geo" ? {} : { maxSeconds: ASYNC_SECONDS };
      const job = { ...options, ...limit, options: own, threads: 1 };
      const all = await runJob<Word2VecMeasured>({ workers: WORKERS, servers: 1, hosts, threads: 1 }, script, job);
      const [sent, received] = [megabytes(all, "sentBytes"), megabytes(all, "receivedBytes")];
      const rate = wordsPerSecond(all);
      say(
        `${mode}: ${Math.round(rate / 1000)} k words/s, ${Math.round(sent)} MB sent, ${Math.round(received)} received`,
      );
      return rate;
    });
  const async = await measure("async");
  const geo = await measure("geo");
  const where = `${WORKERS} workers of 1 thread and 1 server at ${MBIT} Mbit`;
  return {
    rows: [
      { system: "flotilla", metric: `async, ${where}`, value: async / 1000, unit: "k words/s" },
      { system: "flotilla", metric: `geo, ${where}`, value: geo / 1000, unit: "k words/s" },
    ],
    goals: [atLeast(`geo / async, ${where}`, geo / async, 4)],
  };
}
