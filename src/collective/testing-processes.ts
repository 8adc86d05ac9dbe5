// For tests: ranks in processes of their own.
import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { moduleUrl } from "../memory/index.ts";
import { makeKeys } from "../net/index.ts";
import type { ProcessRank } from "./sockets/testing-process.ts";
import type { Outcome, RunRanks } from "./testing-contract.ts";

/** Messages that the child sends, one after the other; undefined when it has ended. */
function messagesOf(child: ChildProcess): () => Promise<unknown> {
  const queue: unknown[] = [];
  let wake: (() => void) | undefined;
  let ended = false;
  child.on("message", (message) => {
    queue.push(message);
    wake?.();
  });
  child.on("exit", () => {
    ended = true;
    wake?.();
  });
  return async () => {
    while (queue.length === 0 && !ended) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return queue.shift();
  };
}

export function runProcesses(transport: ProcessRank["transport"]): RunRanks {
  return async (size, scenario, parameters = {}, options = {}) => {
    const folder = mkdtempSync(join(tmpdir(), "flotilla-ranks-"));
    if (transport === "tls") await makeKeys({ folder: join(folder, "keys") });
    const script = fileURLToPath(moduleUrl(import.meta.url, "./sockets/testing-process"));
    const children = Array.from({ length: size }, () =>
      fork(script, { execArgv: [], stdio: ["ignore", "inherit", "inherit", "ipc"] }),
    );
    const exits = children.map((child) => new Promise((resolve) => child.once("exit", resolve)));
    try {
      const receive = children.map(messagesOf);
      for (const [rank, child] of children.entries()) {
        const address =
          transport === "tcp" || transport === "tls" ? `${transport}://127.0.0.1:0` : `unix://${folder}/${rank}.sock`;
        child.send({
          transport,
          keys: join(folder, "keys"),
          rank,
          size,
          address,
          scenario,
          parameters,
          ...options,
        } satisfies ProcessRank);
      }
      const addresses = (await Promise.all(receive.map((next) => next()))) as string[];
      for (const child of children) child.send(addresses);
      return await Promise.all(receive.map(async (next) => ((await next()) ?? { died: true }) as Outcome));
    } finally {
      await Promise.all(exits);
      rmSync(folder, { recursive: true });
    }
  };
}
