// Options and saved state of the loss scale, and how they are checked. Apart from the scale itself, which threads run: they
// start without what checks.
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

/** Where a thread's scale stands, as a checkpoint keeps it. */
export const lossScaleStateSchema = z.object({
  scale: z.number().positive(),
  /** Steps in a row whose gradients were finite, since the scale has grown; and those that were not, since it has fallen. */
  finite: z.number().int().nonnegative(),
  failed: z.number().int().nonnegative(),
});

export type LossScaleState = z.output<typeof lossScaleStateSchema>;
