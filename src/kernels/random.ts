// The counter-based generator behind `uniform`: 32-bit integer arithmetic only, so that the reference and the compiled
// kernels give the same bits. The mixing steps are those of Chris Wellons' triple32 (hash-prospector), keyed twice.

/** Shifts and multipliers of one draw, in order: xor-shift right, multiply; the last shift has no multiplier. */
export const mixing = {
  shifts: [17, 11, 15, 14],
  multipliers: [0xed5ad4bb, 0xac4c1b51, 0x31848bab],
} as const;

/** Multiplies the stream's number before it meets the seed, so that nearby streams share no structure. */
export const streamMultiplier = 0x9e3779b9;
/** Turns the first key into the source of the second. */
export const secondKeyOffset = 0x6a09e667;

const mix = (value: number): number => {
  let x = value;
  for (const [i, multiplier] of mixing.multipliers.entries()) {
    x ^= x >>> mixing.shifts[i]!;
    x = Math.imul(x, multiplier);
  }
  return (x ^ (x >>> mixing.shifts[3])) >>> 0;
};

/** The two keys of a (seed, stream) pair, as u32. */
export const uniformKeys = (seed: number, stream: number): readonly [number, number] => {
  const first = mix((seed + Math.imul(stream + 1, streamMultiplier)) >>> 0);
  return [first, mix((first + secondKeyOffset) >>> 0)];
};

/**
 * The number that belongs to (seed, stream, counter): a multiple of 2^-24 in [0, 1). Seed, stream and counter count
 * modulo 2^32. For one seed and stream the 32 hashed bits are a bijection of the counter.
 */
export const uniformAt = (seed: number, stream: number, counter: number): number => {
  const [first, second] = uniformKeys(seed, stream);
  let x = (counter ^ first) >>> 0;
  for (const [i, multiplier] of mixing.multipliers.entries()) {
    x ^= x >>> mixing.shifts[i]!;
    x = Math.imul(x, multiplier);
    if (i === 0) x = (x + second) | 0;
  }
  x ^= x >>> mixing.shifts[3];
  return (x >>> 8) * 2 ** -24;
};
