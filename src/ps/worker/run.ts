// One run of a communicator: what it shares with the trainers while they train or score.
import { BatchQueue, INTERRUPTED } from "../../data/queue.ts";
import type { Heap } from "../../memory/index.ts";
import type { GradientSlot } from "./outgoing.ts";
import type { RunRequest } from "./protocol.ts";
import { HEADER_ROWS, HEADER_SAMPLES, HEADER_SEQUENCE, HEADER_WEIGHT, Ring } from "./slots.ts";

/** A batch in a prepared slot. */
export interface Taken {
  readonly thread: number;
  readonly slot: number;
  readonly address: number;
}

export class Run {
  readonly threads: number;
  readonly prepared: readonly Ring[];
  readonly gradients: readonly Ring[];
  readonly queues: readonly BatchQueue[];
  readonly #heap: Heap;
  readonly #bytes: number;
  #failure: Error | undefined;
  /** The trainers will leave no more. */
  finished = false;
  readonly #wakers = new Set<() => void>();
  readonly #stopping = Promise.withResolvers<never>();

  constructor(heap: Heap, request: RunRequest) {
    this.#heap = heap;
    this.#bytes = request.layout.batchBytes;
    this.threads = request.prepared.length;
    this.prepared = request.prepared.map((handle) => Ring.attach(heap, handle, "fill"));
    this.gradients = request.gradients.map((handle) => Ring.attach(heap, handle, "empty"));
    this.#stopping.promise.catch(() => undefined);
    this.queues = request.prepared.map((_, thread) => BatchQueue.attach(heap, request.pipeline, thread));
  }

  get stopped(): boolean {
    return this.#failure !== undefined;
  }

  /** @throws the reason where the run was stopped */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Rejects when the run is stopped. */
  get failed(): Promise<never> {
    return this.#stopping.promise;
  }

  /** Ends the run: nobody waits for anybody any more. */
  stop(failure: Error): void {
    this.#failure ??= failure;
    this.#stopping.reject(this.#failure);
    for (const ring of [...this.prepared, ...this.gradients]) ring.break();
    this.wake();
  }

  finish(): void {
    this.finished = true;
    this.wake();
    for (const ring of this.gradients) ring.end();
  }

  wake(): void {
    const wakers = [...this.#wakers];
    this.#wakers.clear();
    for (const waker of wakers) waker();
  }

  /** Wakes those that wait for gradients whenever something happens to a thread's ring. */
  watch(): void {
    for (const ring of this.gradients) this.#watch(ring);
  }

  async #watch(ring: Ring): Promise<void> {
    while (!this.finished && !this.stopped) {
      const changed = ring.changed();
      this.wake();
      await changed;
    }
    this.wake();
  }

  /** The next batch of a thread in a slot of its prepared ring, or undefined when its queue has ended. */
  async take(thread: number): Promise<Taken | undefined> {
    const ring = this.prepared[thread]!;
    await ring.until(() => ring.hasFree || ring.broken);
    this.check();
    const queue = this.queues[thread]!;
    const from = await queue.nextAsync();
    this.check();
    if (from === INTERRUPTED) ring.break();
    if (from <= 0) return undefined;
    const slot = ring.begin();
    const address = ring.address(slot);
    const header = ring.header(slot);
    header[HEADER_ROWS] = queue.rows;
    header[HEADER_WEIGHT] = queue.weight;
    header[HEADER_SEQUENCE] = queue.sequence;
    this.#heap.u8(address, this.#bytes).set(this.#heap.u8(from, this.#bytes));
    queue.release();
    return { thread, slot, address };
  }

  /** Resolves when something has happened, or after `timeoutMs`. */
  woken(timeoutMs?: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = timeoutMs === undefined ? undefined : setTimeout(resolve, timeoutMs);
      this.#wakers.add(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Waits until a trainer has left gradients: true, or until none will. Needs `watch`. */
  async untilGradients(): Promise<boolean> {
    for (;;) {
      this.check();
      if (this.gradients.some((ring) => ring.hasFilled)) return true;
      if (this.finished) return false;
      await this.woken();
    }
  }

  /** The oldest gradients of each thread in turn, at most `most`; to be given back by `give`. */
  popGradients(most: number): (GradientSlot & { readonly thread: number })[] {
    const popped: (GradientSlot & { readonly thread: number })[] = [];
    for (let found = true; found && popped.length < most; ) {
      found = false;
      for (const [thread, ring] of this.gradients.entries()) {
        if (popped.length === most || !ring.hasFilled) continue;
        popped.push(this.#begin(thread));
        found = true;
      }
    }
    return popped;
  }

  /** The next gradients of a thread. */
  async gradientsOf(thread: number): Promise<GradientSlot & { readonly thread: number }> {
    const ring = this.gradients[thread]!;
    await ring.until(() => ring.hasFilled || ring.broken);
    this.check();
    return this.#begin(thread);
  }

  give(slots: readonly { readonly thread: number }[]): void {
    for (const { thread } of slots) this.gradients[thread]!.empty();
  }

  #begin(thread: number): GradientSlot & { readonly thread: number } {
    const ring = this.gradients[thread]!;
    const slot = ring.begin();
    return { thread, address: ring.address(slot), samples: ring.header(slot)[HEADER_SAMPLES]! };
  }
}
