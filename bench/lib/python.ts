// Peers in processes of their own: finding a Python that has what a script needs, and speaking to a script in JSON lines.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const peers = join(dirname(fileURLToPath(import.meta.url)), "../peers");
/** Debian's own interpreter sees its python3-* packages even where another comes first in the PATH. */
const INTERPRETERS = ["python3", "/usr/bin/python3"];

/** An interpreter that can import all `modules`, or why there is none. `FLOTILLA_PYTHON` names one to try first. */
export function findPython(modules: readonly string[]): { readonly path: string } | { readonly missing: string } {
  const own = process.env.FLOTILLA_PYTHON;
  for (const path of own === undefined ? INTERPRETERS : [own]) {
    if (spawnSync(path, ["-c", `import ${modules.join(", ")}`], { stdio: "ignore" }).status === 0) return { path };
  }
  const packages = modules.map((module) => (module === "sklearn" ? "python3-sklearn" : `python3-${module}`));
  return { missing: `no Python with ${modules.join(" and ")} (Debian: apt-get install ${packages.join(" ")})` };
}

/** Settings of one run of a peer; `undefined` removes a variable. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A running peer script; every line it prints is a JSON object. */
export class Peer {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #name: string;
  #errors = "";

  /** @param interpreter what runs the script of `bench/peers` */
  constructor(interpreter: string, script: string, args: readonly string[], env: Environment = {}) {
    this.#name = script;
    const environment: NodeJS.ProcessEnv = { ...process.env, PYTHONDONTWRITEBYTECODE: "1", ...env };
    this.#child = spawn(interpreter, [join(peers, script), ...args], {
      env: environment,
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#child.stderr!.on("data", (chunk) => {
      this.#errors = (this.#errors + chunk).slice(-2000);
    });
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  /** The next object that the script prints; undefined when it has ended well. @throws when it failed. */
  async next<T>(): Promise<T | undefined> {
    const { value, done } = await this.#lines.next();
    if (!done) return JSON.parse(value) as T;
    const code = await this.#exit();
    if (code !== 0) throw new Error(`${this.#name} ended with ${code}:\n${this.#errors.trim()}`);
    return undefined;
  }

  /** Sends a line and returns the answer. */
  async ask<T>(line: string): Promise<T> {
    this.#child.stdin!.write(`${line}\n`);
    const answer = await this.next<T>();
    if (answer === undefined) throw new Error(`${this.#name} ended without an answer to ${JSON.stringify(line)}`);
    return answer;
  }

  /** All objects up to the end of the script. */
  async all<T>(): Promise<T[]> {
    const answers: T[] = [];
    for (let answer = await this.next<T>(); answer !== undefined; answer = await this.next<T>()) answers.push(answer);
    return answers;
  }

  /** Ends the input, which ends the script. */
  async close(): Promise<void> {
    this.#child.stdin!.end();
    await this.#exit();
  }

  #exit(): Promise<number | NodeJS.Signals | null> {
    const { exitCode, signalCode } = this.#child;
    if (exitCode !== null || signalCode !== null) return Promise.resolve(exitCode ?? signalCode);
    return new Promise((resolve) => {
      this.#child.once("exit", (code, signal) => resolve(code ?? signal));
    });
  }
}
