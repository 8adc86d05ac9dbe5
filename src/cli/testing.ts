// For tests: the real command as a child process, and small data for it.
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type MetricsRecord, parseRecords } from "../report/index.ts";

const binary = fileURLToPath(new URL("../../bin/flotilla.js", import.meta.url));

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ChildOptions {
  /** What Node runs. Default: the command. */
  readonly script?: readonly string[];
  /** Another program than Node, which takes the arguments alone. */
  readonly program?: string;
  /** Further variables. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A command that runs. */
export class Child {
  readonly process: ChildProcessWithoutNullStreams;
  readonly outcome: Promise<Outcome>;
  stdout = "";
  stderr = "";

  constructor(
    args: readonly string[],
    cwd: string,
    { script = [binary], program = process.execPath, env = {} }: ChildOptions = {},
  ) {
    // As from a shell: what npm tells its children would change the advice that is printed.
    const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(npm_|VITEST|DEBUG)/.test(name)));
    const words = program === process.execPath ? [...script, ...args] : args;
    this.process = spawn(program, words, { cwd, env: { ...own, ...env } });
    this.process.stdout.on("data", (chunk: Buffer) => {
      this.stdout += chunk;
    });
    this.process.stderr.on("data", (chunk: Buffer) => {
      this.stderr += chunk;
    });
    this.outcome = new Promise((resolve) => {
      this.process.on("close", (code) => resolve({ code, stdout: this.stdout, stderr: this.stderr }));
    });
  }

  /** Resolves when the condition holds. @throws when the command ends before */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.process.exitCode !== null) throw new Error(`ended with ${this.process.exitCode}: ${this.stderr}`);
      await setTimeout(10);
    }
  }
}

/** A folder to run commands in. */
export class Workplace {
  readonly path = mkdtempSync(join(tmpdir(), "flotilla-cli-"));

  start(...args: readonly string[]): Child {
    return new Child(args, this.path);
  }

  /** With further variables. */
  startWith(env: Readonly<Record<string, string>>, ...args: readonly string[]): Child {
    return new Child(args, this.path, { env });
  }

  run(...args: readonly string[]): Promise<Outcome> {
    const child = this.start(...args);
    child.process.stdin.end();
    return child.outcome;
  }

  async pipe(input: string | Uint8Array, ...args: readonly string[]): Promise<Outcome> {
    const child = this.start(...args);
    child.process.stdin.end(input);
    return child.outcome;
  }

  write(name: string, data: string | Uint8Array): string {
    writeFileSync(join(this.path, name), data);
    return join(this.path, name);
  }

  has(name: string): boolean {
    return existsSync(join(this.path, name));
  }

  read(name: string): string {
    return readFileSync(join(this.path, name), "utf8");
  }

  json(name: string): Record<string, unknown> {
    return JSON.parse(this.read(name)) as Record<string, unknown>;
  }

  metrics(run: string): MetricsRecord[] {
    const name = `runs/${run}/metrics.jsonl`;
    return this.has(name) ? parseRecords(this.read(name)).records : [];
  }

  dispose(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
