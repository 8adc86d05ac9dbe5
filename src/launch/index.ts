// Starts the processes of a job, keeps them running and ends them: on this machine, over ssh, under Slurm and MPI.
export { LaunchError } from "./error.ts";
export { type Host, parseHosts, readHostFile } from "./hosts.ts";
export { askStatus, findJob, runningJobs, stopJob } from "./inspect.ts";
export { type JobFile, jobsFolder, listJobs } from "./jobs.ts";
export { launch } from "./launch.ts";
export type { LaunchOptions } from "./options.ts";
export { runProcess } from "./run-process.ts";
export type { JobStatus, ProcessStatus, StatusState } from "./status.ts";
