// The far side of `remote.ts`: runs one process as standard input says, passes signals on, and ends it when the
// connection ends.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { z } from "zod";
import { LaunchError } from "./error.ts";
import { type StopSignal, startProcess } from "./processes.ts";
import { STARTED } from "./remote.ts";

const texts = z.record(z.string(), z.string());
const schema = z.object({
  place: z.object({ role: z.enum(["worker", "server"]), rank: z.int() }),
  script: z.string(),
  args: z.array(z.string()),
  cwd: z.string(),
  env: texts,
  sharing: z.int().min(1),
  keys: z.record(z.string().regex(/^[\w-]+\.pem$/), z.string()),
});

/** How long the process may take to end after the connection has. */
const GRACE_MS = 10_000;

/** @returns the exit code of the process, 128 and the number of the signal that ended it */
export async function runProcess(): Promise<number> {
  const input = createInterface({ input: process.stdin });
  const lines = input[Symbol.asyncIterator]();
  const first = await lines.next();
  if (first.done)
    throw new LaunchError("run-process: nothing came; it is what `flotilla launch --hosts` runs over ssh");
  const { keys, ...spec } = parse(first.value);
  const folder = Object.keys(keys).length === 0 ? undefined : await mkdtemp(join(tmpdir(), "flotilla-keys-"));
  try {
    for (const [name, text] of Object.entries(keys)) await writeFile(join(folder!, name), text, { mode: 0o600 });
    const env = { ...spec.env, ...(folder !== undefined && { FLOTILLA_KEYS: folder }) };
    const running = startProcess({ ...spec, env }, "inherit");
    process.stdout.write(`${STARTED}${running.pid}\n`);
    let timer: NodeJS.Timeout | undefined;
    const follow = async (): Promise<void> => {
      for (let line = await lines.next(); !line.done; line = await lines.next()) running.signal(asSignal(line.value));
      running.signal("SIGTERM");
      timer = setTimeout(() => running.signal("SIGKILL"), GRACE_MS);
    };
    // sshd ends a session by SIGHUP.
    process.on("SIGHUP", () => running.signal("SIGTERM"));
    follow().catch((error: Error) => process.stderr.write(`run-process: ${error.message}\n`));
    const { code, signal, error } = await running.ended;
    clearTimeout(timer);
    if (error !== undefined) throw new LaunchError(`run-process: ${error}`);
    return code ?? 128 + (constants.signals[signal as NodeJS.Signals] ?? 0);
  } finally {
    input.close();
    process.stdin.destroy();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }
}

function parse(text: string): z.output<typeof schema> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new LaunchError("run-process: the first line is no JSON", { cause });
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new LaunchError(`run-process: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

function asSignal(text: string): StopSignal {
  if (text === "SIGINT" || text === "SIGTERM" || text === "SIGKILL") return text;
  throw new LaunchError(`run-process: ${JSON.stringify(text)} is no signal`);
}
