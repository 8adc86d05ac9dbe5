// Numbers of random batches: the same in every run and every process.

/** mulberry32 */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Uniform from −1 to 1. */
export function floats(size: number): Float32Array {
  const random = generator(1);
  return Float32Array.from({ length: size }, () => 2 * random() - 1);
}

/** Uniform from 0 to below `below`. */
export function integers(size: number, below: number): Int32Array {
  const random = generator(2);
  return Int32Array.from({ length: size }, () => Math.floor(random() * below));
}
