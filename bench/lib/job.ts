// Scripts as jobs: in one process, or as workers beside servers, on this machine or on hosts of a slow network.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Coordinator, environmentOf, type World } from "../../src/cluster/index.ts";
import { makeKeys } from "../../src/net/index.ts";
import type { SlowHost } from "./slow-network.ts";

const flotilla = fileURLToPath(new URL("../../bin/flotilla.js", import.meta.url));

export interface JobPlace {
  readonly workers: number;
  /** Without any the job is one process. */
  readonly servers: number;
  /** Of servers, then of workers; default: all on this machine, by unix sockets. */
  readonly hosts?: readonly SlowHost[];
}

function ended(child: ChildProcess, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    child.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`${name} ended with code ${code}`))));
  });
}

/**
 * Runs a script that takes its options and `out` as JSON and writes what it measured to `OUT.RANK`; returns what each worker
 * measured.
 */
export async function runJob<T>(
  { workers, servers, hosts = [], threads }: JobPlace & { readonly threads: number },
  script: string,
  options: object,
): Promise<T[]> {
  const folder = mkdtempSync(join(tmpdir(), "flotilla-bench-"));
  const out = join(folder, "result");
  const words = [script, JSON.stringify({ ...options, out })];
  const start = (args: readonly string[], world?: World, host?: SlowHost): ChildProcess => {
    const [program, ...rest] = [...(host?.command ?? []), process.execPath, ...args] as [string, ...string[]];
    const env = { ...process.env, FLOTILLA_SERVER_FOLDER: folder, ...(world && environmentOf(world)) };
    return spawn(program, rest, { env, stdio: ["ignore", "ignore", "inherit"] });
  };
  const coordinator = await Coordinator.start({ address: `unix://${join(folder, "c")}`, workers, servers });
  const serving: ChildProcess[] = [];
  try {
    if (servers === 0) await ended(start(words), "the process");
    else {
      const sockets = join(folder, "s");
      mkdirSync(sockets);
      const keys = join(folder, "keys");
      if (hosts.length > 0) await makeKeys({ folder: keys, hosts: hosts.map(({ ip }) => ip) });
      const worldOf = (role: World["role"], rank: number, host: SlowHost | undefined): World => ({
        ...{ job: "bench", role, rank, workers, servers, attempt: 0, coordinator: coordinator.address },
        ...{ threads: role === "server" ? 1 : threads, folder: sockets },
        ...(host && { host: host.ip, keys }),
      });
      for (let rank = 0; rank < servers; rank++) {
        const host = hosts[rank];
        serving.push(start([flotilla, "serve-partitions"], worldOf("server", rank, host), host));
      }
      await Promise.all(
        Array.from({ length: workers }, (_, rank) => {
          const host = hosts[servers + rank];
          return ended(start(words, worldOf("worker", rank, host), host), `worker ${rank}`);
        }),
      );
    }
    return Array.from({ length: workers }, (_, rank) => JSON.parse(readFileSync(`${out}.${rank}`, "utf8")) as T);
  } finally {
    for (const child of serving) {
      const gone = new Promise((resolve) => child.once("exit", resolve));
      if (child.kill()) await gone;
    }
    await coordinator.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
