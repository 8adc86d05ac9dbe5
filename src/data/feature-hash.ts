// The documented hash of features, as a plain reference of feature-hash.as.ts; also for callers that need one id.
//
// Over 64-bit integers, for column index c and the bytes of a value:
//   h = (c + 1) · 0x9e3779b97f4a7c15 + length · 0xd6e8feb86659fd93
//   for each 8 bytes, little-endian, the last padded with zeros (at least once): h = mix(h ^ word)
//   mix(x): twice { x ^= x >> 32; x *= 0xd6e8feb86659fd93 }, then x ^= x >> 32
// The empty value is a feature of its own. 0 means "no feature": a hash of 0 becomes 1. With `buckets` n the id is
// 1 + ((h >> 32) · n >> 32). Values of one length up to 8 bytes never collide within a column.
// A number hashes as its shortest decimal text if it is an integer below 2^53, else as the 8 bytes of its float64 with
// length 256. A cross of values v0, v1, … in column c is h = hash(c, v0), then h = mix(h · 0xff51afd7ed558ccd + hash(c, vi)).

const MASK = 0xffff_ffff_ffff_ffffn;
const COLUMN = 0x9e3779b97f4a7c15n;
const LENGTH = 0xd6e8feb86659fd93n;
const FOLD = 0xff51afd7ed558ccdn;
const FLOAT_LENGTH = 256n;

function mix(x: bigint): bigint {
  x = ((x ^ (x >> 32n)) * LENGTH) & MASK;
  x = ((x ^ (x >> 32n)) * LENGTH) & MASK;
  return x ^ (x >> 32n);
}

const encoder = new TextEncoder();

function hashBytes(column: number, bytes: Uint8Array, length: bigint): bigint {
  let h = (BigInt(column + 1) * COLUMN + length * LENGTH) & MASK;
  let at = 0;
  do {
    let word = 0n;
    for (let i = Math.min(8, bytes.length - at) - 1; i >= 0; i--) word = (word << 8n) | BigInt(bytes[at + i]!);
    h = mix(h ^ word);
    at += 8;
  } while (at < bytes.length);
  return h;
}

function hashValue(column: number, value: string | number | Uint8Array): bigint {
  if (typeof value === "number") {
    if (Number.isNaN(value)) return hashBytes(column, new Uint8Array(), 0n);
    if (!Number.isInteger(value) || Math.abs(value) >= 2 ** 53) {
      return hashBytes(column, new Uint8Array(Float64Array.of(value).buffer), FLOAT_LENGTH);
    }
    value = String(value === 0 ? 0 : value);
  }
  const bytes = typeof value === "string" ? encoder.encode(value) : value;
  return hashBytes(column, bytes, BigInt(bytes.length));
}

function finish(h: bigint, buckets: number | undefined): bigint {
  if (buckets !== undefined) return 1n + (((h >> 32n) * BigInt(buckets)) >> 32n);
  return h === 0n ? 1n : h;
}

/** The id of a value in categorical column `column` (0-based); NaN and "" are the missing value. Never 0. */
export function featureId(column: number, value: string | number | Uint8Array, buckets?: number): bigint {
  return finish(hashValue(column, value), buckets);
}

/** The id of a cross of values in categorical column `column`. */
export function crossId(column: number, values: readonly (string | number | Uint8Array)[], buckets?: number): bigint {
  const [first, ...rest] = values.map((value) => hashValue(column, value));
  if (first === undefined) throw new RangeError("crossId: a cross needs at least one value");
  return finish(
    rest.reduce((h, next) => mix((h * FOLD + next) & MASK), first),
    buckets,
  );
}
