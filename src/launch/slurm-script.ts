// What Slurm is asked for: the command of a step, and the script of a batch job.
import { join } from "node:path";
import { LaunchError } from "./error.ts";
import type { Launch } from "./options.ts";
import { flotilla } from "./programs.ts";
import { shellQuote } from "./shell.ts";

export interface SlurmOptions {
  readonly nodes?: number;
  readonly partition?: string;
  /** As Slurm has it: minutes, or HH:MM:SS. */
  readonly time?: string;
  /** Further options of sbatch or srun, as "--mem=4G". */
  readonly sbatch?: readonly string[];
}

/** Where the script, the output and the meeting point of a batch job are. */
export function jobFolder({ cwd, job }: Launch): string {
  return join(cwd, ".flotilla", job);
}

/**
 * The step that runs all processes, each as a task of its own. A task that fails does not end the others: the first task
 * decides what happens.
 */
export function stepCommand(launch: Launch, options: readonly string[] = []): string[] {
  const { servers, workers, threads } = launch;
  return [
    "srun",
    `--ntasks=${servers + workers}`,
    "--kill-on-bad-exit=0",
    "--wait=0",
    ...(threads === undefined ? [] : [`--cpus-per-task=${threads}`]),
    ...options,
    process.execPath,
    flotilla,
    "launch",
    ...flagsOf(launch),
    launch.script,
    ...launch.args,
  ];
}

/** @throws LaunchError for options that a line of the script cannot hold */
export function batchScript(launch: Launch, slurm: SlurmOptions): string {
  const { job, servers, workers, threads, cwd } = launch;
  const options = [
    `--job-name=${job}`,
    `--ntasks=${servers + workers}`,
    ...(threads === undefined ? [] : [`--cpus-per-task=${threads}`]),
    `--chdir=${cwd}`,
    `--output=${join(jobFolder(launch), "output.txt")}`,
    "--open-mode=append",
    ...placeOptions(slurm),
  ];
  return [
    "#!/bin/sh",
    ...options.map((option) => `#SBATCH ${directive(option)}`),
    `export FLOTILLA_JOB=${shellQuote(job)}`,
    `exec ${stepCommand(launch).map(shellQuote).join(" ")}`,
    "",
  ].join("\n");
}

/** What sbatch and srun both take. */
export function placeOptions({ nodes, partition, time, sbatch = [] }: SlurmOptions): string[] {
  const wrong = sbatch.find((option) => !/^-/.test(option));
  if (wrong !== undefined) {
    throw new LaunchError(`--sbatch ${JSON.stringify(wrong)}: expected an option of sbatch, as --sbatch=--mem=4G`);
  }
  return [
    ...(nodes === undefined ? [] : [`--nodes=${nodes}`]),
    ...(partition === undefined ? [] : [`--partition=${partition}`]),
    ...(time === undefined ? [] : [`--time=${time}`]),
    ...sbatch,
  ];
}

/** sbatch reads such lines itself: words in double quotes, and nothing over several lines. */
function directive(option: string): string {
  if (/[\n\r"\\]/.test(option)) {
    throw new LaunchError(`Slurm takes no quotes, backslashes and line ends in ${JSON.stringify(option)}`);
  }
  return /\s|#/.test(option) ? `"${option}"` : option;
}

/** The options of this launch, for the command in each task. */
function flagsOf({ servers, workers, threads, serverThreads, restart, minWorkers, graceMs, keys }: Launch): string[] {
  const values: Readonly<Record<string, string | number | undefined>> = {
    ...{ servers, workers, threads, "server-threads": serverThreads, restart, "min-workers": minWorkers },
    ...{ grace: graceMs / 1000, keys },
  };
  return Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, String(value)]));
}
