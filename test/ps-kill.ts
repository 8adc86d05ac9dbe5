// For tests: a training run of several processes, some of which are killed at random moments. Beside a click model it trains
// a table whose every look-up adds one, so that what was lost can be counted.
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openCheckpoint } from "../src/checkpoint/index.ts";
import type { Child } from "../src/cli/testing.ts";
import type { LaunchPlace } from "../src/cli/testing-launch.ts";
import { featureId, generateCriteo } from "../src/data/index.ts";
import { askStatus } from "../src/launch/inspect.ts";
import type { JobFile } from "../src/launch/jobs.ts";
import { randomFrom } from "../src/program/testing.ts";

const modulePath = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const library = modulePath("../src/index.ts");
const program = modulePath("../src/program/index.ts");
const BATCH = 64;
const CATEGORICAL = 26;

/**
 * The loss of `counts` is −rows/B of the mean over a batch, so that with a rate of B every occurrence adds one, of a short
 * batch too. Passes go on until the file "last" says which one is the last.
 */
const script = `
import { existsSync, readFileSync } from "node:fs";
import { data, fleet, models, optim } from ${JSON.stringify(library)};
import { sigmoidCrossEntropy } from ${JSON.stringify(program)};
const job = await fleet.init({ engine: "wasm", maxBytes: 2 ** 27 });
const clicks = models.deepFM({ categorical: ${CATEGORICAL}, dense: 13, dim: 4, hidden: [16] });
let ones;
const model = {
  name: "counted",
  config: {},
  task: "binary",
  forward(columns, ctx) {
    const table = ctx.table({ name: "counts", seed: 1, fields: [{ name: "ones", dim: 1, slots: [], init: { kind: "zeros", scale: 0 } }] });
    ones = table.lookup(columns.categorical).gatherPool("ones", "sum").reshape([-1]);
    return clicks.forward(columns, ctx);
  },
  loss(logits, { label, weight }) {
    const clickLoss = sigmoidCrossEntropy(logits.reshape([-1]), label);
    return { loss: clickLoss.sub(ones.mul(weight.sum().mul(1 / ${BATCH}))) };
  },
};
const trainer = job.trainer(model, {
  optimizer: { default: optim.adagrad({ lr: 0.02 }), ones: optim.sgd({ lr: ${BATCH} }) },
  // Trainers of so small a model outrun the servers: gradients that wait would make each run another one.
  strategy: { mode: "async", sendQueueSize: 2 },
});
const [train, test] = ["train.tsv", "test.tsv"].map((name) => data.criteo(name, { batch: ${BATCH} }));
for (let pass = 1; ; pass++) {
  if (existsSync("last") && pass > Number(readFileSync("last", "utf8"))) break;
  console.log("pass " + pass);
  await trainer.fit(train.shard(job), { epochs: pass, progress: false });
}
const { auc } = await trainer.evaluate(test);
await trainer.save("model");
console.log("auc " + auc);
await job.close();
`;

export interface KillRun {
  readonly code: number | null;
  readonly stderr: string;
  readonly passes: number;
  readonly kills: { readonly servers: number; readonly workers: number };
  readonly auc: number;
  /** Of each key what was counted, and how often it occurs in all passes. */
  readonly counts: readonly { readonly key: bigint; readonly counted: number; readonly expected: number }[];
}

export interface KillRunOptions {
  readonly place: LaunchPlace;
  readonly name: string;
  readonly kills: number;
  /** Passes at least. */
  readonly passes: number;
  readonly seed: number;
}

/** Files that both runs read. */
export async function writeClicks(place: LaunchPlace, rows: number): Promise<void> {
  for (const [name, seed] of [
    ["train", 1],
    ["test", 2],
  ] as const) {
    await generateCriteo({ path: join(place.path, `${name}.tsv`), rows, seed, maxCardinality: 10 });
  }
}

/** Steps between two kills at most, and how often servers tell theirs. */
const MOST_STEPS = 60;
const REPORT_MS = 2000;
const SERVERS = 2;
const WORKERS = 2;

/** Trains with `kills` kills of random processes, and as many passes as that takes but at least those that are wanted. */
export async function trainUnderKills({ place, name, kills, passes, seed }: KillRunOptions): Promise<KillRun> {
  const random = randomFrom(seed);
  place.write("count.ts", script);
  rmSync(join(place.path, "last"), { force: true });
  if (kills === 0) place.write("last", String(passes));
  const child = place.launch(
    ...["--servers", String(SERVERS), "--workers", String(WORKERS), "--threads", "1", "--server-threads", "1"],
    ...["--restart", "1000", "--job", name, "count.ts"],
  );
  /** The pass that the slowest worker has begun. */
  const pass = (): number =>
    Math.min(
      ...Array.from({ length: WORKERS }, (_, rank) => {
        const begun = [...child.stdout.matchAll(new RegExp(`^W${rank} \\| pass (\\d+)$`, "gm"))];
        return Math.max(0, ...begun.map(([, number]) => Number(number)));
      }),
    );
  const killed = { servers: 0, workers: 0 };
  await child.until(() => pass() >= 1);
  const file = JSON.parse(place.read(`jobs/${name}.json`)) as JobFile;
  let steps = 0;
  while (killed.servers + killed.workers < kills) {
    // Between two kills all have learnt something, or nothing could be lost.
    steps = await reached(child, file, steps + 1 + Math.floor(MOST_STEPS * random()));
    await sleep(REPORT_MS * random());
    const role = random() < 0.5 ? "server" : "worker";
    const rank = Math.floor(random() * (role === "server" ? SERVERS : WORKERS));
    const { processes } = await askStatus(file);
    const target = processes.find((each) => each.role === role && each.rank === rank && each.state === "running");
    if (typeof target?.pid !== "number" || !killProcess(target.pid)) continue;
    killed[`${role}s`]++;
  }
  if (kills > 0) {
    // What has begun is ended; one more pass shows that all go on.
    const begun = [...child.stdout.matchAll(/\| pass (\d+)$/gm)].map(([, number]) => Number(number));
    place.write("last", String(Math.max(passes, ...begun.map((number) => number + 1))));
  }
  const { code, stdout, stderr } = await child.outcome;
  const auc = Number(/^W0 \| auc ([\d.]+)$/m.exec(stdout)?.[1]);
  const done = Number(place.read("last"));
  return { code, stderr, passes: done, kills: killed, auc, counts: code === 0 ? await countsOf(place, done) : [] };
}

/** Waits until the servers have done so many steps; returns how many they have done. */
async function reached(child: Child, file: JobFile, goal: number): Promise<number> {
  for (;;) {
    if (child.process.exitCode !== null) throw new Error(`ended with ${child.process.exitCode}: ${child.stderr}`);
    const { processes } = await askStatus(file);
    const steps = processes.filter(({ role }) => role === "server").map(({ report }) => Number(report.step ?? 0));
    if (Math.max(...steps) >= goal) return Math.max(...steps);
    await sleep(100);
  }
}

async function countsOf(place: LaunchPlace, passes: number): Promise<KillRun["counts"]> {
  const expected = new Map<bigint, number>();
  for (const line of readFileSync(join(place.path, "train.tsv"), "utf8").split("\n").slice(0, -1)) {
    for (const [column, value] of line.split("\t").slice(-CATEGORICAL).entries()) {
      const key = featureId(column, value);
      expected.set(key, (expected.get(key) ?? 0) + passes);
    }
  }
  const counted = new Map<bigint, number>();
  await using saved = await openCheckpoint(join(place.path, "model"));
  for await (const { keys, columns } of saved.table("counts").chunks()) {
    for (const [i, key] of keys.entries()) counted.set(key, columns[0]![i]!);
  }
  return [...expected].map(([key, expected]) => ({ key, expected, counted: counted.get(key) ?? 0 }));
}

/** False where it has ended by itself. */
function killProcess(pid: number): boolean {
  try {
    return process.kill(pid, "SIGKILL");
  } catch {
    return false;
  }
}
