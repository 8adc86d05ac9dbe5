// Gradient merge in a trainer thread: how many steps it has gathered, and what their rows weigh, since the optimizer's last step.
import type { Heap } from "../memory/index.ts";

/** What a thread needs to know, as plain data. */
export interface MergeHandle {
  /** Steps to gather. */
  readonly steps: number;
  /**
   * What a step's losses are divided by while they are gathered, and the update multiplies by: the rows of a full batch,
   * which open groups of other numbers of steps and threads have in common.
   */
  readonly batch: number;
  /** Address of two f32 numbers, steps gathered so far and the weight of their rows; of all threads in mode `sync`, else of this one. */
  readonly progress: number;
}

export class MergeProgress {
  readonly batch: number;
  readonly #full: number;
  readonly #cell: Float32Array;
  /** Own numbers: in mode `sync` every thread counts for itself and the first one writes. */
  readonly #writes: boolean;
  #steps: number;
  #weight: number;

  constructor(heap: Heap, { steps, batch, progress }: MergeHandle, writes: boolean) {
    this.#full = steps;
    this.batch = batch;
    this.#cell = heap.f32(progress, 2);
    this.#writes = writes;
    this.#steps = this.#cell[0]!;
    this.#weight = this.#cell[1]!;
  }

  get steps(): number {
    return this.#steps;
  }

  get weight(): number {
    return this.#weight;
  }

  /** Counts a step; true when the optimizer is to take one. */
  add(weight: number): boolean {
    this.#set(this.#steps + 1, this.#weight + weight);
    return this.#steps >= this.#full;
  }

  clear(): void {
    this.#set(0, 0);
  }

  /** A number for each step that does not repeat, given the optimizer's steps so far: for random numbers. */
  seedStep(step: number): number {
    return step * this.#full + this.#steps;
  }

  #set(steps: number, weight: number): void {
    this.#steps = steps;
    this.#weight = weight;
    if (!this.#writes) return;
    this.#cell[0] = steps;
    this.#cell[1] = weight;
  }
}
