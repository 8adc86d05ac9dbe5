// LocalSGD and adaptive LocalSGD (arXiv 1808.07217) in a trainer thread: after how many steps of its own a rank averages with
// the others. Every thread counts for itself; all come to the same.
import type { Heap } from "../../memory/index.ts";
import type { Optimizer } from "../../optim/index.ts";
import { learningRateAt } from "../../optim/schedule.ts";
import { SHARE } from "../../program/index.ts";
import { address, type Bound } from "../bound-plans.ts";
import type { Tally } from "./handle.ts";

export interface LocalWork {
  /** The plan that averages. */
  readonly key: string;
  /** Steps between two means, from step `begin` on; the first number of them where it adapts. */
  readonly steps: number;
  readonly begin: number;
  readonly adaptive: boolean;
  /** Whose learning rate counts. */
  readonly optimizer: Optimizer;
}

/** Limits of what adapts: PaddlePaddle's. */
const MOST_STEPS = 16;

/** What adapts goes on from one call of `train` to the next, by plan. */
const learnt = new Map<string, { length: number; firstLoss: number; firstRate: number }>();

export class LocalRounds {
  rows = 0;
  weight = 0;
  readonly #work: LocalWork;
  readonly #state: { length: number; firstLoss: number; firstRate: number };
  readonly #share: Float32Array;
  readonly #loss: Float32Array;
  readonly #run: () => void;
  #steps = 0;

  constructor(heap: Heap, work: LocalWork, average: Bound, step: Bound) {
    this.#work = work;
    const state = learnt.get(work.key) ?? { length: work.steps, firstLoss: 0, firstRate: 0 };
    learnt.set(work.key, state);
    this.#state = state;
    this.#share = heap.f32(address(average, "inputs", SHARE), 1);
    this.#loss = heap.f32(address(step, "outputs", "loss"), 1);
    this.#run = average.executable.run;
  }

  /** Steps of the round so far. */
  get steps(): number {
    return this.#steps;
  }

  /** The loss of this thread's last batch, summed over its rows. @param weight of the rows of all threads */
  lossSum(weight: number): number {
    return this.#loss[0]! * weight;
  }

  /** Counts a step; true when the round is over. @param step steps so far, this one included */
  add(step: number, rows: number, weight: number): boolean {
    this.#steps++;
    this.rows += rows;
    this.weight += weight;
    return this.#steps >= (step <= this.#work.begin ? 1 : this.#state.length);
  }

  /** Takes the mean of what all ranks have changed. Blocks. */
  average({ weight }: Tally): void {
    this.#share[0] = this.weight / weight;
    this.#run();
  }

  /** Begins the next round. @param step steps so far */
  next(step: number, { loss }: Tally): void {
    this.#steps = 0;
    this.rows = 0;
    this.weight = 0;
    const { adaptive, begin, steps, optimizer } = this.#work;
    if (!adaptive || step < begin || !(loss > 0)) return;
    const state = this.#state;
    const rate = learningRateAt(optimizer.lr, step);
    if (state.firstLoss === 0) {
      state.firstLoss = loss;
      state.firstRate = rate;
    }
    const wanted = Math.ceil(Math.sqrt(((state.firstRate * loss) / (rate * state.firstLoss)) * steps));
    state.length = Math.min(MOST_STEPS, Math.max(1, wanted));
  }
}
