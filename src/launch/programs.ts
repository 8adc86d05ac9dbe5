// What a process of the job runs: workers the script, servers an entry of the command.
import { fileURLToPath } from "node:url";
import { environmentOf, type World } from "../cluster/index.ts";
import type { Launch } from "./options.ts";
import type { ProcessSpec } from "./processes.ts";

/** The command itself. */
export const flotilla: string = fileURLToPath(new URL("../../bin/flotilla.js", import.meta.url));

export function specOf(launch: Launch, world: World, sharing: number): ProcessSpec {
  const { role, rank } = world;
  const threads = role === "worker" ? launch.threads : launch.serverThreads;
  return {
    place: { role, rank },
    ...(role === "worker"
      ? { script: launch.script, args: launch.args }
      : { script: flotilla, args: ["serve-partitions"] }),
    cwd: launch.cwd,
    env: environmentOf({ ...world, ...(threads !== undefined && { threads }) }),
    sharing: Math.max(1, sharing),
  };
}
