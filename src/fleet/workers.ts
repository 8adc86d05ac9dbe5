// The workers of a job, and how they act together.
import { deserialize, serialize } from "node:v8";
import type { Membership } from "../cluster/index.ts";

const READY = "ready";
/** Evaluations and saves may take long. */
const WAIT_MS = 24 * 3600 * 1000;

export interface WorkersOptions {
  readonly rank: number;
  readonly workers: number;
  /** Where there are several workers. */
  readonly member?: Membership | undefined;
}

export class Workers {
  /** This one's number, from 0. */
  readonly rank: number;
  /** How many there are. */
  readonly workers: number;
  readonly member: Membership | undefined;
  readonly #counts = new Map<string, number>();

  constructor({ rank, workers, member }: WorkersOptions) {
    this.rank = rank;
    this.workers = workers;
    this.member = member;
  }

  /** One line for whoever watches. */
  say(text: string): void {
    process.stderr.write(`${text}\n`);
  }

  /** How often this worker has asked for the number of such things before. */
  count(what: string): number {
    const count = this.#counts.get(what) ?? 0;
    this.#counts.set(what, count + 1);
    return count;
  }

  /** Runs `work` in the worker of rank 0, once in the job's life; the others wait for its end. */
  async first(key: string, work: () => Promise<void>): Promise<void> {
    if (this.member === undefined) return work();
    if (this.rank === 0 && (await this.member.peek(key)) === undefined) {
      await work();
      await this.member.set(key, READY);
    }
    await this.member.get(key);
  }

  /**
   * Runs `work` in the worker of rank 0 and gives its result, plain data, to all. Every worker must call it as often, in the
   * same order.
   */
  async together<T>(what: string, work: () => Promise<T>): Promise<T> {
    if (this.member === undefined || this.workers === 1) return work();
    const key = `together/${what}/${this.count(what)}`;
    // A worker that was started again takes what its earlier life has found out.
    if (this.rank === 0 && (await this.member.peek(key)) === undefined) {
      const result = await outcome(work);
      await this.member.set(key, serialize(result));
    }
    const result = deserialize(await this.member.get(key, { timeoutMs: WAIT_MS })) as Outcome<T>;
    if ("error" in result) throw new Error(`${this.rank === 0 ? "" : "worker 0: "}${result.error}`);
    return result.value;
  }

  /** Returns when all workers are here. */
  async meet(name: string): Promise<void> {
    if (this.member === undefined || this.workers === 1) return;
    await this.member.barrier(name, this.workers, { whenDead: "wait", timeoutMs: WAIT_MS });
  }
}

type Outcome<T> = { readonly value: T } | { readonly error: string };

async function outcome<T>(work: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await work() };
  } catch (error) {
    return { error: (error as Error).message };
  }
}
