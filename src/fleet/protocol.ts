// What the main thread and the trainer threads say to each other. Messages start and end work; while a thread works, the
// two share words of the heap instead, because a busy thread reads no messages.
import type { Prepared } from "../engine/prepare.ts";
import type { ProviderDescription } from "../engine/providers/index.ts";
import type { ScoreLogHandle, WindowStatsHandle } from "../metrics/index.ts";
import type { Optimizer } from "../optim/index.ts";
import type { TableHandle } from "../table/index.ts";
import type { BatchSource } from "./batch-source.ts";
import type { ExchangeHandle } from "./collective/handle.ts";
import type { LocalWork } from "./collective/local-rounds.ts";
import type { SinkWork } from "./gradient-sink.ts";
import type { LossScaleHandle } from "./loss-scale.ts";
import type { MergeHandle } from "./merge.ts";

/** What a trainer thread is born with. */
export interface WorkerData {
  readonly memory: WebAssembly.Memory;
  /** Which of the job's threads this is, from 0. */
  readonly thread: number;
  readonly threads: number;
}

/** Binds a prepared plan under a key, to an arena that the main thread has set aside. */
export interface BindRequest {
  readonly type: "bind";
  readonly key: string;
  readonly prepared: Prepared;
  /** What multiplies matrices, and which way it takes for each shape. */
  readonly provider: ProviderDescription;
  readonly arena: number;
  readonly shared: number;
  readonly tables: Readonly<Record<string, TableHandle>>;
  /** Stop at the first instruction that writes NaN or an infinity. */
  readonly checkFinite?: boolean;
  /** Of several ranks: address of what they exchange, and how. */
  readonly exchange?: number;
  readonly communication?: ExchangeHandle;
}

export interface ReleaseRequest {
  readonly type: "release";
  readonly keys: readonly string[];
}

/** A rank-0 input that changes each step: the value of an optimizer's scalar. */
export interface ScalarInput {
  readonly input: string;
  readonly scalar: string;
  readonly optimizer: Optimizer;
}

interface BatchWork {
  /** The bound plan that runs a batch. */
  readonly key: string;
  readonly source: BatchSource;
  readonly batch: number;
  /** Input of the plan, and where its column lies in a slot of the queue. */
  readonly columns: readonly { readonly input: string; readonly offset: number; readonly bytes: number }[];
}

/** How the threads of a process meet; processes are the business of communicators. */
export type ThreadMode = "sync" | "async";

/** What applies gradients, and when. */
export interface UpdateWork {
  /** `sync`: all threads take every step together. */
  readonly mode: ThreadMode;
  /** Address of the run's `Control`. */
  readonly control: number;
  readonly scalars: readonly ScalarInput[];
  readonly seed: number;
  /** This process's number among the workers of the job: for messages. */
  readonly rank: number;
  /** The plans that apply gradients, in order; none where the step does that itself. */
  readonly updateKeys: readonly string[];
  /** Present where the gradients of several steps are gathered before they are applied. */
  readonly merge?: MergeHandle;
  /** Present where ranks sum their gradients. */
  readonly exchange?: ExchangeHandle;
  /** Where the update runs in the next step: for each of the step's instructions, how many of the update's come before it. */
  readonly late?: readonly number[];
  /** Present where ranks train apart for some steps and then average. */
  readonly local?: LocalWork;
  /** Schedules count so many steps for one of this worker's: mode `geo`. */
  readonly workers?: number;
  /** Of fp16: how losses are scaled. */
  readonly lossScale?: LossScaleHandle;
}

/** Trains until the queue ends. */
export interface TrainRequest extends BatchWork, UpdateWork {
  readonly type: "train";
  readonly stats: WindowStatsHandle;
  /** Present where gradients go to a parameter server. */
  readonly sink?: SinkWork | undefined;
  /** Note in the timeline when each part of the model is at work; the reply carries their names. */
  readonly trace?: boolean;
  /** Measure each instruction; the reply carries the table. */
  readonly profile?: boolean;
}

/** Applies the gradients of a group that is not full. */
export interface FlushRequest extends UpdateWork {
  readonly type: "flush";
}

/** Scores until the queue ends: into a log for exact metrics, or sent back for predictions. */
export interface ScoreRequest extends BatchWork {
  readonly type: "score";
  readonly log?: ScoreLogHandle;
  /** Of tasks that are not binary: add each batch's losses and scores here. */
  readonly stats?: WindowStatsHandle;
  /** Send each batch's outputs to the main thread as `ScoreMessage`s. */
  readonly send: boolean;
}

export type Request = BindRequest | ReleaseRequest | TrainRequest | FlushRequest | ScoreRequest;

export interface Reply {
  readonly id: number;
  readonly error?: { readonly message: string; readonly stack?: string };
  readonly result?: unknown;
}

/** Outputs of some batches of the queue: of batch `sequences[i]` the numbers from `starts[i]` to `starts[i + 1]`. */
export interface ScoreMessage {
  /** Of the request that it answers. */
  readonly id: number;
  readonly scores: Float32Array;
  readonly sequences: readonly number[];
  readonly starts: readonly number[];
}
