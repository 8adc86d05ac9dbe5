// The dynamic loss scale of fp16 (arXiv 1710.03740; defaults of PaddlePaddle): losses are multiplied by it so that small
// gradients do not vanish, updates divide by it, and a step whose gradients are not finite is skipped and lowers it.
import { z } from "zod";

export const lossScaleSchema = z.strictObject({
  /** The scale of the first step. */
  start: z.number().positive().default(32_768),
  /** What it is multiplied by after `growthSteps` finite steps. */
  growth: z.number().gt(1).default(2),
  growthSteps: z.number().int().positive().default(1000),
  /** What it is multiplied by after `backoffSteps` steps in a row that are not finite. */
  backoff: z.number().gt(0).lt(1).default(0.8),
  backoffSteps: z.number().int().positive().default(2),
});

export type LossScaleOptions = z.output<typeof lossScaleSchema>;

/** A scale below this would not help any more. */
const FLOOR = 1;

export class LossScale {
  readonly #options: LossScaleOptions;
  #scale: number;
  #finite = 0;
  #failed = 0;

  constructor(options: LossScaleOptions) {
    this.#options = options;
    this.#scale = options.start;
  }

  /** What the next step's loss is to be multiplied by. */
  get scale(): number {
    return this.#scale;
  }

  /** Learns whether the gradients of a step were finite. */
  step(finite: boolean): void {
    const { growth, growthSteps, backoff, backoffSteps } = this.#options;
    if (finite) {
      this.#failed = 0;
      if (++this.#finite < growthSteps) return;
      this.#finite = 0;
      const grown = this.#scale * growth;
      if (Number.isFinite(Math.fround(grown))) this.#scale = grown;
    } else {
      this.#finite = 0;
      if (++this.#failed < backoffSteps) return;
      this.#failed = 0;
      this.#scale = Math.max(FLOOR, this.#scale * backoff);
    }
  }
}
