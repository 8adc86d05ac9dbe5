// CTR training through parameter servers beside training in one process: throughput, bytes, quality by mode.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { writeCtrFiles } from "./ctr-recipe.ts";
import { scratchFile } from "./paths.ts";
import type { PsMeasured, PsScript } from "./ps-script.ts";
import { atLeast, atMost, type BenchGoal, type BenchResult, type BenchRow, say } from "./report.ts";

const script = fileURLToPath(new URL("./ps-script.ts", import.meta.url));
const flotilla = fileURLToPath(new URL("../../bin/flotilla.js", import.meta.url));

interface Place {
  readonly workers: number;
  readonly servers: number;
}

async function train({ workers, servers }: Place, options: Omit<PsScript, "out">): Promise<PsMeasured[]> {
  const out = scratchFile("ps-result.json");
  const json = JSON.stringify({ ...options, out });
  const launch = ["launch", "--servers", String(servers), "--server-threads", "1", "--workers", String(workers)];
  const args =
    servers === 0 ? [script, json] : [flotilla, ...launch, "--threads", String(options.threads), script, json];
  await new Promise<void>((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
    child.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`the job ended with code ${code}`))));
  });
  return Array.from({ length: workers }, (_, rank) => JSON.parse(readFileSync(`${out}.${rank}`, "utf8")) as PsMeasured);
}

const rate = (all: readonly PsMeasured[]): number =>
  all.reduce((sum, { samples }) => sum + samples, 0) / Math.max(...all.map(({ seconds }) => seconds));

const total = (all: readonly PsMeasured[], name: string): number =>
  all.reduce((sum, { traffic }) => sum + (traffic?.[name] ?? 0), 0);

/** Training with the same cores, in one process and through a server; then what the modes learn. */
export async function psTraining(quick: boolean): Promise<BenchResult> {
  const rows = quick ? 20_000 : 400_000;
  const files = { train: writeCtrFiles("ps-train", rows, 1).criteo, test: writeCtrFiles("ps-test", 50_000, 2).criteo };
  const results: BenchRow[] = [];
  const goals: BenchGoal[] = [];
  const add = (system: string, metric: string, value: number, unit: string): void => {
    results.push({ system, metric, value, unit });
  };
  const common = { ...files, epochs: 1 };
  const jobs = { here: { workers: 1, servers: 0 }, remote: { workers: 2, servers: 1 } } as const;

  const local = await train(jobs.here, { ...common, threads: 2, strategy: { mode: "async" } });
  const durability = "none";
  const async = await train(jobs.remote, { ...common, threads: 1, strategy: { mode: "async", durability } });
  add("one process, 2 threads", "samples", rate(local), "1/s");
  add("1 server, 2 workers", "samples", rate(async), "1/s");
  goals.push(atLeast("samples/s through a server, of one process", rate(async) / rate(local), 0.75));
  say(`async through a server: ${Math.round(rate(async))} samples/s of ${Math.round(rate(local))}`);

  const merged = await train(
    { workers: 1, servers: 1 },
    { ...common, threads: 8, strategy: { mode: "async", durability } },
  );
  const share = total(merged, "pushedBytes") / total(merged, "unmergedBytes");
  add("8 threads", "pushed bytes, of unmerged", share, "");
  goals.push(atMost("merged push bytes at 8 threads, of unmerged", share, 0.4));

  const sync = await train(jobs.remote, { ...common, threads: 1, strategy: { mode: "sync", durability } });
  add("sync", "AUC", sync[0]!.auc, "");
  const halfAsync = await train(jobs.remote, { ...common, threads: 1, strategy: { mode: "half-async", durability } });
  for (const [mode, measured] of [
    ["async", async],
    ["half-async", halfAsync],
  ] as const) {
    add(mode, "AUC", measured[0]!.auc, "");
    goals.push(atMost(`AUC of sync − AUC of ${mode}`, sync[0]!.auc - measured[0]!.auc, 0.002));
  }
  const bySgd = { ...common, optimizer: "sgd", threads: 1 } as const;
  const syncSgd = await train(jobs.remote, { ...bySgd, strategy: { mode: "sync", durability } });
  const geo = await train(jobs.remote, { ...bySgd, strategy: { mode: "geo", geo: { every: 25 }, durability } });
  add("sync, SGD", "AUC", syncSgd[0]!.auc, "");
  add("geo, SGD", "AUC", geo[0]!.auc, "");
  goals.push(atMost("AUC of sync − AUC of geo, SGD", syncSgd[0]!.auc - geo[0]!.auc, 0.002));
  return { rows: results, goals };
}
