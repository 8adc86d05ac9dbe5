// library
// The hash of features; docs and reference in feature-hash.ts.

export const COLUMN: u64 = 0x9e3779b97f4a7c15;
export const LENGTH: u64 = 0xd6e8feb86659fd93;
const FOLD: u64 = 0xff51afd7ed558ccd;
/** Stands for the length of a number that is no integer. */
export const FLOAT_LENGTH: u64 = 256;

// xmxmx of P. Ettl ("degski64"): a bijection.
// @ts-ignore: decorator
@inline export function mix(x: u64): u64 {
  x = (x ^ (x >> 32)) * LENGTH;
  x = (x ^ (x >> 32)) * LENGTH;
  return x ^ (x >> 32);
}

// @ts-ignore: decorator
@inline export function seedOf(column: u32): u64 {
  return (<u64>column + 1) * COLUMN;
}

// @ts-ignore: decorator
@inline export function hashWord(seed: u64, length: u64, word: u64): u64 {
  return mix((seed + length * LENGTH) ^ word);
}

/** The first `length` (0 to 8) of eight loaded bytes. */
// @ts-ignore: decorator
@inline export function firstBytes(word: u64, length: u64): u64 {
  return length == 0 ? 0 : word & (<u64>-1 >> (64 - (length << 3)));
}

/** Reads up to 7 bytes beyond the text. */
export function hashText(seed: u64, at: usize, length: usize): u64 {
  let h = seed + <u64>length * LENGTH;
  while (length > 8) {
    h = mix(h ^ load<u64>(at));
    at += 8;
    length -= 8;
  }
  return mix(h ^ firstBytes(load<u64>(at), <u64>length));
}

// @ts-ignore: decorator
@inline export function fold(h: u64, next: u64): u64 {
  return mix(h * FOLD + next);
}

/** Never 0: that id says "no feature". */
// @ts-ignore: decorator
@inline export function finish(h: u64, buckets: u64): u64 {
  if (buckets != 0) return 1 + (((h >> 32) * buckets) >> 32);
  return h == 0 ? 1 : h;
}
