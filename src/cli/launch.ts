// `flotilla launch`, `status` and `stop`: flags to options, and jobs as tables.
import { formatDuration, worldFromEnvironment } from "../cluster/index.ts";
import {
  askStatus,
  findJob,
  type JobStatus,
  LaunchError,
  type LaunchOptions,
  launch,
  parseHosts,
  readHostFile,
  runningJobs,
  stopJob,
} from "../launch/index.ts";
import { type Cell, formatTable } from "../report/index.ts";
import { UsageError } from "./usage.ts";

export interface LaunchFlags extends Omit<LaunchOptions, "script" | "args" | "graceMs" | "hosts" | "slurm"> {
  readonly grace?: number;
  readonly hosts?: string;
  readonly hostfile?: string;
  readonly slurm?: boolean;
  readonly nodes?: number;
  readonly partition?: string;
  readonly time?: string;
  readonly sbatch?: readonly string[];
}

export async function launchCommand(script: string, args: readonly string[], flags: LaunchFlags): Promise<number> {
  const { grace, hosts, hostfile, slurm, nodes, partition, time, sbatch, ...rest } = flags;
  if (hosts !== undefined && hostfile !== undefined) throw new UsageError("give either --hosts or --hostfile");
  if (slurm && (hosts ?? hostfile) !== undefined) throw new UsageError("--slurm chooses the hosts; leave --hosts out");
  return await asUsage(() => {
    const list = hosts === undefined ? hostfile && readHostFile(hostfile) : parseHosts(hosts);
    return launch({
      ...rest,
      script,
      args: [...args],
      ...(grace !== undefined && { graceMs: grace * 1000 }),
      ...(list && { hosts: list }),
      ...(slurm && {
        slurm: {
          ...(nodes !== undefined && { nodes }),
          ...(partition !== undefined && { partition }),
          ...(time !== undefined && { time }),
          ...(sbatch !== undefined && { sbatch: [...sbatch] }),
        },
      }),
    });
  });
}

export async function statusCommand(job: string | undefined, { json }: { readonly json?: boolean }): Promise<number> {
  const statuses =
    job === undefined
      ? (await runningJobs()).map(({ status }) => status)
      : [await asUsage(async () => askStatus(await findJob(job)))];
  if (json) console.log(JSON.stringify(job === undefined ? statuses : statuses[0], undefined, 2));
  else if (statuses.length === 0) console.log("no job is running");
  else console.log(statuses.map((status) => formatStatus(status, Date.now())).join("\n\n"));
  return 0;
}

export async function stopCommand(job: string | undefined): Promise<number> {
  const file = await asUsage(() => findJob(job));
  await stopJob(file);
  console.log(`job ${file.job} has ended`);
  return 0;
}

/** A server of the job: the body is the parameter server's. */
export async function servePartitions(): Promise<number> {
  const world = worldFromEnvironment();
  const { runServer } = await import("../ps/server-process.ts");
  return await runServer(world);
}

/** Reports with columns of their own. */
const known = new Set(["step", "samples", "samplesPerSecond", "activity", "waitsIn"]);

export function formatStatus({ job, script, started, phase, processes }: JobStatus, now: number): string {
  const since = (time: string): string => formatDuration(now - Date.parse(time));
  const rows = processes.map(({ role, rank, host, pid, state, attempt, since: from, lag, report }) => {
    const more = Object.entries(report).filter(([name]) => !known.has(name));
    const row: Record<string, Cell> = {
      process: `${role} ${rank}`,
      host,
      pid,
      state: attempt === 0 ? state : `${state}, attempt ${attempt}`,
      since: since(from),
      step: report.step,
      "samples/s": report.samplesPerSecond,
      lag,
      ...Object.fromEntries(more),
      activity: report.waitsIn === undefined ? report.activity : `waits in ${report.waitsIn}`,
    };
    return row;
  });
  const always = ["process", "host", "pid", "state", "since"];
  const order = [...always, "step", "samples/s", "lag"];
  const others = new Set(rows.flatMap((row) => Object.keys(row)).filter((name) => !order.includes(name)));
  others.delete("activity");
  const used = (name: string): boolean =>
    always.includes(name) || rows.some((row) => (row[name] ?? undefined) !== undefined);
  const title = `${job}: ${script}, ${phase} since ${since(started)}`;
  return formatTable(rows, { title, columns: [...order, ...others, "activity"].filter(used) });
}

/** What the user gave wrongly, with the exit code of wrong use. */
async function asUsage<T>(act: () => T | Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof LaunchError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}
