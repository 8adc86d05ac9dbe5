// The workers of a job, and how they act together.
import { deserialize, serialize } from "node:v8";
import type { Membership } from "../cluster/index.ts";
import { Deaths, type Life } from "./deaths.ts";

const READY = "ready";
/** Evaluations and saves may take long. */
const WAIT_MS = 24 * 3600 * 1000;
/** How long the coordinator may take to know of a death that collectives have noticed. */
const TOLD_MS = 5000;

export interface WorkersOptions {
  readonly rank: number;
  readonly workers: number;
  /** Which of its lives this is: 0, or how often it was started again. */
  readonly attempt?: number;
  /** Where there are several workers. */
  readonly member?: Membership | undefined;
  /** Nobody goes on without the others: waits end with an error when one dies. */
  readonly bound?: boolean;
}

/** Who trains together: all workers of the job, or after a fault those that are left. */
export interface Roster {
  /** How often it has changed. */
  readonly generation: number;
  /** In the order of their numbers in the job. A place in the list is a rank in the group. */
  readonly lives: readonly Life[];
}

export class Workers {
  readonly member: Membership | undefined;
  readonly own: Life;
  readonly #deaths: Deaths | undefined;
  #roster: Roster;
  #counts = new Map<string, number>();

  constructor({ rank, workers, attempt = 0, member, bound = false }: WorkersOptions) {
    this.own = { rank, attempt };
    this.member = member;
    this.#deaths = bound && member !== undefined && workers > 1 ? new Deaths(member) : undefined;
    // Of the others, any life will do until the roster says which.
    const lives = Array.from({ length: workers }, (_, other) =>
      other === rank ? this.own : { rank: other, attempt: 0 },
    );
    this.#roster = { generation: 0, lives };
  }

  /** This one's number among those that train together, from 0. */
  get rank(): number {
    return this.#roster.lives.findIndex(({ rank }) => rank === this.own.rank);
  }

  /** How many train together. */
  get workers(): number {
    return this.#roster.lives.length;
  }

  get roster(): Roster {
    return this.#roster;
  }

  /** Others train together from now on. */
  take(roster: Roster): void {
    this.#roster = roster;
  }

  /** How often things were numbered: whoever comes later goes on from there. */
  get counts(): readonly (readonly [string, number])[] {
    return [...this.#counts];
  }

  set counts(counts: readonly (readonly [string, number])[]) {
    this.#counts = new Map(counts);
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
   * @throws WorkerDiedError when one dies meanwhile; the call may then be repeated
   */
  async together<T>(what: string, work: () => Promise<T>): Promise<T> {
    const { member } = this;
    if (member === undefined || this.workers === 1) return work();
    const number = this.count(what);
    const key = `together/${what}/${number}`;
    // A worker that was started again takes what its earlier life has found out.
    if (this.rank === 0 && (await member.peek(key)) === undefined) {
      const result = await outcome(work);
      await member.set(key, serialize(result));
    }
    try {
      const result = deserialize(await this.valueOf(key)) as Outcome<T>;
      if ("error" in result) throw new Error(`${this.rank === 0 ? "" : "worker 0: "}${result.error}`);
      return result.value;
    } catch (error) {
      if ((error as Error).name === "WorkerDiedError") this.#counts.set(what, number);
      throw error;
    }
  }

  /** Waits for a value that one of the others sets. @throws WorkerDiedError when one dies meanwhile */
  valueOf(key: string, timeoutMs: number = WAIT_MS): Promise<Uint8Array> {
    const member = this.member!;
    return this.#waiting(async (signal) => {
      try {
        return await member.get(key, { timeoutMs, signal });
      } catch (error) {
        // Who has set it may have ended since.
        const value = signal.aborted ? await member.peek(key) : undefined;
        if (value === undefined) throw error;
        return value;
      }
    });
  }

  /** Returns when all workers are here. @throws WorkerDiedError when one dies meanwhile */
  async meet(name: string): Promise<void> {
    const { member } = this;
    if (member === undefined || this.workers === 1) return;
    const { generation } = this.#roster;
    const whole = generation === 0 ? name : `${name}/${generation}`;
    await this.#waiting((signal) =>
      member.barrier(whole, this.workers, { whenDead: "wait", timeoutMs: WAIT_MS, signal }),
    );
  }

  /** The coordinator is gone. */
  lose(text: string): void {
    this.#deaths?.lose(text);
  }

  /**
   * What the coordinator says of the death behind an error of collectives: who, what, since when.
   * @param place in the roster, of the worker that is held to have failed first: others end after it
   */
  async death(withinMs: number = TOLD_MS, place?: number): Promise<string | undefined> {
    const others = this.#others;
    const first = others.filter((life) => life === this.#roster.lives[place ?? -1]);
    const line = await this.#deaths?.lineOf(first.length > 0 ? first : others, withinMs);
    return line ?? this.#deaths?.lineOf(others, 0);
  }

  get #others(): readonly Life[] {
    return this.#roster.lives.filter(({ rank }) => rank !== this.own.rank);
  }

  #waiting<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return this.#deaths?.whileAlive(this.#others, work) ?? work(new AbortController().signal);
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
