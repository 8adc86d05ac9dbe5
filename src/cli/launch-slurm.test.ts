// A real Slurm of two nodes, and real mpirun and mpiexec, where they are installed.
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type SlurmCluster, startSlurm, whyNoSlurm, whyNot } from "../../test/slurm.ts";
import { generateCriteo } from "../data/index.ts";
import { askStatus } from "../launch/inspect.ts";
import type { JobFile } from "../launch/jobs.ts";
import { flotilla } from "../launch/programs.ts";
import { Child } from "./testing.ts";
import { LaunchPlace } from "./testing-launch.ts";

const place = new LaunchPlace();
const digits = fileURLToPath(new URL("../../examples/mnist.ts", import.meta.url));
afterAll(() => place.dispose());

const lines = (text: string): string[] => text.split("\n").filter((line) => line !== "");
const met = (text: string): string[] =>
  lines(text)
    .filter((line) => line.includes("met "))
    .sort();
const all = "met address-0 address-1 address-2 attempt 0";

// Each test starts many processes, which takes long where others run.
const options = { timeout: 120_000 };

const noSlurm = whyNoSlurm();
describe.skipIf(noSlurm !== undefined)(`under Slurm${noSlurm === undefined ? "" : ` (${noSlurm})`}`, options, () => {
  let cluster: SlurmCluster;
  beforeAll(async () => {
    cluster = await startSlurm(2);
  });
  afterAll(() => cluster?.stop());

  const launch = (...args: string[]): Child => place.startWith({ ...place.env, ...cluster.env }, "launch", ...args);
  /** A program with its arguments, in the environment of the cluster. */
  const run = (program: string, ...args: string[]): Child =>
    new Child(args, place.path, { program, env: { ...place.env, ...cluster.env } });

  it("srun of a script makes every task a worker, on both nodes, by keys of their own", async () => {
    const { code, stdout } = await run("srun", "-N2", "-n3", process.execPath, "worker.ts", "meet").outcome;
    expect(met(stdout)).toEqual([all, all, all]);
    expect(code).toBe(0);
  });

  it("srun of the command gives every task its role, and its code to all", async () => {
    const tasks = ["srun", "-N2", "-n3", process.execPath, flotilla, "launch", "--workers", "3", "worker.ts"] as const;
    const { code, stdout } = await run(...tasks, "meet").outcome;
    expect(met(stdout)).toEqual([0, 1, 2].map((rank) => `W${rank} | ${all}`));
    expect(code).toBe(0);
    const failed = await run(...tasks, "fail", "9").outcome;
    expect(failed.stderr).toMatch(/^flotilla: worker 1 .* ended with code 9 .*; its last lines:\n {2}cannot go on$/m);
    expect(failed.code).toBe(9);
  });

  it("refuses another number of tasks than processes", async () => {
    const { code, stderr } = await run(
      "srun",
      "-n2",
      process.execPath,
      flotilla,
      "launch",
      "--servers=1",
      "--workers=3",
      "worker.ts",
    ).outcome;
    expect(stderr).toContain("Slurm has started 2 tasks, but 1 servers and 3 workers are 4; make them equal");
    expect(code).toBe(2);
  });

  it("starts a worker again in its task", async () => {
    const args = ["launch", "--workers", "2", "--restart", "1", "worker.ts", "fail-first"];
    const { code, stdout } = await run("srun", "-N2", "-n2", process.execPath, flotilla, ...args).outcome;
    expect(lines(stdout).sort()).toEqual(["W0 | attempt 1", "W1 | attempt 1"]);
    expect(code).toBe(0);
  });

  it("submits a job from outside, and shows its output and its end", async () => {
    const args = ["--slurm", "--nodes", "2", "--workers", "3", "worker.ts", "meet"];
    const { code, stdout, stderr } = await launch(...args).outcome;
    expect(met(stdout)).toEqual([0, 1, 2].map((rank) => `W${rank} | ${all}`));
    expect(stderr).toMatch(/^flotilla: job worker-\w+ is Slurm job \d+; its output is in .*output\.txt$/m);
    expect(stderr).toMatch(/^flotilla: job \d+ is completed$/m);
    expect(code).toBe(0);
  });

  it("gives the code of a job that failed, and says what Slurm refuses", async () => {
    const { code } = await launch("--slurm", "--workers", "2", "worker.ts", "fail", "9").outcome;
    expect(code).toBe(9);
    const refused = await launch("--slurm", "--partition", "none", "worker.ts", "show").outcome;
    expect(refused.stderr).toMatch(/^error: sbatch refused .*invalid partition/im);
    expect(refused.code).toBe(2);
  });

  it("trains through servers on other nodes, one of which is killed meanwhile", async () => {
    await generateCriteo({ path: join(place.path, "train.tsv"), rows: 2000, maxCardinality: 20 });
    const args = ["--servers", "1", "--workers", "2", "--threads", "1", "--server-threads", "1", "--job", "ctr"];
    const command = [process.execPath, flotilla, "launch", ...args, "training.ts", "3"];
    const child = run("srun", "-N2", "-n3", ...command);
    await child.until(() => child.stdout.match(/begins/g)?.length === 2);
    const { processes } = await askStatus(JSON.parse(place.read("jobs/ctr.json")) as JobFile);
    process.kill(processes.find(({ role }) => role === "server")!.pid!, "SIGKILL");
    const { code, stdout, stderr } = await child.outcome;
    expect(stderr).toMatch(/^flotilla: server 0 .* was killed by SIGKILL at .*; it is started again$/m);
    const trained = [...stdout.matchAll(/trained (\d+) auc/g)];
    expect(trained.reduce((sum, [, samples]) => sum + Number(samples), 0)).toBe(3 * 2000);
    expect(code).toBe(0);
  });

  it("trains a dense model on both nodes, whose ranks end with the same bits", async () => {
    const settings = ["--rows", "64", "--batch", "32", "--export", place.path];
    const { code, stdout, stderr } = await run("srun", "-N2", "-n2", process.execPath, digits, ...settings).outcome;
    expect(stdout, stderr).toMatch(/% of the held-out pictures right, 2 steps, 2 workers\n$/);
    expect(place.read("weights-0.safetensors")).toBe(place.read("weights-1.safetensors"));
    expect(code).toBe(0);
  });

  it("ends a submitted job in order by Ctrl-C", async () => {
    const child = launch("--slurm", "--nodes", "2", "--workers", "2", "worker.ts", "wait");
    await child.until(() => child.stdout.match(/ready \d+/g)?.length === 2);
    child.process.kill("SIGINT");
    const { code, stdout, stderr } = await child.outcome;
    expect(stdout.match(/saved after SIGINT/g)).toHaveLength(2);
    expect(stderr).toMatch(/SIGINT: ending job \d+, once more cancels it/);
    expect(code).toBe(130);
  });

  it("cancels a job that waits", async () => {
    const child = launch("--slurm", "--workers", "2", "--sbatch=--begin=now+1hour", "worker.ts", "show");
    await child.until(() => child.stderr.includes("is pending"));
    child.process.kill("SIGTERM");
    const { code, stderr } = await child.outcome;
    expect(stderr).toMatch(/SIGTERM: cancelling job \d+/);
    expect(code).toBe(143);
  });

  it("uses an allocation that it is in", async () => {
    const args = ["launch", "--slurm", "--workers", "3", "worker.ts", "meet"];
    const { code, stdout } = await run("salloc", "-Q", "-N2", "-n3", process.execPath, flotilla, ...args).outcome;
    expect(met(stdout)).toEqual([0, 1, 2].map((rank) => `W${rank} | ${all}`));
    expect(code).toBe(0);
  });
});

const mpirun = [
  ...["--allow-run-as-root", "--oversubscribe"],
  ...["--mca", "oob_tcp_if_include", "lo", "--mca", "btl_tcp_if_include", "lo", "-n", "3"],
];
describe.for([
  // It gives its tasks a terminal.
  ["mpirun", mpirun, { NO_COLOR: "1" }],
  ["mpiexec.hydra", ["-n", "3"], { FLOTILLA_JOB: `hydra-${process.pid}` }],
] as const)("under %s", options, ([program, options, env]) => {
  const reason = whyNot(program);
  it.skipIf(reason !== undefined)(
    `gives every task its place${reason === undefined ? "" : ` (${reason})`}`,
    async () => {
      const run = (...args: string[]): Child =>
        new Child([...options, process.execPath, ...args], place.path, { program, env: { ...place.env, ...env } });
      expect(met((await run("worker.ts", "meet").outcome).stdout)).toEqual([all, all, all]);
      const { code, stdout } = await run(flotilla, "launch", "--workers", "3", "worker.ts", "meet").outcome;
      expect(met(stdout)).toEqual([0, 1, 2].map((rank) => `W${rank} | ${all}`));
      expect(code).toBe(0);
    },
  );
});
