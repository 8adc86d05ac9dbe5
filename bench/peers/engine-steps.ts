// What the JavaScript peers of the engine benchmark share: the MLP's batch and first weights, and the talk in JSON lines.
import { createInterface } from "node:readline";
import { floats, integers } from "../lib/random-rows.ts";

export interface MlpBatch {
  readonly batch: number;
  readonly inputs: number;
  readonly classes: number;
  readonly x: Float32Array;
  readonly labels: Int32Array;
}

const [INPUTS, HIDDEN, CLASSES] = [400, 400, 10];

/** The rows that flotilla trains on. */
export function mlpBatch(batch: number): MlpBatch {
  return { batch, inputs: INPUTS, classes: CLASSES, x: floats(batch * INPUTS), labels: integers(batch, CLASSES) };
}

/** Uniform weights as wide as PyTorch's. */
export function mlpWeights(): { readonly hidden: number; readonly w0: Float32Array; readonly w1: Float32Array } {
  const bound = 1 / Math.sqrt(INPUTS);
  const weights = (size: number): Float32Array => floats(size).map((value) => bound * value);
  return { hidden: HIDDEN, w0: weights(INPUTS * HIDDEN), w1: weights(HIDDEN * CLASSES) };
}

/**
 * Prints {"ready": true}, then for every line `STEPS` on stdin trains that many steps and prints the seconds of each and
 * the last loss.
 *
 * @param step trains one step and gives its loss once all of it is done
 */
export async function answerSteps(step: () => Promise<number>): Promise<void> {
  await step();
  console.log(JSON.stringify({ ready: true }));
  for await (const line of createInterface({ input: process.stdin })) {
    const seconds: number[] = [];
    let loss = Number.NaN;
    for (let i = 0; i < Number(line); i++) {
      const start = performance.now();
      loss = await step();
      seconds.push((performance.now() - start) / 1000);
    }
    console.log(JSON.stringify({ seconds, loss }));
  }
}
