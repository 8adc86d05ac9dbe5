import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { LaunchError } from "./error.ts";
import { parseHosts, placement, readHostFile } from "./hosts.ts";
import { newJobName } from "./jobs.ts";
import { type LaunchOptions, parseLaunch } from "./options.ts";
import { batchScript, stepCommand } from "./slurm-script.ts";

const folder = mkdtempSync(join(tmpdir(), "flotilla-options-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const script = join(folder, "it's.ts");
writeFileSync(script, "");

describe("options of a launch", () => {
  it("have defaults", () => {
    expect(parseLaunch({ script })).toMatchObject({
      ...{ script, args: [], servers: 0, workers: 1, restart: 0, graceMs: 10_000, cwd: process.cwd() },
      job: expect.stringMatching(/^it-s-[0-9a-f]{4}$/),
    });
    expect(newJobName("/a/..ts")).toMatch(/^job-/);
  });

  it.each([
    [{ script: "nothing.ts" }, "nothing.ts: no such file; give the script that the workers run"],
    [{ script, workers: 0 }, "workers"],
    [{ script, workers: 1.5 }, "workers"],
    [{ script, servers: -1 }, "servers"],
    [{ script, threads: 0 }, "threads"],
    [{ script, workers: 2, minWorkers: 3 }, "minWorkers is 3, but there are 2 workers"],
    [{ script, job: "../x" }, "expected up to 100 letters, digits, dots, hyphens and underscores"],
    [{ script, worker: 3 } as LaunchOptions, 'Unrecognized key: "worker"'],
  ])("refuse %j", (options, message) => {
    expect(() => parseLaunch(options)).toThrow(LaunchError);
    expect(() => parseLaunch(options)).toThrow(message);
  });
});

describe("hosts", () => {
  it("are read from a list or a file", () => {
    expect(parseHosts("a, b:4,user@c.example.org,10.0.0.1")).toEqual([
      { name: "a", slots: 1 },
      { name: "b", slots: 4 },
      { name: "user@c.example.org", slots: 1 },
      { name: "10.0.0.1", slots: 1 },
    ]);
    const file = join(folder, "hosts");
    writeFileSync(file, "# the cluster\na\nb slots=4 # big\n\n  user@c:2\nd slots = 3\n");
    expect(readHostFile(file)).toEqual([
      { name: "a", slots: 1 },
      { name: "b", slots: 4 },
      { name: "user@c", slots: 2 },
      { name: "d", slots: 3 },
    ]);
  });

  it.each(["-oProxyCommand=x", "a;b", "a b", "", "a,,b", "$(x)", "a'b", "@a", "a@-b", "a\n-b"])(
    "are not %j",
    (text) => {
      expect(() => parseHosts(text)).toThrow(LaunchError);
      expect(() => parseHosts(text)).toThrow(/is no host; write NAME or USER@NAME/);
    },
  );

  it("have slots, and files name the line", () => {
    expect(() => parseHosts("a:0")).toThrow("a has 0 slots; give 1 or more");
    const file = join(folder, "wrong");
    writeFileSync(file, "a\nb slots=x\n");
    expect(() => readHostFile(file)).toThrow(`${file}:2: "b slots=x" is no host`);
    writeFileSync(file, "# nothing\n");
    expect(() => readHostFile(file)).toThrow("names no hosts");
    expect(() => readHostFile(join(folder, "none"))).toThrow("cannot be read: ENOENT");
  });

  it("get processes by their share, each rank once, in order", () => {
    const [a, b, c] = parseHosts("a:1,b:3,c:2") as [unknown, unknown, unknown];
    expect(placement(6, parseHosts("a:1,b:3,c:2"))).toEqual([a, b, b, b, c, c]);
    const hosts = fc.array(fc.record({ name: fc.constant<string>("h"), slots: fc.integer({ min: 1, max: 9 }) }), {
      minLength: 1,
    });
    fc.assert(
      fc.property(hosts, fc.nat(50), (list, count) => {
        const placed = placement(count, list);
        expect(placed).toHaveLength(count);
        const order = placed.map((host) => list.indexOf(host));
        expect(order).toEqual(order.toSorted((x, y) => x - y));
        const total = list.reduce((sum, { slots }) => sum + slots, 0);
        for (const host of list) {
          const share = (count * host.slots) / total;
          expect(Math.abs(placed.filter((at) => at === host).length - share)).toBeLessThanOrEqual(1);
        }
      }),
    );
  });
});

describe("what Slurm is asked for", () => {
  const launch = parseLaunch({ script, args: ["--lr", "$x 'y'"], servers: 1, workers: 2, threads: 3, job: "ctr" });

  it("is a step of as many tasks as processes", () => {
    const command = stepCommand(launch);
    expect(command.slice(0, 5)).toEqual([
      "srun",
      "--ntasks=3",
      "--kill-on-bad-exit=0",
      "--wait=0",
      "--cpus-per-task=3",
    ]);
    expect(command.slice(-3)).toEqual([script, "--lr", "$x 'y'"]);
    expect(command.join(" ")).toContain("launch --servers 1 --workers 2 --threads 3 --restart 0 --grace 10");
  });

  it("is a script whose words survive the shell", () => {
    const text = batchScript(launch, {
      nodes: 2,
      partition: "main",
      time: "1:00:00",
      sbatch: ["--mem=4G", "--comment=a b"],
    });
    const lines = text.split("\n");
    expect(lines[0]).toBe("#!/bin/sh");
    for (const option of [
      "--job-name=ctr",
      "--ntasks=3",
      "--nodes=2",
      "--partition=main",
      "--time=1:00:00",
      "--mem=4G",
    ]) {
      expect(lines).toContain(`#SBATCH ${option}`);
    }
    expect(lines).toContain('#SBATCH "--comment=a b"');
    expect(text).toContain(String.raw`/it'\''s.ts' --lr '$x '\''y'\'''`);
  });

  it("holds no options that are none", () => {
    expect(() => batchScript(launch, { sbatch: ["mem=4G"] })).toThrow(
      '--sbatch "mem=4G": expected an option of sbatch',
    );
    expect(() => batchScript(launch, { sbatch: ["--x=a\n#SBATCH --y"] })).toThrow("Slurm takes no quotes");
  });
});
