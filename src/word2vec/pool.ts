// The threads of one training, from reading to the last epoch.
import { Worker } from "node:worker_threads";
import { DataError } from "../data/errors.ts";
import { type Heap, moduleUrl } from "../memory/index.ts";
import {
  CONTROL_WORDS,
  DONE,
  NEXT,
  type Reply,
  type Request,
  STOP,
  SYNCHRONISED,
  type WorkerData,
} from "./protocol.ts";

export class Word2VecPool implements AsyncDisposable {
  /** Words that all threads share; see protocol.ts. */
  readonly control: Int32Array;
  readonly #heap: Heap;
  readonly #pointer: number;
  readonly #workers: Worker[];

  constructor(heap: Heap, threads: number, file: number) {
    this.#heap = heap;
    this.#pointer = heap.alloc(4 * CONTROL_WORDS);
    this.control = heap.i32(this.#pointer, CONTROL_WORDS);
    this.#workers = Array.from({ length: threads }, (_, thread) => {
      const data: WorkerData = { memory: heap.memory, thread, control: this.#pointer, file };
      return new Worker(moduleUrl(import.meta.url, "./worker"), { workerData: data, name: `word2vec ${thread}` });
    });
  }

  get size(): number {
    return this.#workers.length;
  }

  /** Makes all threads leave their work; `all` then resolves with what is there. */
  stop(): void {
    Atomics.store(this.control, STOP, 1);
    Atomics.notify(this.control, SYNCHRONISED);
  }

  /** Gives all threads the same request. @throws the error of the first that fails */
  async all<T>(request: Request): Promise<T[]> {
    Atomics.store(this.control, NEXT, 0);
    Atomics.store(this.control, DONE, 0);
    const asked = this.#workers.map((worker, thread) => ask(worker, thread, request));
    for (const answer of asked) answer.catch(() => this.stop());
    const results = await Promise.allSettled(asked);
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    return results.map((result) => (result as PromiseFulfilledResult<unknown>).value as T);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
    this.#heap.free(this.#pointer);
  }
}

function ask(worker: Worker, thread: number, request: Request): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      worker.off("message", receive).off("error", fail).off("exit", exit);
    };
    const receive = ({ result, error, place }: Reply): void => {
      leave();
      if (place !== undefined) reject(new DataError(place.problem, place.file, place.line));
      else if (error !== undefined) reject(Object.assign(new Error(error.message), { stack: error.stack }));
      else resolve(result);
    };
    const fail = (cause: unknown): void => {
      leave();
      reject(new Error(`word2vec thread ${thread} died: ${cause}`, { cause }));
    };
    const exit = (code: number): void => fail(`it ended with code ${code}`);
    worker.on("message", receive).on("error", fail).on("exit", exit);
    worker.postMessage(request);
  });
}
