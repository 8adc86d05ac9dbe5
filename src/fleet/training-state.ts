// Where a training run stands between two steps: plain data, kept by checkpoints, enough to go on exactly there.
import type { PipelineState } from "../data/index.ts";

export interface TrainingState {
  /** Optimizer steps done, over all threads. */
  readonly step: number;
  /** Epochs completed. */
  readonly epoch: number;
  /** Rows trained on. */
  readonly samples: number;
  /** Seconds spent training. */
  readonly seconds: number;
  /** The rows of the current epoch that are left; absent between epochs. */
  readonly data?: PipelineState;
  /** Best value of the watched metric so far, and evaluations since; for early stop. */
  readonly best?: { readonly value: number; readonly since: number };
}

export const initialState: TrainingState = { step: 0, epoch: 0, samples: 0, seconds: 0 };
