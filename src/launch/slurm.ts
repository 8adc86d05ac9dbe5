// A job on a Slurm cluster: submitted and followed from outside of an allocation, a step of it from inside.
import { execFile, spawn } from "node:child_process";
import { constants } from "node:fs";
import { access, mkdir, open, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { LaunchError } from "./error.ts";
import { JobLog } from "./log.ts";
import type { Launch } from "./options.ts";
import { endOf } from "./processes.ts";
import { onInterrupt } from "./signals.ts";
import { batchScript, jobFolder, placeOptions, type SlurmOptions, stepCommand } from "./slurm-script.ts";

const POLL_MS = 500;
const execute = promisify(execFile);

/** @returns the exit code of the job */
export async function launchBySlurm(launch: Launch, slurm: SlurmOptions): Promise<number> {
  const inside = process.env.SLURM_JOB_ID !== undefined;
  await expectCommand(inside ? "srun" : "sbatch");
  return inside ? await runStep(launch, slurm) : await runBatch(launch, slurm);
}

/** In an allocation. srun shows the output of all tasks. */
async function runStep(launch: Launch, slurm: SlurmOptions): Promise<number> {
  const [srun, ...args] = stepCommand(launch, placeOptions(slurm));
  const env = { ...process.env, FLOTILLA_JOB: launch.job };
  // In a group of its own: Ctrl-C would make srun end the tasks by force.
  const child = spawn(srun!, args, { stdio: "inherit", cwd: launch.cwd, detached: true, env });
  let asked = 0;
  // srun passes SIGTERM on to the tasks, and the first task ends the job in order.
  using _ = onInterrupt(() => child.kill(asked++ === 0 ? "SIGTERM" : "SIGKILL"));
  const { code, signal, error } = await endOf(child);
  if (error !== undefined) throw new LaunchError(`srun cannot be run: ${error}`);
  return code ?? 128 + (signal === "SIGKILL" ? 9 : 15);
}

async function runBatch(launch: Launch, slurm: SlurmOptions): Promise<number> {
  const log = new JobLog(launch);
  const folder = jobFolder(launch);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const script = join(folder, "job.sh");
  await writeFile(script, batchScript(launch, slurm), { mode: 0o700 });
  const id = await submit(script);
  log.say(`job ${launch.job} is Slurm job ${id}; its output is in ${join(folder, "output.txt")}`);
  let asked = 0;
  let cancelled: "SIGINT" | "SIGTERM" | undefined;
  let late: NodeJS.Timeout | undefined;
  using _ = onInterrupt((signal) => {
    cancelled ??= signal;
    const gentle = asked++ === 0 && state.name === "RUNNING";
    log.say(gentle ? `${signal}: ending job ${id}, once more cancels it` : `${signal}: cancelling job ${id}`);
    cancel(id, gentle ? ["--signal=INT"] : []);
    if (gentle) late = setTimeout(() => cancel(id, []), 2 * launch.graceMs + 5000);
  });
  let state: SlurmState = { name: "PENDING", reason: "", nodes: "", exitCode: 0 };
  const output = new Follower(join(folder, "output.txt"));
  try {
    for (let told = ""; !ended(state.name); ) {
      state = await stateOf(id);
      const line = describe(state);
      if (line !== told) log.say(`job ${id} ${line}`);
      told = line;
      await output.copy(process.stdout);
      if (!ended(state.name)) await sleep(POLL_MS);
    }
    // Nodes may see what others wrote a little later.
    await sleep(POLL_MS);
    await output.copy(process.stdout);
  } finally {
    clearTimeout(late);
    await output.close();
  }
  if (cancelled !== undefined) return cancelled === "SIGINT" ? 130 : 143;
  return state.name === "COMPLETED" ? 0 : state.exitCode || 1;
}

async function submit(script: string): Promise<string> {
  try {
    const { stdout } = await execute("sbatch", ["--parsable", script]);
    const [, id] = /^(\d+)(?:;|\s|$)/m.exec(stdout) ?? [];
    if (id !== undefined) return id;
    throw new LaunchError(`sbatch answered ${JSON.stringify(stdout)}, which names no job`);
  } catch (error) {
    if (error instanceof LaunchError) throw error;
    const { stderr = "", message } = error as Error & { stderr?: string };
    throw new LaunchError(`sbatch refused ${script}: ${stderr.trim() || message}`, { cause: error });
  }
}

interface SlurmState {
  readonly name: string;
  readonly reason: string;
  readonly nodes: string;
  readonly exitCode: number;
}

/** @throws LaunchError when Slurm no longer knows the job */
async function stateOf(id: string): Promise<SlurmState> {
  let text: string;
  try {
    text = (await execute("scontrol", ["show", "job", "--oneliner", id])).stdout;
  } catch (cause) {
    throw new LaunchError(`Slurm does not tell the state of job ${id}: ${(cause as Error).message.trim()}`, { cause });
  }
  const field = (name: string): string => new RegExp(`(?:^|\\s)${name}=(\\S*)`).exec(text)?.[1] ?? "";
  const [code = 0, signal = 0] = field("ExitCode").split(":").map(Number);
  const nodes = field("NodeList");
  return {
    name: field("JobState"),
    reason: field("Reason"),
    nodes: nodes === "(null)" ? "" : nodes,
    exitCode: signal > 0 ? 128 + signal : code,
  };
}

function ended(state: string): boolean {
  return /^(COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|PREEMPTED|OUT_OF_MEMORY|BOOT_FAIL|DEADLINE)$/.test(state);
}

function describe({ name, reason, nodes }: SlurmState): string {
  const why = reason === "" || reason === "None" ? "" : ` (${reason})`;
  const where = nodes === "" ? "" : ` on ${nodes}`;
  return `is ${name.toLowerCase().replaceAll("_", " ")}${ended(name) ? "" : where}${why}`;
}

function cancel(id: string, options: readonly string[]): void {
  execute("scancel", [...options, id]).catch((error: Error) => {
    process.stderr.write(`scancel ${id}: ${error.message}\n`);
  });
}

/** Copies what is appended to a file. */
class Follower {
  readonly #path: string;
  #at = 0;
  #file: Awaited<ReturnType<typeof open>> | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  async copy(to: NodeJS.WritableStream): Promise<void> {
    this.#file ??= await open(this.#path).catch(() => undefined);
    const buffer = Buffer.alloc(65_536);
    for (;;) {
      const read = (await this.#file?.read(buffer, 0, buffer.length, this.#at))?.bytesRead ?? 0;
      if (read === 0) return;
      this.#at += read;
      to.write(Buffer.from(buffer.subarray(0, read)));
    }
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }
}

async function expectCommand(name: string): Promise<void> {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const found = await Promise.all(
    folders.map((folder) =>
      access(join(folder || ".", name), constants.X_OK).then(
        () => true,
        () => false,
      ),
    ),
  );
  if (!found.includes(true)) {
    throw new LaunchError(`--slurm needs ${name}, and there is none in PATH; run it on a machine of the cluster`);
  }
}
