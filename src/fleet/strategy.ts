// The strategy: the one object that says how training is spread, with every switch named as the field names it.
import { z } from "zod";

const strategySchema = z.strictObject({
  /**
   * - `async`: threads update the shared parameters without locks, each with its own batch (Hogwild, arXiv 1106.5730);
   * - `sync`: every step averages the threads' gradients: equal to one thread with the union of their batches, but that
   *   batch norm normalises each thread's rows by themselves and keeps the first thread's running statistics.
   */
  mode: z.enum(["async", "sync"]).default("async"),
});

export type Strategy = Readonly<z.infer<typeof strategySchema>>;
export type StrategyOptions = z.input<typeof strategySchema>;

/** Fills in defaults; an unknown switch or value is refused by name, with what is allowed. */
export function parseStrategy(options: StrategyOptions = {}): Strategy {
  const parsed = strategySchema.safeParse(options);
  if (parsed.success) return parsed.data;
  throw new Error(
    `strategy: ${z.prettifyError(parsed.error)}\nswitches: ${Object.keys(strategySchema.shape).join(", ")}; modes: async, sync`,
  );
}
