// The pool of trainer threads of a job: started once, asked for work by messages, and named when one of them fails.
import { Worker } from "node:worker_threads";
import { type Heap, moduleUrl } from "../memory/index.ts";
import type { Reply, Request, ScoreMessage, WorkerData } from "./protocol.ts";

type OnScores = (message: ScoreMessage) => void;

interface Pending {
  resolve(result: unknown): void;
  reject(error: Error): void;
  readonly onScores: OnScores;
}

class PoolThread {
  readonly worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #next = 0;
  #failure: Error | undefined;

  constructor(data: WorkerData) {
    this.worker = new Worker(moduleUrl(import.meta.url, "worker"), { workerData: data });
    // An idle pool does not keep the process alive; `ask` takes a reference while work is under way.
    this.worker.unref();
    this.worker.on("message", (message: Reply | ScoreMessage) => {
      const pending = this.#pending.get(message.id);
      if ("scores" in message) return pending?.onScores(message);
      this.#pending.delete(message.id);
      if (this.#pending.size === 0) this.worker.unref();
      if (message.error === undefined) pending?.resolve(message.result);
      else pending?.reject(Object.assign(new Error(message.error.message), { stack: message.error.stack }));
    });
    const fail = (error: Error): void => {
      this.#failure = error;
      for (const { reject } of this.#pending.values()) reject(error);
      this.#pending.clear();
    };
    this.worker.on("error", (cause) => fail(new Error(`trainer thread ${data.thread} died: ${cause}`, { cause })));
    this.worker.on("exit", (code) => fail(new Error(`trainer thread ${data.thread} ended with code ${code}`)));
  }

  ask(request: Request, onScores: OnScores): Promise<unknown> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const id = this.#next++;
    this.worker.ref();
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, onScores });
      this.worker.postMessage({ id, request });
    });
  }
}

export class TrainerPool {
  readonly size: number;
  readonly #heap: Heap;
  #threads: PoolThread[] | undefined;
  #closed = false;

  constructor(heap: Heap, size: number) {
    this.#heap = heap;
    this.size = size;
  }

  /**
   * Sends each thread its request and returns their results, by thread, when all have ended.
   * @param onFailure called when a thread fails, so that the caller can make the others stop
   * @throws the error of the thread that failed first, or when the pool is closed
   */
  async all<T>(
    request: (thread: number) => Request,
    onScores: OnScores = () => {},
    onFailure: () => void = () => {},
  ): Promise<T[]> {
    const asked = this.#start().map((thread, i) => thread.ask(request(i), onScores));
    for (const reply of asked) reply.catch(onFailure);
    const results = await Promise.allSettled(asked);
    const failed = results.filter((result) => result.status === "rejected");
    // The thread that failed first makes the others give up; their errors only say so.
    const first = failed.find(({ reason }) => !String(reason).includes("another trainer thread failed")) ?? failed[0];
    if (first !== undefined) throw first.reason;
    return results.map((result) => (result as PromiseFulfilledResult<unknown>).value as T);
  }

  /** @throws when the pool is closed. */
  expectOpen(): void {
    if (this.#closed)
      throw new Error("the job is closed, its trainers can no longer be used; make a new one with init");
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all((this.#threads ?? []).map(({ worker }) => worker.terminate()));
    this.#threads = undefined;
  }

  #start(): PoolThread[] {
    if (this.#closed)
      throw new Error("the job is closed, its trainers can no longer be used; make a new one with init");
    this.#threads ??= Array.from(
      { length: this.size },
      (_, thread) => new PoolThread({ memory: this.#heap.memory, thread, threads: this.size }),
    );
    return this.#threads;
  }
}
