// The parameter servers of a job as a worker knows them, and how workers act together.
import type { Membership } from "../cluster/index.ts";
import type { KeysOption } from "../net/index.ts";

/** How long one call to a server may take, restarts included: PaddlePaddle's. */
const DEADLINE_MS = 180_000;
const READY = "ready";

export interface ServersOptions {
  /** Of each partition, the same order in all workers. */
  readonly addresses: readonly string[];
  readonly keys?: KeysOption | undefined;
  readonly rank: number;
  readonly workers: number;
  /** Where there are several workers. */
  readonly member?: Membership | undefined;
}

export class Servers {
  readonly addresses: readonly string[];
  readonly keys: KeysOption | undefined;
  readonly rank: number;
  readonly workers: number;
  readonly deadlineMs: number = DEADLINE_MS;
  readonly member: Membership | undefined;
  readonly #counts = new Map<string, number>();

  constructor({ addresses, keys, rank, workers, member }: ServersOptions) {
    this.addresses = addresses;
    this.keys = keys;
    this.rank = rank;
    this.workers = workers;
    this.member = member;
  }

  /** One line for whoever watches. */
  say(text: string): void {
    process.stderr.write(`${text}\n`);
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
    const count = this.#counts.get(what) ?? 0;
    this.#counts.set(what, count + 1);
    const key = `together/${what}/${count}`;
    if (this.rank === 0) {
      let result: { value?: T; error?: string };
      try {
        result = { value: await work() };
      } catch (error) {
        await this.member.set(key, JSON.stringify({ error: (error as Error).message }));
        throw error;
      }
      await this.member.set(key, JSON.stringify(result));
      return result.value as T;
    }
    const text = new TextDecoder().decode((await this.member.get(key, { timeoutMs: WAIT_MS })).slice());
    const { value, error } = JSON.parse(text) as { value?: T; error?: string };
    if (error !== undefined) throw new Error(`${what} failed in worker 0: ${error}`);
    return value as T;
  }
}

/** Evaluations and saves may take long. */
const WAIT_MS = 24 * 3600 * 1000;
