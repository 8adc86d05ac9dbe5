// For tests: processes that are members, driven by lines.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { environmentOf, type World } from "./index.ts";

const script = fileURLToPath(new URL("./testing-member.ts", import.meta.url));

export class MemberProcess {
  readonly child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #errors = "";

  constructor(env: Readonly<Record<string, string>>) {
    this.child = spawn(process.execPath, [script], { env: { PATH: process.env.PATH, ...env } });
    this.child.stderr!.on("data", (chunk: Buffer) => {
      this.#errors += chunk;
    });
    this.#lines = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
  }

  /** Started, and connected to the coordinator. */
  static async start(world: World): Promise<MemberProcess> {
    const started = new MemberProcess(environmentOf(world));
    await started.answer();
    return started;
  }

  /** The next line. */
  async answer(): Promise<unknown> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`the member ended: ${this.#errors}`);
    return JSON.parse(value as string);
  }

  /** @returns what the verb gave, or its error as `error: …` */
  async do(...words: readonly string[]): Promise<unknown> {
    this.child.stdin!.write(`${words.join(" ")}\n`);
    const answer = (await this.answer()) as { result?: unknown; error?: string };
    return answer.error === undefined ? answer.result : `error: ${answer.error}`;
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, "close");
    this.child.kill(signal);
    await ended;
  }
}
