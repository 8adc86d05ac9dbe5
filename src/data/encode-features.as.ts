// Columns of values to the columns of a batch. `rows` lists which rows of the source to take (u32); outputs are written
// `stride` bytes apart. Text is an address and a length a row; numbers are float64, NaN where missing.
import { loadAddress } from "./address.as";
import { finish, firstBytes, FLOAT_LENGTH, fold, hashText, hashWord, LENGTH, mix, seedOf } from "./feature-hash.as";
import { log4 } from "./log4.as";
import { parseNumber, parseTime, scaled, valid } from "./parse-number.as";

// Codes of rows that are left out; the texts are in table-encoder.ts.
const NO_NUMBER: u8 = 3;
const NO_LABEL: u8 = 4;
const FILTERED: u8 = 255;

// @ts-ignore: decorator
@inline function u32At(base: usize, index: usize): usize {
  return <usize>load<u32>(base + (index << 2));
}

// @ts-ignore: decorator
@inline function f64At(base: usize, index: usize): f64 {
  return load<f64>(base + (index << 3));
}

// @ts-ignore: decorator
@inline function put(out: usize, h: u64, folding: bool): void {
  store<u64>(out, folding ? fold(load<u64>(out), h) : h);
}

/** Numbers of `count` rows; a text that is none gives its row code 3 and `detail`. With scale ≠ 0: times. */
export function numbersOfText(
  starts: usize, lengths: usize, count: usize, scale: f64, out: usize, codes: usize, details: usize, detail: u32,
): void {
  for (let i: usize = 0; i < count; i++) {
    let x: f64 = NaN;
    if (load<u8>(codes + i) == 0) {
      const at = loadAddress(starts, i);
      const length = u32At(lengths, i);
      x = scale == 0 ? parseNumber(at, length) : parseTime(at, length, scale);
      if (!valid) {
        store<u8>(codes + i, NO_NUMBER);
        store<u32>(details + (i << 2), detail);
      }
    }
    store<f64>(out + (i << 3), x);
  }
}

export function scaleNumbers(values: usize, count: usize, scale: f64, out: usize): void {
  for (let i: usize = 0; i < count; i++) store<f64>(out + (i << 3), scaled(f64At(values, i), scale));
}

/** 0 hour, 1 weekday (Sunday 0), 2 month (January 1), 3 day of month, of milliseconds since 1970 in UTC. */
export function dateParts(values: usize, count: usize, part: i32, out: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const ms = f64At(values, i);
    const days = floor(ms / 86400000);
    let x = days;
    if (part == 0) x = floor((ms - days * 86400000) / 3600000);
    else if (part == 1) x = days + 4 - 7 * floor((days + 4) / 7);
    else if (days == days) x = <f64>civilPart(<i64>days, part);
    store<f64>(out + (i << 3), x);
  }
}

/** After H. Hinnant's civil_from_days. */
function civilPart(days: i64, part: i32): i64 {
  const z = days + 719468;
  const era = (z >= 0 ? z : z - 146096) / 146097;
  const doe = z - era * 146097;
  const yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  const doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  const mp = (5 * doy + 2) / 153;
  if (part == 3) return doy - (153 * mp + 2) / 5 + 1;
  return mp < 10 ? mp + 3 : mp - 9;
}

/** Rows outside [from, to) get code 255. */
export function filterRange(values: usize, count: usize, from: f64, to: f64, codes: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const x = f64At(values, i);
    if (load<u8>(codes + i) == 0 && !(x >= from && x < to)) store<u8>(codes + i, FILTERED);
  }
}

/** Rows without a number for a label get code 4. */
export function requireLabel(values: usize, count: usize, codes: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const x = f64At(values, i);
    if (load<u8>(codes + i) == 0 && x != x) store<u8>(codes + i, NO_LABEL);
  }
}

/** Lists the rows whose code is 0. */
export function selectRows(codes: usize, count: usize, rows: usize): i32 {
  let selected: i32 = 0;
  for (let i: usize = 0; i < count; i++) {
    store<u32>(rows + (<usize>selected << 2), <u32>i);
    selected += <i32>(load<u8>(codes + i) == 0);
  }
  return selected;
}

export function hashTexts(
  starts: usize, lengths: usize, rows: usize, count: usize, column: u32, folding: bool, out: usize, stride: usize,
): void {
  const seed = seedOf(column);
  for (let i: usize = 0; i < count; i++) {
    const row = u32At(rows, i);
    const at = loadAddress(starts, row);
    const length = u32At(lengths, row);
    const h = length <= 8
      ? hashWord(seed, <u64>length, firstBytes(load<u64>(at), <u64>length))
      : hashText(seed, at, length);
    put(out, h, folding);
    out += stride;
  }
}

/** The hash of an integer's decimal text, or of the bits of another number; NaN is the empty value. */
function hashNumber(seed: u64, x: f64): u64 {
  if (x != x) return hashWord(seed, 0, 0);
  if (floor(x) != x || abs(x) >= 9007199254740992) return mix((seed + FLOAT_LENGTH * LENGTH) ^ reinterpret<u64>(x));
  let rest = <u64>abs(x);
  // Built from the last digit: the first one ends up in the lowest byte. At most 17 bytes.
  let word0: u64 = 0;
  let word1: u64 = 0;
  let word2: u64 = 0;
  let length: u64 = 0;
  for (;;) {
    word2 = (word2 << 8) | (word1 >> 56);
    word1 = (word1 << 8) | (word0 >> 56);
    word0 = word0 << 8;
    length++;
    if (rest == 0 && length > 1) {
      word0 |= 45;
      break;
    }
    word0 |= 48 + (rest % 10);
    rest /= 10;
    if (rest == 0 && !(x < 0)) break;
  }
  let h = seed + length * LENGTH;
  h = mix(h ^ word0);
  if (length > 8) h = mix(h ^ word1);
  if (length > 16) h = mix(h ^ word2);
  return h;
}

export function hashNumbers(
  values: usize, rows: usize, count: usize, column: u32, folding: bool, out: usize, stride: usize,
): void {
  const seed = seedOf(column);
  for (let i: usize = 0; i < count; i++) {
    put(out, hashNumber(seed, f64At(values, u32At(rows, i))), folding);
    out += stride;
  }
}

/** Hashes the number of bounds at or below each value. */
export function hashBuckets(
  values: usize, rows: usize, count: usize, bounds: usize, boundCount: usize, column: u32, folding: bool,
  out: usize, stride: usize,
): void {
  const seed = seedOf(column);
  for (let i: usize = 0; i < count; i++) {
    const x = f64At(values, u32At(rows, i));
    let bucket: f64 = x == x ? 0 : NaN;
    for (let b: usize = 0; b < boundCount; b++) bucket += <f64>(x >= f64At(bounds, b));
    put(out, hashNumber(seed, bucket), folding);
    out += stride;
  }
}

export function finishIds(count: usize, buckets: u32, out: usize, stride: usize): void {
  for (let i: usize = 0; i < count; i++) {
    store<u64>(out, finish(load<u64>(out), buckets));
    out += stride;
  }
}

/** (x − mean) / scale as f32; missing: 0. */
export function denseAffine(
  values: usize, rows: usize, count: usize, mean: f64, scale: f64, out: usize, stride: usize,
): void {
  for (let i: usize = 0; i < count; i++) {
    const x = (f64At(values, u32At(rows, i)) - mean) / scale;
    store<f32>(out, x == x ? <f32>x : 0);
    out += stride;
  }
}

/** ln(1 + max(x, 0)) as f32; missing: 0. */
export function denseLog(values: usize, rows: usize, count: usize, out: usize, stride: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const x = f64At(values, u32At(rows, i));
    const y = x > 0 ? <f32>min(x + 1, 3e38) : 1;
    store<f32>(out, f32x4.extract_lane(log4(f32x4.splat(y)), 0));
    out += stride;
  }
}

/** 1 where the value passes the test, else 0: kind 1 x > bound, kind 2 x ≥ bound; kind 0: the value itself. */
export function labels(values: usize, rows: usize, count: usize, kind: i32, bound: f64, out: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const x = f64At(values, u32At(rows, i));
    store<f32>(out + (i << 2), kind == 0 ? <f32>x : <f32>(kind == 1 ? x > bound : x >= bound));
  }
}

/** 1 where the hash is one of `targets`. */
export function labelsOfHashes(hashes: usize, count: usize, targets: usize, targetCount: usize, out: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const h = load<u64>(hashes + (i << 3));
    let found: f32 = 0;
    for (let t: usize = 0; t < targetCount; t++) if (load<u64>(targets + (t << 3)) == h) found = 1;
    store<f32>(out + (i << 2), found);
  }
}

/** The ids of up to `most` separated values a row, then zeros. */
export function hashBags(
  starts: usize, lengths: usize, rows: usize, count: usize, separator: u32, most: usize, column: u32, buckets: u32,
  out: usize,
): void {
  const seed = seedOf(column);
  for (let i: usize = 0; i < count; i++) {
    const row = u32At(rows, i);
    let at = loadAddress(starts, row);
    const end = at + u32At(lengths, row);
    const outEnd = out + (most << 3);
    while (at < end && out < outEnd) {
      const start = at;
      while (at < end && <u32>load<u8>(at) != separator) at++;
      if (at > start) {
        store<u64>(out, finish(hashText(seed, start, at - start), buckets));
        out += 8;
      }
      at++;
    }
    for (; out < outEnd; out += 8) store<u64>(out, 0);
  }
}
