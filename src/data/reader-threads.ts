// Reader threads, kept for a while after their work: starting one costs as much as reading a small file.
import { Worker } from "node:worker_threads";
import { moduleUrl } from "../memory/index.ts";
import type { ReaderMessage, ReaderTask } from "./reader-worker.ts";

/** Idle threads beyond this many end at once. */
const MOST_IDLE = 8;

const idle: Worker[] = [];

function startThread(): Worker {
  const worker = new Worker(moduleUrl(import.meta.url, "./reader-worker"), { name: "reader" });
  // Without a listener the death of an idle thread would end the process.
  worker.on("error", () => undefined);
  worker.on("exit", () => {
    if (idle.includes(worker)) idle.splice(idle.indexOf(worker), 1);
  });
  return worker;
}

/**
 * Runs a task in a reader thread. Resolves when the reader is done; messages before that go to `onMessage`.
 * @throws when the thread dies.
 */
export function runReader(task: ReaderTask, onMessage: (message: ReaderMessage) => void): Promise<void> {
  const worker = idle.pop() ?? startThread();
  worker.ref();
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      worker.off("message", receive).off("error", die).off("exit", exit);
    };
    const receive = (message: ReaderMessage): void => {
      if (message.type !== "done") {
        onMessage(message);
        return;
      }
      leave();
      if (idle.length < MOST_IDLE) {
        // An idle thread does not keep the process alive.
        worker.unref();
        idle.push(worker);
      } else {
        void worker.terminate();
      }
      resolve();
    };
    const die = (error: unknown): void => {
      leave();
      reject(error);
    };
    const exit = (code: number): void => die(new Error(`a reader thread ended with exit code ${code}`));
    worker.on("message", receive).on("error", die).on("exit", exit);
    worker.postMessage(task);
  });
}
