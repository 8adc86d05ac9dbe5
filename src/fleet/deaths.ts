// Which workers of the job have died, as the coordinator tells it: whoever waits for one of them learns it by name at once.
import { setTimeout as sleep } from "node:timers/promises";
import type { Membership } from "../cluster/index.ts";

/** A worker and which of its lives: one that was started again is another. */
export interface Life {
  /** Its number in the job. */
  readonly rank: number;
  readonly attempt: number;
}

/** A worker that others waited for is dead. */
export class WorkerDiedError extends Error {
  override readonly name = "WorkerDiedError";
}

const LOOK_MS = 50;

export class Deaths {
  /** By rank, the last life that ended, and the line that tells of it. */
  readonly #dead = new Map<number, { readonly attempt: number; readonly text: string }>();
  readonly #listeners = new Set<() => void>();
  #lost: string | undefined;

  constructor(member: Pick<Membership, "watch">) {
    member.watch(({ kind, member: { role, rank, attempt }, text }) => {
      if (kind !== "died" || role !== "worker") return;
      this.#dead.set(rank, { attempt, text });
      for (const look of this.#listeners) look();
    });
  }

  /** The coordinator is gone, so that nobody can be waited for. */
  lose(text: string): void {
    this.#lost = text;
    for (const look of this.#listeners) look();
  }

  /**
   * Runs `work`, which waits for these workers.
   * @throws WorkerDiedError that says who died and when, as soon as one has
   */
  async whileAlive<T>(lives: readonly Life[], work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const stop = new AbortController();
    const look = (): void => {
      if (this.#oneOf(lives) !== undefined) stop.abort();
    };
    look();
    this.#listeners.add(look);
    try {
      return await work(stop.signal);
    } catch (cause) {
      const gone = this.#oneOf(lives);
      if (gone === undefined) throw cause;
      throw new WorkerDiedError(gone, { cause });
    } finally {
      this.#listeners.delete(look);
    }
  }

  /** The line of a death; undefined where the coordinator does not tell of one within the time. */
  async lineOf(lives: readonly Life[], milliseconds: number): Promise<string | undefined> {
    for (const deadline = performance.now() + milliseconds; ; await sleep(LOOK_MS)) {
      const gone = this.#oneOf(lives);
      if (gone !== undefined || performance.now() >= deadline) return gone;
    }
  }

  /** The line of one that is dead. */
  #oneOf(lives: readonly Life[]): string | undefined {
    if (this.#lost !== undefined && lives.length > 0) return this.#lost;
    for (const { rank, attempt } of lives) {
      const death = this.#dead.get(rank);
      if (death !== undefined && death.attempt >= attempt) return death.text;
    }
    return undefined;
  }
}
