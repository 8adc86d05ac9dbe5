// Which weights evaluations and predictions compute with.
import type { Strategy } from "./strategy.ts";

/** The weights as training has left them, or their moving averages. */
export type Weights = "trained" | "ema";

export interface ScoreOptions {
  /**
   * The weights as training has left them, or their moving averages where the strategy keeps some (tables and running
   * statistics are the trained ones in either case). Default "trained".
   */
  readonly weights?: Weights;
}

/** @throws TypeError for a wrong option, or averages that the strategy does not keep */
export function weightsOf({ weights = "trained", ...unknown }: ScoreOptions, { ema }: Strategy): Weights {
  const [wrong] = Object.keys(unknown);
  if (wrong !== undefined) throw new TypeError(`unknown option "${wrong}"; allowed: weights`);
  if (weights !== "trained" && weights !== "ema")
    throw new TypeError(`weights must be "trained" or "ema", got ${JSON.stringify(weights)}`);
  if (weights === "ema" && ema === undefined)
    throw new TypeError('weights: "ema" needs the moving averages that strategy: { ema: 0.999 } keeps');
  return weights;
}
