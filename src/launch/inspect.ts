// Looking at running jobs from outside, and ending them.
import { hostname } from "node:os";
import { RpcClient, RpcError } from "../net/index.ts";
import { LaunchError } from "./error.ts";
import { forgetJob, type JobFile, listJobs } from "./jobs.ts";
import type { JobStatus } from "./status.ts";

const CONNECT_MS = 2000;
const CALL_MS = 10_000;

/** Jobs of this user that answer; files of jobs that are gone are removed. */
export async function runningJobs(): Promise<{ readonly file: JobFile; readonly status: JobStatus }[]> {
  const found = await Promise.all(
    (await listJobs()).map(async (file) => {
      const status = await askStatus(file).catch(() => undefined);
      if (status === undefined) await forgetIfGone(file);
      return status === undefined ? [] : [{ file, status }];
    }),
  );
  return found.flat();
}

/** @throws LaunchError that names the jobs there are when `job` is none of them, or is not given and there are several */
export async function findJob(job: string | undefined): Promise<JobFile> {
  const files = await listJobs();
  const file = job === undefined && files.length === 1 ? files[0] : files.find((other) => other.job === job);
  if (file !== undefined) return file;
  if (files.length === 0) throw new LaunchError("no job is running");
  const names = files.map((other) => other.job).join(", ");
  throw new LaunchError(job === undefined ? `say which job: ${names}` : `no job ${job} is running; there are ${names}`);
}

/** @throws LaunchError when its coordinator does not answer */
export function askStatus(file: JobFile): Promise<JobStatus> {
  return ask(file, async (client) => {
    const body = await client.call("launch.status", [], { deadlineMs: CALL_MS });
    return JSON.parse(Buffer.from(body).toString()) as JobStatus;
  });
}

/** As Ctrl-C at its launcher: the workers are told to end, then the servers. Resolves when the job is over. */
export async function stopJob(file: JobFile): Promise<void> {
  await ask(file, async (client) => {
    const call = { signal: "SIGTERM", who: "flotilla stop" };
    await client.call("launch.interrupt", [Buffer.from(JSON.stringify(call))], { deadlineMs: CALL_MS });
    // The launcher ends the connection at the end of the job, maybe before it answers.
    for (;;) {
      const over = await client.call("launch.over", [], { deadlineMs: CALL_MS, retries: 0 }).catch(gone);
      if (over === undefined || Buffer.from(over).toString() !== "null") return;
    }
  });
}

function gone(error: unknown): undefined {
  if (error instanceof RpcError && error.code === "unavailable") return undefined;
  throw error;
}

async function ask<T>(file: JobFile, act: (client: RpcClient) => Promise<T>): Promise<T> {
  const { address, keys, job, host, pid } = file;
  let client: RpcClient;
  try {
    const identity = keys === undefined ? {} : { keys: { folder: keys, role: "worker" } };
    client = await RpcClient.connect({ address, name: "flotilla", connectMs: CONNECT_MS, ...identity });
  } catch (cause) {
    await forgetIfGone(file);
    throw new LaunchError(
      `job ${job} (launcher ${pid} on ${host}) does not answer at ${address}: ${(cause as Error).message}`,
      { cause },
    );
  }
  try {
    return await act(client);
  } finally {
    await client.close();
  }
}

/** A launcher that was killed leaves its file behind. */
async function forgetIfGone(file: JobFile): Promise<void> {
  if (file.host !== hostname()) return;
  try {
    process.kill(file.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") await forgetJob(file.job);
  }
}
