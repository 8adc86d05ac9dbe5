// Options of learning rates: plain values, so that they travel to trainer threads and into checkpoints.
import { z } from "zod";

const positive = z.number().positive();
const steps = z.number().int().positive();

const scheduleSchema = z.discriminatedUnion("kind", [
  /** The same rate for ever. */
  z.strictObject({ kind: z.literal("constant"), lr: positive }),
  /** `lr · gamma^⌊step / every⌋`. */
  z.strictObject({ kind: z.literal("step"), lr: positive, every: steps, gamma: positive }),
  /** `lr · gamma^n` after n of the steps `at`. */
  z.strictObject({ kind: z.literal("multi-step"), lr: positive, at: z.array(steps).min(1), gamma: positive }),
  /** From `lr` to `floor` along half a cosine over `total` steps (arXiv 1608.03983), then `floor`. */
  z.strictObject({ kind: z.literal("cosine"), lr: positive, total: steps, floor: z.number().nonnegative().default(0) }),
  /** `floor + (lr − floor)·(1 − step/total)^power`, then `floor`. */
  z.strictObject({
    kind: z.literal("polynomial"),
    lr: positive,
    total: steps,
    power: positive.default(1),
    floor: z.number().nonnegative().default(0),
  }),
  /** `factor · dim^−½ · min(step^−½, step · warmup^−1.5)` (arXiv 1706.03762). */
  z.strictObject({ kind: z.literal("noam"), dim: steps, warmup: steps, factor: positive.default(1) }),
]);

export const learningRateSchema = z.union([
  positive,
  scheduleSchema,
  /** Rises linearly from 0 over `warmup` steps, then follows `after`, whose step 0 is the end of the warm-up. */
  z.strictObject({ kind: z.literal("warmup"), warmup: steps, after: z.union([positive, scheduleSchema]) }),
]);

/** A number is a constant rate. */
export type LearningRate = z.infer<typeof learningRateSchema>;
export type LearningRateOptions = z.input<typeof learningRateSchema>;
