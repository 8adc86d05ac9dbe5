// The real command with real processes: output, exit codes, restarts, ends in order and by force, status and stop.
import { readdirSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { generateCriteo } from "../data/index.ts";
import { askStatus } from "../launch/inspect.ts";
import type { JobFile } from "../launch/jobs.ts";
import { ECHO_MS } from "../launch/signals.ts";
import type { Child } from "./testing.ts";
import { LaunchPlace, runs } from "./testing-launch.ts";

const place = new LaunchPlace();
afterAll(() => place.dispose());

const lines = (text: string): string[] => text.split("\n").filter((line) => line !== "");
/** The id that worker `rank` has printed. */
const pidOf = (child: Child, rank: number): number =>
  Number(new RegExp(`^W${rank} \\| ready (\\d+)`, "m").exec(child.stdout)?.[1]);
const ready = (child: Child, rank: number): boolean => Number.isInteger(pidOf(child, rank));

// Each test starts several processes, which takes long where many run.
const options = { timeout: 120_000 };

describe.concurrent("flotilla launch", options, () => {
  it("runs a script in several processes, and says whose each line is", async ({ expect }) => {
    const child = place.launch("--workers", "2", "--threads", "3", "worker.ts", "show", "--workers", "a b", "$(x)");
    const { code, stdout, stderr } = await child.outcome;
    expect(lines(stderr).sort()).toEqual(["W0 | on stderr", "W1 | on stderr"]);
    const shown = lines(stdout).sort();
    expect(shown.map((line) => line.slice(0, 5))).toEqual(["W0 | ", "W1 | "]);
    expect(shown.map((line) => JSON.parse(line.slice(5)))).toEqual(
      [0, 1].map((rank) => ({
        ...{ rank, attempt: 0, threads: 3, args: ["--workers", "a b", "$(x)"] },
        ...{ env: "inherited", cwd: place.path },
      })),
    );
    expect(code).toBe(0);
  });

  it("lets processes find each other", async ({ expect }) => {
    const { code, stdout } = await place.launch("--workers", "3", "worker.ts", "meet").outcome;
    const line = "met address-0 address-1 address-2 attempt 0";
    expect(lines(stdout).sort()).toEqual([0, 1, 2].map((rank) => `W${rank} | ${line}`));
    expect(code).toBe(0);
  });

  it("ends with the code of the process that failed, and its last lines", async ({ expect }) => {
    const { code, stderr } = await place.launch("--workers", "3", "worker.ts", "fail", "9").outcome;
    expect(code).toBe(9);
    expect(stderr).toMatch(
      /^flotilla: worker 1 \(pid \d+ on \S+\) ended with code 9 at \S+, after [\d.]+ s; its last lines:\n {2}cannot go on\nflotilla: ending 2 other processes$/m,
    );
  });

  it("starts failed workers again", async ({ expect }) => {
    const child = place.launch("--workers", "2", "--restart", "1", "worker.ts", "fail-first");
    const { code, stdout, stderr } = await child.outcome;
    expect(lines(stdout).sort()).toEqual(["W0 | attempt 1", "W1 | attempt 1"]);
    expect(stderr).toMatch(/^flotilla: worker 0 .* ended with code 7 .*; it is started again$/m);
    expect(code).toBe(0);
  });

  it("replaces a worker that was killed, and the others see it", async ({ expect }) => {
    const child = place.launch("--workers", "2", "--restart", "3", "worker.ts", "wait");
    await child.until(() => ready(child, 0) && ready(child, 1));
    process.kill(pidOf(child, 1), "SIGKILL");
    await child.until(() => /^W1 \| ready \d+ attempt 1$/m.test(child.stdout));
    expect(child.stderr).toMatch(/^flotilla: worker 1 \(pid \d+ on \S+\) was killed by SIGKILL at \S+, after /m);
    child.process.kill("SIGTERM");
    expect((await child.outcome).code).toBe(143);
  });

  it("ends in order on Ctrl-C", async ({ expect }) => {
    const child = place.launch("--workers", "2", "worker.ts", "wait");
    await child.until(() => ready(child, 0) && ready(child, 1));
    child.process.kill("SIGINT");
    const { code, stdout, stderr } = await child.outcome;
    expect(
      lines(stdout)
        .filter((line) => line.includes("saved"))
        .sort(),
    ).toEqual(["W0 | saved after SIGINT", "W1 | saved after SIGINT"]);
    expect(stderr).toContain("SIGINT: ending the workers, once more kills all");
    expect(code).toBe(130);
  });

  it("kills what does not end in time, or at the second Ctrl-C", async ({ expect }) => {
    const slow = place.launch("--grace", "0.1", "worker.ts", "stubborn");
    const twice = place.launch("worker.ts", "stubborn");
    await slow.until(() => ready(slow, 0));
    slow.process.kill("SIGTERM");
    const { code, stderr } = await slow.outcome;
    expect(code).toBe(143);
    expect(stderr).toMatch(/worker 0 \(pid \d+\) has not ended within 0.1 s; killing it/);
    await twice.until(() => ready(twice, 0));
    twice.process.kill("SIGINT");
    await twice.until(() => twice.stderr.includes("once more kills all"));
    // One that follows at once counts as the same.
    await setTimeout(ECHO_MS + 10);
    twice.process.kill("SIGINT");
    const { code: interrupted, stderr: told } = await twice.outcome;
    expect(told).toContain("killing 1 process");
    expect(interrupted).toBe(130);
    expect(runs(pidOf(twice, 0))).toBe(false);
  });

  it("leaves no process behind when the launcher is killed", async ({ expect }) => {
    const child = place.launch("--workers", "2", "worker.ts", "wait");
    await child.until(() => ready(child, 0) && ready(child, 1));
    child.process.kill("SIGKILL");
    await child.outcome;
    for (const rank of [0, 1]) await expect.poll(() => runs(pidOf(child, rank)), { timeout: 15_000 }).toBe(false);
  });

  it("ends with the code of wrong use", async ({ expect }) => {
    const { code, stderr } = await place.launch("--workers", "2", "nothing.ts").outcome;
    expect(stderr).toBe("error: nothing.ts: no such file; give the script that the workers run\n");
    expect(code).toBe(2);
  });
});

describe("a job", options, () => {
  it("is seen by flotilla status and ended by flotilla stop", async () => {
    const child = place.launch("--workers", "2", "--job", "seen", "worker.ts", "wait");
    await child.until(() => ready(child, 0) && ready(child, 1));
    const file = JSON.parse(place.read("jobs/seen.json")) as JobFile;
    await expect
      .poll(async () => (await askStatus(file)).processes.map(({ lag }) => lag), { timeout: 30_000 })
      .toEqual([10, 0]);
    const status = async (...args: string[]): Promise<string> =>
      (await place.startWith(place.env, "status", ...args).outcome).stdout;
    expect(JSON.parse(await status("seen", "--json"))).toMatchObject({
      ...{ job: "seen", script: "worker.ts", phase: "running" },
      processes: [
        { role: "worker", rank: 0, pid: pidOf(child, 0), state: "running", attempt: 0, report: { step: 10 } },
        { role: "worker", rank: 1, report: { step: 20, samplesPerSecond: 1234.5, activity: "waiting" } },
      ],
    });
    const table = await status();
    expect(table).toMatch(/^seen: worker.ts, running since /m);
    expect(table).toMatch(/^│ process +│ host +│ +pid │ state +│ since +│ step │ samples\/s │ lag │ activity │$/m);
    const stopped = await place.startWith(place.env, "stop", "seen").outcome;
    expect(stopped).toMatchObject({ code: 0, stdout: "job seen has ended\n" });
    const { code, stderr } = await child.outcome;
    expect(code).toBe(143);
    expect(stderr).toContain("flotilla stop: ending the workers");
    expect(readdirSync(join(place.path, "jobs"))).not.toContain("seen.json");
  });

  it("trains through servers, one of which is killed meanwhile", async () => {
    await generateCriteo({ path: join(place.path, "train.tsv"), rows: 4000, maxCardinality: 20 });
    const child = place.launch(
      ...["--servers", "2", "--workers", "2", "--threads", "1", "--server-threads", "1", "--job", "ctr"],
      ...["training.ts", "5"],
    );
    await child.until(() => child.stdout.match(/begins/g)?.length === 2);
    const { processes } = await askStatus(JSON.parse(place.read("jobs/ctr.json")) as JobFile);
    const server = processes.find(({ role, rank }) => role === "server" && rank === 1)!;
    process.kill(server.pid!, "SIGKILL");
    const { code, stdout, stderr } = await child.outcome;
    expect(stderr).toMatch(/^flotilla: server 1 \(pid \d+ on \S+\) was killed by SIGKILL at .*; it is started again$/m);
    const trained = [...stdout.matchAll(/trained (\d+) auc ([\d.]+)/g)];
    expect(
      trained.reduce((sum, [, samples]) => sum + Number(samples), 0),
      stderr,
    ).toBe(5 * 4000);
    for (const [, , auc] of trained) expect(Number(auc)).toBeGreaterThan(0.6);
    expect(code).toBe(0);
  });
});

describe("flotilla stop and status", options, () => {
  it("say that there is nothing", async () => {
    const env = { FLOTILLA_JOBS: join(place.path, "no-jobs") };
    expect(await place.startWith(env, "status").outcome).toMatchObject({ code: 0, stdout: "no job is running\n" });
    expect(await place.startWith(env, "stop").outcome).toMatchObject({ code: 2, stderr: "error: no job is running\n" });
  });

  it("forget jobs whose launcher was killed", async () => {
    const file = { pid: 2 ** 22 - 1, host: hostname(), address: `unix://${place.path}/gone` };
    place.write(
      "ghost.json",
      JSON.stringify({ job: "ghost", script: "x", started: new Date().toISOString(), ...file }),
    );
    const env = { FLOTILLA_JOBS: place.path };
    const { code, stderr } = await place.startWith(env, "status", "ghost").outcome;
    expect(stderr).toMatch(/^error: job ghost \(launcher \d+ on \S+\) does not answer at unix:/);
    expect(code).toBe(2);
    expect(place.has("ghost.json")).toBe(false);
  });
});
