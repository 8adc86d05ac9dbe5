// Chooses how a job is started: as a task of a scheduler, or by this process.
import { taskFromEnvironment } from "../cluster/index.ts";
import { launchHere } from "./launch-here.ts";
import { launchAsTask } from "./launch-task.ts";
import { type LaunchOptions, parseLaunch } from "./options.ts";
import { launchBySlurm } from "./slurm.ts";

/**
 * Runs a job to its end. Where srun or mpirun has started this process beside others, it runs its own part of the job.
 * @returns the exit code: 0, that of the first process that failed, or 130 and 143 after SIGINT and SIGTERM
 * @throws LaunchError for wrong options
 * @example
 * const code = await launch({ script: "ctr.ts", servers: 2, workers: 2 });
 */
export async function launch(options: LaunchOptions): Promise<number> {
  const checked = parseLaunch(options);
  // In a task the job is running already; that it was asked for by --slurm no longer matters.
  const name = options.job === undefined ? {} : { FLOTILLA_JOB: options.job };
  const task = taskFromEnvironment({ ...process.env, ...name });
  if (task === undefined && checked.slurm !== undefined) return await launchBySlurm(checked, checked.slurm);
  return task === undefined || task.size === 1 ? await launchHere(checked) : await launchAsTask(checked, task);
}
