// The jobs of this user: a file each, by which `flotilla status` and `flotilla stop` find them.
import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, extname, join } from "node:path";
import { z } from "zod";

const schema = z.object({
  job: z.string(),
  /** Of the launcher. */
  pid: z.int(),
  host: z.string(),
  /** Where its coordinator listens. */
  address: z.string(),
  keys: z.string().exactOptional(),
  script: z.string(),
  started: z.string(),
});

export type JobFile = z.output<typeof schema>;

/** `FLOTILLA_JOBS`, or a folder of the user's cache, which machines of a cluster often share. */
export function jobsFolder(env: NodeJS.ProcessEnv = process.env): string {
  return env.FLOTILLA_JOBS || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "flotilla", "jobs");
}

/** "ctr-3f9c": of the script's name, different for every job. */
export function newJobName(script: string): string {
  const name = basename(script, extname(script))
    .replaceAll(/[^A-Za-z0-9.-]/g, "-")
    .replace(/^[.-]+/, "")
    .slice(0, 60);
  return `${name || "job"}-${randomBytes(2).toString("hex")}`;
}

/** @returns what removes the file again */
export async function publishJob(file: JobFile): Promise<() => Promise<void>> {
  const folder = jobsFolder();
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, `${file.job}.json`);
  const temporary = `${path}.tmp-${process.pid}`;
  await writeFile(temporary, JSON.stringify(file), { mode: 0o600 });
  await rename(temporary, path);
  return () => rm(path, { force: true });
}

/** The newest last. Files that are no jobs are left out. */
export async function listJobs(): Promise<JobFile[]> {
  const folder = jobsFolder();
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(".json"));
  const jobs = await Promise.all(
    names.map(async (name) => {
      const text = await readFile(join(folder, name), "utf8").catch(() => "null");
      const parsed = schema.safeParse(parseJson(text));
      return parsed.success ? [parsed.data] : [];
    }),
  );
  return jobs.flat().sort((a, b) => a.started.localeCompare(b.started));
}

/** Of a launcher that did not end in order. */
export async function forgetJob(job: string): Promise<void> {
  await rm(join(jobsFolder(), `${job}.json`), { force: true });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
