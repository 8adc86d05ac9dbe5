// A process of the job on another machine, over the system's ssh. What it runs goes through standard input, so that no
// shell sees it and nothing secret stands in a list of processes; the connection's end is the end of the process.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { PassThrough, type Readable } from "node:stream";
import { addressOf, type Host } from "./hosts.ts";
import { endOf, type ProcessEnd, type ProcessSpec, type RunningProcess } from "./processes.ts";
import { flotilla } from "./programs.ts";
import { shellQuote } from "./shell.ts";

/** What `flotilla run-process` reads as the first line of its standard input. Later lines are signals. */
export interface RemoteSpec extends ProcessSpec {
  /** Files of keys by name. */
  readonly keys: Readonly<Record<string, string>>;
}

/** Begins the line that says under which id the process runs. Login messages may come before it. */
export const STARTED = "\u0001flotilla started ";
/** The longest line that is looked at for it. */
const MAX_LINE = 65_536;
/** ssh's own exit code, of connections that could not be made or broke. */
const SSH_FAILED = 255;

const sshOptions = ["-T", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"];

export async function startRemote(spec: RemoteSpec, host: Host): Promise<RunningProcess> {
  const command = `cd ${shellQuote(spec.cwd)} && exec ${shellQuote(process.execPath)} ${shellQuote(flotilla)} run-process`;
  const child = spawn("ssh", [...sshOptions, "--", host.name, command], {
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin.on("error", () => {});
  child.stdin.write(`${JSON.stringify(spec)}\n`);
  const ended = endOf(child).then(explain);
  const { pid, stdout } = await firstLines(child.stdout);
  return {
    host: addressOf(host),
    pid,
    stdout,
    stderr: child.stderr,
    signal(signal) {
      child.stdin.write(`${signal}\n`);
      // Where the other machine does not answer, the connection is what can be ended.
      if (signal === "SIGKILL") setTimeout(() => child.kill("SIGKILL"), 2000).unref();
    },
    ended,
  };

  function explain(end: ProcessEnd): ProcessEnd {
    if (end.error !== undefined) return { ...end, error: `ssh cannot be run: ${end.error}` };
    return end.code === SSH_FAILED ? { ...end, error: `ssh to ${host.name} failed or was cut off` } : signalled(end);
  }
}

/** The other side ends as a shell would: with 128 and the number of the signal. */
function signalled(end: ProcessEnd): ProcessEnd {
  const signals: Readonly<Record<number, string>> = {
    130: "SIGINT",
    134: "SIGABRT",
    137: "SIGKILL",
    139: "SIGSEGV",
    143: "SIGTERM",
  };
  const signal = signals[end.code ?? 0];
  return signal === undefined ? end : { code: null, signal };
}

/** Reads up to the line that says the id; passes on all others. */
function firstLines(from: Readable): Promise<{ readonly pid: number | undefined; readonly stdout: Readable }> {
  const stdout = new PassThrough();
  return new Promise((resolve) => {
    let held = "";
    const pass = (pid: number | undefined, rest: string): void => {
      from.off("data", look);
      from.off("end", end);
      if (rest !== "") stdout.write(Buffer.from(rest, "latin1"));
      if (from.readableEnded) stdout.end();
      else from.pipe(stdout);
      resolve({ pid, stdout });
    };
    const look = (chunk: Buffer): void => {
      held += chunk.toString("latin1");
      const at = held.indexOf(STARTED);
      const close = at < 0 ? -1 : held.indexOf("\n", at);
      if (close >= 0) pass(Number(held.slice(at + STARTED.length, close)), held.slice(0, at) + held.slice(close + 1));
      else if (held.length > MAX_LINE && at < 0) pass(undefined, held);
    };
    const end = (): void => pass(undefined, held);
    from.on("data", look);
    from.once("end", end);
  });
}

/** For an early, clear word where there is no ssh. */
export function hasSsh(): boolean {
  return (process.env.PATH ?? "").split(":").some((folder) => existsSync(`${folder || "."}/ssh`));
}
