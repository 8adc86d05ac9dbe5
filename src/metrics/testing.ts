// Samples for tests: labels drawn from known probabilities by a small generator that other languages can repeat.

export interface Samples {
  readonly logits: Float32Array;
  readonly labels: Float32Array;
  readonly weights: Float32Array;
}

/** `n` samples with logits uniform in -4..4, labels drawn from their sigmoid and weights uniform in 0..3. */
export function drawSamples(n: number, seed = 1): Samples {
  let state = seed;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const logits = new Float32Array(n);
  const labels = new Float32Array(n);
  const weights = new Float32Array(n);
  for (let i = 0; i < n; i++) {
    const logit = uniform() * 8 - 4;
    logits[i] = logit;
    labels[i] = uniform() < 1 / (1 + Math.exp(-logit)) ? 1 : 0;
    weights[i] = uniform() * 3;
  }
  return { logits, labels, weights };
}

/** The AUC by its definition: all pairs, ties half. */
export function pairwiseAuc(scores: ArrayLike<number>, labels: ArrayLike<number>, weights?: ArrayLike<number>): number {
  let above = 0;
  let pairs = 0;
  for (let i = 0; i < scores.length; i++) {
    if (labels[i] !== 1) continue;
    for (let j = 0; j < scores.length; j++) {
      if (labels[j] === 1) continue;
      const w = weights === undefined ? 1 : weights[i]! * weights[j]!;
      pairs += w;
      above += w * (scores[i]! > scores[j]! ? 1 : scores[i] === scores[j] ? 0.5 : 0);
    }
  }
  return above / pairs;
}
