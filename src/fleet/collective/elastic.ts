// Training that goes on when workers die: where each worker stands, what the dead have left of the epoch's data, and the state
// that all go on from.
import { type Cut, type Dataset, type PipelineState, workLeft } from "../../data/index.ts";
import type { Life } from "../deaths.ts";
import { lossScalesOf } from "../kept-state.ts";
import { lossScaleStates, restoreLossScales } from "../loss-scale.ts";
import type { LossScaleState } from "../loss-scale-options.ts";
import type { Session } from "../session.ts";
import type { Trainer } from "../trainer.ts";
import type { TrainingState } from "../training-state.ts";
import type { Position, Regroup } from "./regroup.ts";

/** What a worker does in an epoch: evaluates what came before, begins, then trains on its share and on what others have left. */
export const Phase = { evaluate: -1, begin: 0, train: 1 } as const;

/** A part of an epoch of which workers that died had done a fraction, for all that are left to share. */
interface Left {
  readonly shard: { readonly rank: number; readonly worldSize: number };
  readonly cuts: readonly Cut[];
  readonly from: number;
}

export interface ElasticData {
  readonly dataset: Dataset;
  /** Whether the workers share it out; else each has data of its own, and what the dead had is lost with them. */
  readonly shared: boolean;
}

/** What all go on from. */
interface Agreed {
  readonly state: Omit<TrainingState, "data">;
  readonly phase: number;
  readonly lives: readonly Life[];
  readonly left: readonly Left[];
  readonly counts: readonly (readonly [string, number])[];
  readonly lossScales: readonly LossScaleState[];
  readonly wishes: number;
  readonly over: boolean;
}

const GONE: Life = { rank: -1, attempt: -1 };

export class Elastic {
  phase: number = Phase.begin;
  /** Training ends early, also for who comes back now. */
  over = false;
  /** What the ranks had agreed to do between two steps, and have not done yet. */
  wishes = 0;
  /** Of the part that is trained on, how much of it is done. */
  fraction: () => number = () => 0;
  readonly #trainer: Trainer;
  readonly #regroup: Regroup;
  /** Who shares the part that is trained on. */
  #lives: readonly Life[] = [];
  #left: readonly Left[] = [];

  constructor(trainer: Trainer, regroup: Regroup) {
    this.#trainer = trainer;
    this.#regroup = regroup;
  }

  /** Whether this worker has come back when the others are in a later call of `fit`. */
  get late(): boolean {
    return this.#regroup.fits > this.#trainer.fits;
  }

  beginEpoch(): void {
    this.#left = [];
    this.#beginPart(Phase.train);
  }

  endPart(): void {
    this.#beginPart(this.phase + 1);
  }

  /** This rank's share of the part; undefined where the epoch has no further one. */
  part({
    dataset: whole,
    shared,
  }: ElasticData): { readonly dataset: Dataset; readonly resume?: PipelineState } | undefined {
    if (!shared) return this.phase === Phase.train ? { dataset: whole } : undefined;
    const place = this.#lives.findIndex(({ rank }) => rank === this.#trainer.job.workers.own.rank);
    if (this.phase === Phase.train) return { dataset: whole.shard(this.#shareOf(place)) };
    const left = this.#left[this.phase - Phase.train - 1];
    if (left === undefined) return undefined;
    const dataset = whole.shard(left.shard);
    const cuts = [...left.cuts, { from: left.from, share: place, shares: this.#lives.length }];
    return { dataset, resume: workLeft(dataset, this.#trainer.state.epoch, cuts) };
  }

  /** Takes in who has come back. True when the group has changed. */
  takeIn(): Promise<boolean> {
    const { fits, state } = this.#trainer;
    return this.#regroup.takeIn(`${fits}/${state.epoch}${this.over ? "/over" : ""}`, fits);
  }

  /** Agrees with those that are left on a new group. @throws ElasticError when they are too few */
  async reform(): Promise<void> {
    const { epoch, step } = this.#trainer.state;
    const { phase, over, wishes } = this;
    const position: Position = [over ? 1 : 0, epoch, phase, step, wishes];
    await this.#regroup.reform(position);
  }

  /** Gives all the weights, the optimizer state and the place in training of the one that had come furthest. */
  async agree(session: Session): Promise<void> {
    const { job, fits, state: own } = this.#trainer;
    const { workers, heap } = job;
    const { root } = this.#regroup;
    await session.collective!.share(root);
    const key = `elastic/${workers.roster.generation}/state/${fits}`;
    if (workers.rank === root) {
      const { lives, left } = this.#withoutTheDead(workers.roster.lives);
      const { data: _, ...state } = own;
      const { phase, wishes, over } = this;
      const lossScales = lossScaleStates(heap, lossScalesOf(session));
      const agreed: Agreed = { state, phase, lives, left, counts: workers.counts, lossScales, wishes, over };
      await workers.member!.set(key, JSON.stringify(agreed));
    }
    const agreed = JSON.parse(Buffer.from(await workers.valueOf(key)).toString()) as Agreed;
    const { samples, seconds } = own;
    this.#trainer.state = { ...agreed.state, samples, seconds };
    this.phase = agreed.phase;
    this.wishes = agreed.wishes;
    this.over = agreed.over;
    this.#lives = agreed.lives;
    this.#left = agreed.left;
    workers.counts = agreed.counts;
    restoreLossScales(heap, lossScalesOf(session), agreed.lossScales);
  }

  #beginPart(phase: number): void {
    this.phase = phase;
    this.#lives = this.#trainer.job.workers.roster.lives;
    this.fraction = () => 0;
  }

  #shareOf(rank: number): Left["shard"] {
    return { rank, worldSize: this.#lives.length };
  }

  /** The dead take no part any more; what they had not done of the part that is trained on is left to all. */
  #withoutTheDead(alive: readonly Life[]): { readonly lives: readonly Life[]; readonly left: readonly Left[] } {
    const isAlive = (life: Life): boolean => alive.some((a) => a.rank === life.rank && a.attempt === life.attempt);
    const lives = this.#lives.map((life) => (isAlive(life) ? life : GONE));
    const from = this.fraction();
    if (this.phase < Phase.train || from >= 1) return { lives, left: this.#left };
    const dead = this.#lives.flatMap((life, place) => (life.rank < 0 || isAlive(life) ? [] : [place]));
    const before = this.#left[this.phase - Phase.train - 1];
    const added = dead.map((place): Left => {
      if (before === undefined) return { shard: this.#shareOf(place), cuts: [], from };
      const cut = { from: before.from, share: place, shares: this.#lives.length };
      return { shard: before.shard, cuts: [...before.cuts, cut], from };
    });
    return { lives, left: [...this.#left, ...added] };
  }
}
