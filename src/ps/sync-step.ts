// Mode `sync`: the pushes of a step wait here until those of all workers have come.
import { RpcError } from "../net/index.ts";
import type { PushEntry } from "./state.ts";

/** A push that waits. */
export interface WaitingPush extends PushEntry {
  readonly client: bigint;
  readonly sequence: number;
  readonly method: "push" | "pushPull";
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class SyncStep {
  readonly #apply: (pushes: readonly WaitingPush[]) => void;
  readonly #waiting = new Map<number, WaitingPush>();
  #ranks: ReadonlySet<number>;
  #since = performance.now();

  /** @param apply is called with the pushes of a complete step, by rank */
  constructor(ranks: Iterable<number>, apply: (pushes: readonly WaitingPush[]) => void) {
    this.#ranks = new Set(ranks);
    this.#apply = apply;
  }

  /** Ranks whose push is missing, while others wait. */
  get missing(): number[] {
    return this.#waiting.size === 0 ? [] : [...this.#ranks].filter((rank) => !this.#waiting.has(rank));
  }

  /** Milliseconds since the first push of the step came; 0 where none waits. */
  get waitingMs(): number {
    return this.#waiting.size === 0 ? 0 : performance.now() - this.#since;
  }

  /** @throws RpcError `stale step` that names the step to go on with, `refused` for a rank that is not awaited */
  add(push: WaitingPush, steps: number): void {
    const { worker, step } = push.view;
    if (step !== steps) {
      throw new RpcError(
        "stale step",
        `worker ${worker} pushes step ${step}, but ${steps} steps are done; go on with ${steps}`,
      );
    }
    if (!this.#ranks.has(worker)) {
      throw new RpcError("refused", `worker ${worker} is not among those that take part: ${[...this.#ranks]}`);
    }
    // A worker that was started again takes the place of its earlier life.
    this.#waiting.get(worker)?.reject(new RpcError("refused", `worker ${worker} has pushed step ${step} once more`));
    if (this.#waiting.size === 0) this.#since = performance.now();
    this.#waiting.set(worker, push);
    this.#release();
  }

  /** Waits for these ranks from now on; what others have pushed of this step is dropped. */
  setRanks(ranks: Iterable<number>): void {
    this.#ranks = new Set(ranks);
    for (const [rank, push] of this.#waiting) {
      if (this.#ranks.has(rank)) continue;
      this.#waiting.delete(rank);
      push.reject(new RpcError("refused", `worker ${rank} no longer takes part`));
    }
    this.#release();
  }

  #release(): void {
    if (this.#waiting.size === 0 || this.#waiting.size < this.#ranks.size) return;
    const pushes = [...this.#waiting.values()].sort((a, b) => a.view.worker - b.view.worker);
    this.#waiting.clear();
    this.#apply(pushes);
  }
}
