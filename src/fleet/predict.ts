// Predictions come from several threads in any order; callers get them in the order of the rows.
import type { ScoreMessage } from "./protocol.ts";

const sigmoid = (logit: number): number => 1 / (1 + Math.exp(-logit));

/**
 * Yields predictions batch by batch in order of the batches' sequence numbers, from 0.
 * @param start begins the work and calls back with outputs; resolves when all have come
 * @param stop makes the work end soon, for a caller that wants no more
 * @param options.logits whether the outputs are logits, to be given as probabilities
 */
export async function* orderedScores(
  start: (onScores: (message: ScoreMessage) => void) => Promise<unknown>,
  stop: () => void,
  { logits }: { readonly logits: boolean },
): AsyncGenerator<Float32Array> {
  const waiting = new Map<number, Float32Array>();
  let next = 0;
  let wake = (): void => {};
  let done = false;
  let failure: { readonly error: unknown } | undefined;
  const work = start(({ scores, sequences, starts }) => {
    for (const [i, sequence] of sequences.entries()) {
      const outputs = scores.subarray(starts[i], starts[i + 1]);
      waiting.set(sequence, logits ? outputs.map(sigmoid) : outputs);
    }
    wake();
  })
    .catch((error: unknown) => {
      failure = { error };
    })
    .finally(() => {
      done = true;
      wake();
    });
  try {
    for (;;) {
      for (let batch = waiting.get(next); batch !== undefined; batch = waiting.get(next)) {
        waiting.delete(next++);
        yield batch;
      }
      if (done) break;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    if (failure !== undefined) throw failure.error;
  } finally {
    if (!done) stop();
    await work;
  }
}
