// What the main thread and the communicator's thread say to each other.
import type { PipelineHandle } from "../../data/index.ts";
import type { KeysOption } from "../../net/index.ts";
import type { PsMode, ServedModel } from "../spec.ts";
import type { GeoLayout } from "./geo-layout.ts";
import type { GradientLayout, PreparedLayout } from "./plan.ts";
import type { RingHandle } from "./slots.ts";

/** How gradients are merged and sent: PaddlePaddle's settings. */
export interface SendOptions {
  /** Batches whose gradients may wait to be sent. */
  readonly sendQueueSize: number;
  /** The most batches that are merged into one push. */
  readonly maxMergeGrads: number;
  /** So many batches a push waits for. */
  readonly wantedGrads: number;
  /** How often, 10 ms apart, an empty queue is looked at before a push of fewer batches goes out. */
  readonly sendWaitTimes: number;
}

/** What a communicator is born with. */
export interface CommunicatorData {
  readonly memory: WebAssembly.Memory;
  /** Of each partition. */
  readonly addresses: readonly string[];
  readonly keys?: KeysOption | undefined;
  /** The rank. */
  readonly worker: number;
  readonly model: ServedModel;
  readonly threads: number;
  readonly send: SendOptions;
  /** Handles of the empty rows of the tables. */
  readonly zeroRows: readonly number[];
  readonly gradients: GradientLayout;
  readonly geo?: GeoLayout | undefined;
  /** Address of the counters. */
  readonly counters: number;
  /** How long a call may take, all tries together. */
  readonly deadlineMs: number;
}

export interface RunRequest {
  readonly type: "train" | "score";
  readonly pipeline: PipelineHandle;
  readonly layout: PreparedLayout;
  /** A ring a trainer thread. */
  readonly prepared: readonly RingHandle[];
  readonly gradients: readonly RingHandle[];
}

/**
 * - `train`, `score`: feeds the trainers until the pipeline ends; answered when all that they left is with the servers.
 * - `finish`: the trainers have returned, and will leave no more.
 * - `stop`: ends the run at once, because a trainer failed.
 * - `pullDense`: fetches all dense weights.
 */
export type CommunicatorRequest =
  | RunRequest
  | { readonly type: "finish" }
  | { readonly type: "stop"; readonly reason: string }
  | { readonly type: "pullDense" }
  | { readonly type: "close" };

export interface CommunicatorMessage {
  readonly id: number;
  readonly request: CommunicatorRequest;
}

export interface CommunicatorReply {
  readonly id: number;
  readonly error?: { readonly message: string; readonly stack?: string };
}

export const isStepwise = (mode: PsMode): boolean => mode === "sync" || mode === "half-async";
