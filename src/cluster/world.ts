// This process's place in the job, from the environment: set by `flotilla launch`, or by Slurm or MPI.
import { hostname, tmpdir, userInfo } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { type Environment, expectJobName, optionalNumber, present, wholeNumber, wrong } from "./environment.ts";
import { type Task, taskFromEnvironment } from "./schedulers.ts";
import type { Role } from "./types.ts";

export interface World {
  /** The same in all processes of the job. */
  readonly job: string;
  readonly role: Role;
  /** Among the processes of the role, from 0. */
  readonly rank: number;
  readonly workers: number;
  readonly servers: number;
  /**
   * Where the coordinator listens. `file:///PATH`: worker 0 starts it and writes its address there. Undefined: this process
   * is the whole job.
   */
  readonly coordinator?: string;
  /** The folder of certificates, where the job runs on several machines. */
  readonly keys?: string;
  /** How often this process was started again. */
  readonly attempt: number;
  /** Trainer threads of a worker, partitions of a server; undefined: as many as the machine suggests. */
  readonly threads?: number;
  /** The name by which other machines reach this one; undefined where the job runs on one machine. */
  readonly host?: string;
  /** A private folder of this machine for sockets. */
  readonly folder?: string;
  /** Nobody else reaches the network of the job: collectives between machines need no encryption. */
  readonly trustedNetwork?: true;
}

/**
 * Started plainly, a process is worker 0 of 1. `FLOTILLA_*` variables count first, then those of Open MPI, PMI and Slurm,
 * under which every task is a worker.
 * @throws ClusterError that names a variable and its value
 * @example
 * const { rank, workers } = worldFromEnvironment();
 */
export function worldFromEnvironment(env: Environment = process.env): World {
  if (present(env, "FLOTILLA_RANK")) return launched(env);
  const task = taskFromEnvironment(env);
  if (task !== undefined)
    return worldOfTask(task, { role: "worker", rank: task.rank, workers: task.size, servers: 0 }, env);
  return {
    job: jobName(env),
    role: "worker",
    rank: 0,
    workers: 1,
    servers: 0,
    attempt: 0,
    ...threads(env),
  };
}

/** The variables that say this to a process. */
export function environmentOf(world: World): Record<string, string> {
  const { job, role, rank, workers, servers, coordinator, keys, attempt, host, folder } = world;
  const values: Record<string, string | number | undefined> = {
    FLOTILLA_JOB: job,
    FLOTILLA_ROLE: role,
    FLOTILLA_RANK: rank,
    FLOTILLA_WORKERS: workers,
    FLOTILLA_SERVERS: servers,
    FLOTILLA_COORDINATOR: coordinator,
    FLOTILLA_KEYS: keys,
    FLOTILLA_ATTEMPT: attempt,
    FLOTILLA_THREADS: world.threads,
    FLOTILLA_HOST: host,
    FLOTILLA_FOLDER: folder,
    FLOTILLA_TRUSTED_NETWORK: world.trustedNetwork === true ? 1 : undefined,
  };
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given.map(([name, value]) => [name, String(value)]));
}

/**
 * Tasks of one machine meet in a private folder of it, those of several in a folder of the working directory, which
 * schedulers expect to be the same on all machines.
 */
export function worldOfTask(
  task: Task,
  place: Pick<World, "role" | "rank" | "workers" | "servers">,
  env: Environment = process.env,
): World {
  const local = join(tmpdir(), `flotilla-${userInfo().uid}`, task.job);
  const shared = task.local ? local : resolve(env.FLOTILLA_RENDEZVOUS || ".flotilla", task.job);
  const keys = env.FLOTILLA_KEYS || (task.local ? undefined : join(shared, "keys"));
  const host = env.FLOTILLA_HOST || (task.local ? undefined : (task.node ?? hostname()));
  return {
    job: task.job,
    ...place,
    ...(task.size > 1 && {
      coordinator: env.FLOTILLA_COORDINATOR || pathToFileURL(join(shared, `coordinator-${task.attempt}.json`)).href,
    }),
    ...(keys !== undefined && { keys }),
    attempt: task.attempt,
    ...threads(env),
    ...(host !== undefined && { host }),
    ...(task.size > 1 && { folder: local }),
    ...trust(env),
  };
}

function launched(env: Environment): World {
  const role = env.FLOTILLA_ROLE || "worker";
  if (role !== "worker" && role !== "server") throw wrong(env, "FLOTILLA_ROLE", "worker or server");
  const workers = optionalNumber(env, "FLOTILLA_WORKERS", 1, 1_000_000) ?? 1;
  const servers = optionalNumber(env, "FLOTILLA_SERVERS", 0, 1_000_000) ?? 0;
  const count = role === "worker" ? workers : servers;
  const rank = wholeNumber(env, "FLOTILLA_RANK", 0, Math.max(0, count - 1));
  if (role === "server" && servers === 0) throw wrong(env, "FLOTILLA_SERVERS", "at least 1 for a server");
  if (workers + servers > 1) {
    for (const name of ["FLOTILLA_JOB", "FLOTILLA_COORDINATOR"]) {
      if (!present(env, name)) throw wrong(env, name, "what `flotilla launch` gives a job of several processes");
    }
  }
  return {
    job: jobName(env),
    role,
    rank,
    workers,
    servers,
    ...(present(env, "FLOTILLA_COORDINATOR") && { coordinator: env.FLOTILLA_COORDINATOR! }),
    ...(present(env, "FLOTILLA_KEYS") && { keys: env.FLOTILLA_KEYS! }),
    attempt: optionalNumber(env, "FLOTILLA_ATTEMPT", 0) ?? 0,
    ...threads(env),
    ...(present(env, "FLOTILLA_HOST") && { host: env.FLOTILLA_HOST! }),
    ...(present(env, "FLOTILLA_FOLDER") && { folder: env.FLOTILLA_FOLDER! }),
    ...trust(env),
  };
}

function trust(env: Environment): { trustedNetwork?: true } {
  return optionalNumber(env, "FLOTILLA_TRUSTED_NETWORK", 0, 1) === 1 ? { trustedNetwork: true } : {};
}

function jobName(env: Environment): string {
  if (!present(env, "FLOTILLA_JOB")) return `local-${process.pid}`;
  expectJobName(env);
  return env.FLOTILLA_JOB!;
}

function threads(env: Environment): { threads?: number } {
  const count = optionalNumber(env, "FLOTILLA_THREADS", 1, 1024);
  return count === undefined ? {} : { threads: count };
}
