// A process of the job on this machine: started in a group of its own, watched, signalled, and gone when this one is.
import { type ChildProcess, spawn } from "node:child_process";
import { availableParallelism, hostname } from "node:os";
import type { Readable } from "node:stream";
import type { Place } from "../cluster/index.ts";
import { moduleUrl } from "../memory/index.ts";

export type StopSignal = "SIGINT" | "SIGTERM" | "SIGKILL";

export interface ProcessSpec {
  readonly place: Place;
  /** What Node runs. */
  readonly script: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** Beside the variables of this process. */
  readonly env: Readonly<Record<string, string>>;
  /** How many processes of the role share the machine: each that is not told otherwise has its part of the cores as threads. */
  readonly sharing: number;
}

export interface ProcessEnd {
  /** null when a signal ended it. */
  readonly code: number | null;
  readonly signal: string | null;
  /** Why it could not be started or watched. */
  readonly error?: string;
}

export interface RunningProcess {
  readonly host: string;
  readonly pid: number | undefined;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** To the process and those that it has started. */
  signal(signal: StopSignal): void;
  /** After its output has been read. */
  readonly ended: Promise<ProcessEnd>;
}

/** How long output may stay open behind a process that has ended: others may hold it. */
const OUTPUT_MS = 1000;

const guard = moduleUrl(import.meta.url, "./guard").href;

/**
 * The process has no terminal: Ctrl-C reaches the launcher, which then ends the processes in order. It ends by itself when
 * the launcher has gone.
 */
export function startProcess(spec: ProcessSpec, stdio: "pipe" | "inherit"): RunningProcess {
  const { script, args, cwd, sharing } = spec;
  const threads = Math.max(1, Math.floor(availableParallelism() / sharing));
  const env = { ...process.env, FLOTILLA_THREADS: String(threads), ...spec.env };
  const child = spawn(process.execPath, ["--import", guard, script, ...args], {
    cwd,
    env: { ...env, FLOTILLA_GUARD_FD: "3" },
    detached: true,
    stdio: ["ignore", stdio, stdio, "pipe"],
  });
  // The guard's end of the pipe: an error there means that the process has gone, which `ended` tells.
  child.stdio[3]?.on("error", () => {});
  return {
    host: hostname(),
    pid: child.pid,
    stdout: child.stdout!,
    stderr: child.stderr!,
    signal: (signal) => signalGroup(child, signal),
    ended: endOf(child),
  };
}

export function endOf(child: ChildProcess): Promise<ProcessEnd> {
  return new Promise((resolve) => {
    child.once("error", (error) => resolve({ code: 127, signal: null, error: error.message }));
    child.once("exit", (code, signal) => {
      const timer = setTimeout(() => resolve({ code, signal }), OUTPUT_MS);
      child.once("close", () => {
        clearTimeout(timer);
        resolve({ code, signal });
      });
    });
  });
}

function signalGroup(child: ChildProcess, signal: StopSignal): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    // Nobody of the group is left.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
