// For tests: scripts that workers run, and the real command with a jobs folder of its own.
import { chmodSync, mkdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Child, Workplace } from "./testing.ts";

const cluster = fileURLToPath(new URL("../cluster/index.ts", import.meta.url));
const library = fileURLToPath(new URL("../index.ts", import.meta.url));

/** Trains through servers; says when it has begun. The first argument is how often it goes over the data. */
const training = `
import { data, fleet, models, optim } from ${JSON.stringify(library)};
const job = await fleet.init({ engine: "wasm", maxBytes: 2 ** 26 });
const model = models.deepFM({ categorical: 26, dense: 13, dim: 4, hidden: [8] });
const trainer = job.trainer(model, { optimizer: optim.adagrad({ lr: 0.05 }), strategy: { mode: "async" } });
console.log("begins");
const train = data.criteo("train.tsv", { batch: 64 }).shard(job);
const { samples } = await trainer.fit(train, { epochs: Number(process.argv[2]), progress: false });
const { auc } = await trainer.evaluate(data.criteo("train.tsv", { batch: 64 }));
console.log("trained " + samples + " auc " + auc);
await job.close();
`;

/** What a worker does by its first argument. */
const worker = `
import { Member, worldFromEnvironment } from ${JSON.stringify(cluster)};
const [what, ...rest] = process.argv.slice(2);
const world = worldFromEnvironment();
const { rank, workers, attempt } = world;
const { promise: forever } = Promise.withResolvers();
const alive = setInterval(() => {}, 1000);
switch (what) {
  case "show":
    console.log(JSON.stringify({ rank, attempt, threads: world.threads, args: rest, host: world.host, env: process.env.FROM_TEST, cwd: process.cwd() }));
    console.error("on stderr");
    break;
  case "meet": {
    const member = await Member.connect(world);
    await member.join({ addresses: ["address-" + rank] });
    const all = await member.members("worker", workers);
    await member.barrier("all", workers);
    console.log("met " + all.map(({ addresses }) => addresses[0]).join(" ") + " attempt " + attempt);
    await member.leave();
    break;
  }
  case "wait": {
    const member = await Member.connect(world);
    await member.join();
    member.report({ step: 10 * (rank + 1), samplesPerSecond: 1234.5, activity: "waiting" });
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.once(signal, () => {
        console.log("saved after " + signal);
        member.leave().then(() => process.exit(0));
      });
    }
    console.log("ready " + process.pid + " attempt " + attempt);
    await forever;
    break;
  }
  case "stubborn":
    process.on("SIGINT", () => {}).on("SIGTERM", () => {});
    console.log("ready " + process.pid);
    await forever;
    break;
  case "fail":
    if (rank === 1) {
      console.error("cannot go on");
      process.exit(Number(rest[0]));
    }
    await forever;
    break;
  case "fail-first":
    if (attempt === 0) process.exit(7);
    console.log("attempt " + attempt);
    break;
}
clearInterval(alive);
`;

export class LaunchPlace extends Workplace {
  constructor() {
    super();
    this.write("worker.ts", worker);
    this.write("training.ts", training);
  }

  /** What the command's environment needs beside that of the test. */
  get env(): Record<string, string> {
    return { FLOTILLA_JOBS: join(this.path, "jobs"), FROM_TEST: "inherited" };
  }

  launch(...args: readonly string[]): Child {
    return this.startWith(this.env, "launch", ...args);
  }

  /** Puts programs before those of the system. */
  fakePath(programs: Readonly<Record<string, string>>): string {
    mkdirSync(join(this.path, "bin"), { recursive: true });
    for (const [name, text] of Object.entries(programs)) chmodSync(this.write(`bin/${name}`, text), 0o755);
    return [join(this.path, "bin"), process.env.PATH].join(delimiter);
  }
}

/** Whether a process runs that is no zombie. */
export function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
