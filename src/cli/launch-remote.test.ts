// Jobs over ssh. A stand-in for ssh runs the command here; the hosts are addresses of loopback, and all else is real: keys,
// TLS, what goes through standard input, and words that a shell would take apart.
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { shellQuote } from "../launch/shell.ts";
import { Child } from "./testing.ts";
import { LaunchPlace, runs } from "./testing-launch.ts";

const place = new LaunchPlace();
afterAll(() => place.dispose());

const log = join(place.path, "ssh.log");
const path = place.fakePath({
  ssh: `#!/bin/sh
# Usage: ssh OPTIONS -- HOST COMMAND
echo "$$ $*" >> '${log}'
while [ "$1" != -- ]; do shift; done
[ "$2" = 127.0.0.99 ] && { echo "ssh: connect to host $2: no route" >&2; exit 255; }
echo "Welcome to $2"
exec sh -c "$3"
`,
});
const launch = (...args: string[]): Child => place.startWith({ ...place.env, PATH: path }, "launch", ...args);
const lines = (text: string): string[] => text.split("\n").filter((line) => line !== "");

describe.concurrent("flotilla launch --hosts", { timeout: 120_000 }, () => {
  it("runs a job with keys of its own on the hosts", async ({ expect }) => {
    const { code, stdout, stderr } = await launch(
      "--hosts",
      "127.0.0.2,127.0.0.3:2",
      "--workers",
      "3",
      "worker.ts",
      "meet",
    ).outcome;
    expect(stderr).toBe("");
    const met = lines(stdout).filter((line) => line.includes("met"));
    const line = "met address-0 address-1 address-2 attempt 0";
    expect(met.sort()).toEqual([0, 1, 2].map((rank) => `W${rank} | ${line}`));
    expect(
      lines(stdout)
        .filter((text) => text.includes("Welcome"))
        .sort(),
    ).toEqual(["W0 | Welcome to 127.0.0.2", "W1 | Welcome to 127.0.0.3", "W2 | Welcome to 127.0.0.3"]);
    expect(code).toBe(0);
    const calls = lines(place.read("ssh.log"));
    for (const call of calls) expect(call).not.toContain("FLOTILLA");
  });

  it("takes arguments and folders as they are", async ({ expect }) => {
    const folder = join(place.path, "it's a $(folder)");
    mkdirSync(folder);
    place.write("it's a $(folder)/worker.ts", place.read("worker.ts"));
    const child = new Child(
      ["launch", "--hosts", "127.0.0.2", "worker.ts", "show", "a'b", "$HOME", "`id`", "", "ä\n"],
      folder,
      { env: { ...place.env, PATH: path } },
    );
    const { stdout, stderr } = await child.outcome;
    const shown = lines(stdout).find((line) => line.includes("{")) ?? stderr;
    expect(JSON.parse(shown.slice(5))).toMatchObject({
      ...{ args: ["a'b", "$HOME", "`id`", "", "ä\n"], host: "127.0.0.2", cwd: folder },
    });
  });

  it("ends the processes on all hosts by Ctrl-C, and leaves no keys", async ({ expect }) => {
    const temporary = join(place.path, "temporary");
    mkdirSync(temporary);
    const keysThere = (): string[] => readdirSync(temporary).filter((name) => name.startsWith("flotilla-keys-"));
    const env = { ...place.env, PATH: path, TMPDIR: temporary };
    const child = place.startWith(
      env,
      "launch",
      "--hosts",
      "127.0.0.2,127.0.0.3",
      "--workers",
      "2",
      "worker.ts",
      "wait",
    );
    await child.until(() => child.stdout.match(/ready \d+/g)?.length === 2);
    expect(keysThere()).toHaveLength(2);
    const pids = [...child.stdout.matchAll(/ready (\d+)/g)].map(([, pid]) => Number(pid));
    child.process.kill("SIGINT");
    const { code, stdout } = await child.outcome;
    expect(code).toBe(130);
    expect(stdout.match(/saved after SIGINT/g)).toHaveLength(2);
    expect(pids.map(runs)).toEqual([false, false]);
    expect(readdirSync(temporary)).toEqual([]);
  });

  it("ends a process whose connection is cut, and says so", async ({ expect }) => {
    const child = launch("--hosts", "127.0.0.4,127.0.0.5", "--workers", "2", "worker.ts", "wait");
    await child.until(() => child.stdout.match(/ready \d+/g)?.length === 2);
    const pid = Number(/^W0 \| ready (\d+)/m.exec(child.stdout)![1]);
    const connection = Number(/^(\d+) .*-- 127\.0\.0\.4 /m.exec(place.read("ssh.log"))![1]);
    process.kill(connection, "SIGKILL");
    const { code, stderr } = await child.outcome;
    expect(stderr).toMatch(/^flotilla: worker 0 \(pid \d+ on 127\.0\.0\.4\) was killed by SIGKILL at /m);
    expect(code).toBe(137);
    await expect.poll(() => runs(pid), { timeout: 15_000 }).toBe(false);
  });

  it("names a host that cannot be reached", async ({ expect }) => {
    const { code, stderr } = await launch("--hosts", "127.0.0.99", "worker.ts", "show").outcome;
    expect(stderr).toContain("W0 | ssh: connect to host 127.0.0.99: no route");
    expect(stderr).toMatch(/worker 0 \(pid none on 127.0.0.99\) failed: ssh to 127.0.0.99 failed or was cut off/);
    expect(code).toBe(255);
  });
});

describe("words for a shell", () => {
  it("are taken as they are", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "binary" }), { minLength: 1, maxLength: 20 }), (words) => {
        const sent = words.map((word) => word.replaceAll("\0", "").toWellFormed());
        const script = `printf '%s\\0' ${sent.map(shellQuote).join(" ")}`;
        expect(execFileSync("sh", ["-c", script]).toString().split("\0").slice(0, -1)).toEqual(sent);
      }),
      { numRuns: 30 },
    );
  });
});
