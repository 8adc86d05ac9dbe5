// What a launch is asked for, checked.
import { existsSync } from "node:fs";
import { basename, resolve } from "node:path";
import { z } from "zod";
import { isJobName, jobNameForm } from "../cluster/index.ts";
import { LaunchError } from "./error.ts";
import { newJobName } from "./jobs.ts";
import { flotilla } from "./programs.ts";

const COMMAND = "flotilla";

const count = z.int().min(0).max(100_000);
const schema = z.strictObject({
  /** A program for Node, TypeScript or JavaScript; `flotilla`: the command itself. */
  script: z.string().min(1),
  args: z.array(z.string()).default([]),
  servers: count.default(0),
  workers: count.min(1).default(1),
  /** Trainer threads of each worker. Default: the cores of its machine, divided by its workers there. */
  threads: z.int().min(1).max(1024).optional(),
  /** Partitions of each server. */
  serverThreads: z.int().min(1).max(1024).optional(),
  /** How often a worker that failed is started again. */
  restart: z.int().min(0).default(0),
  /** The job goes on while so many workers have not failed. */
  minWorkers: z.int().min(1).optional(),
  /** How long processes may take to end before they are killed. */
  graceMs: z.number().min(0).default(10_000),
  job: z.string().refine(isJobName, `expected ${jobNameForm}`).optional(),
  /** Where processes run: `NAME` or `USER@NAME`, each with a share of the processes. */
  hosts: z.array(z.object({ name: z.string(), slots: z.int().min(1) })).optional(),
  /** The folder of keys for jobs on several machines. Default: made for the job alone. */
  keys: z.string().optional(),
  /** Runs the job on a Slurm cluster: as a batch job, or in an allocation as a step of it. */
  slurm: z
    .strictObject({
      nodes: z.int().min(1).exactOptional(),
      partition: z.string().exactOptional(),
      time: z.string().exactOptional(),
      sbatch: z.array(z.string()).exactOptional(),
    })
    .optional(),
  /** The name of this machine for the others. */
  address: z.string().optional(),
});

export type LaunchOptions = z.input<typeof schema>;
export type Launch = Omit<z.output<typeof schema>, "job"> & { readonly job: string; readonly cwd: string };

/** @throws LaunchError that names the option, its value and what is allowed */
export function parseLaunch(options: LaunchOptions): Launch {
  const parsed = schema.safeParse(options);
  if (!parsed.success) throw new LaunchError(`launch: ${z.prettifyError(parsed.error)}`);
  const { script, job = newJobName(script), minWorkers, workers, ...rest } = parsed.data;
  const path = script === COMMAND && !existsSync(script) ? flotilla : resolve(script);
  if (!existsSync(path)) throw new LaunchError(`${script}: no such file; give the script that the workers run`);
  if (minWorkers !== undefined && minWorkers > workers) {
    throw new LaunchError(`minWorkers is ${minWorkers}, but there are ${workers} workers`);
  }
  return { ...rest, workers, minWorkers, script: path, job, cwd: process.cwd() };
}

/** For messages and the status: the script as one names it. */
export function scriptName({ script }: { readonly script: string }): string {
  return basename(script);
}
