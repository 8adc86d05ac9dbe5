// Criteo rows from text straight into the columns of a batch. Text ends with a line break, so that every scan, which
// stops at bytes below 14, stops inside it; up to 64 bytes beyond it are read, never used.
import { COLUMN, finish, hashText, hashWord, seedOf } from "./feature-hash.as";
import { logInPlace } from "./log4.as";

const DENSE: i32 = 13;
const CATEGORICAL: i32 = 26;
const TAB: u32 = 9;
const NEWLINE: u32 = 10;
const RETURN: u32 = 13;
const MINUS: u32 = 45;
const MOST_DIGITS: usize = 18;
const HIGH_BITS: u64 = 0x8080808080808080;

/** Bytes before the next tab, line break or other byte below 14. */
function textLength(at: usize): usize {
  let p = at;
  let stops: i32;
  while ((stops = i8x16.bitmask(i8x16.le_u(v128.load(p), i8x16.splat(<i8>RETURN)))) == 0) p += 16;
  return p - at + <usize>ctz(stops);
}

/** Decimal digits in the first `length` (1 to 8) bytes, which hold nothing else. */
// @ts-ignore: decorator
@inline function decimal(word: u64, length: u64): u64 {
  let x = (word - 0x3030303030303030) << (64 - (length << 3));
  x = x * 10 + (x >> 8);
  return (
    ((x & 0x000000ff000000ff) * 0x000f424000000064 + ((x >> 16) & 0x000000ff000000ff) * 0x0000271000000001) >> 32
  );
}

// @ts-ignore: decorator
@inline function tabs16(at: usize): u64 {
  return <u64><u32>i8x16.bitmask(i8x16.eq(v128.load(at), i8x16.splat(<i8>TAB)));
}

/** 1 + the integer in `length` bytes, or 1 where it is negative or missing; 0 where there is none. */
function integer(at: usize, length: usize): f32 {
  const end = at + length;
  const negative = length > 0 && load<u8>(at) == MINUS;
  if (negative) at++;
  if (length == 0) return 1;
  if (at == end || end - at > MOST_DIGITS) return 0;
  let value: f64 = 0;
  for (; at < end; at++) {
    const digit = <u32>load<u8>(at) - 48;
    if (digit > 9) return 0;
    value = value * 10 + <f64>digit;
  }
  return negative ? 1 : <f32>(value + 1);
}

/** Puts 1 + each of the 13 integers at `out`. Returns where the categories start, 0 where an integer is bad. */
function integers(p: usize, out: usize): usize {
  let tabs = tabs16(p) | (tabs16(p + 16) << 16) | (tabs16(p + 32) << 32) | (tabs16(p + 48) << 48);
  if (<i32>popcnt(tabs) < DENSE) return longIntegers(p, out);
  // The places of all tabs are known at once, so that no field waits for the one before it.
  let from: usize = 0;
  for (let field = 0; field < DENSE; field++) {
    const tab = <usize>ctz(tabs);
    tabs &= tabs - 1;
    const length = tab - from;
    const word = load<u64>(p + from);
    // The high bit of each byte that is no digit.
    const t = word ^ 0x3030303030303030;
    const others = (((t & 0x7f7f7f7f7f7f7f7f) + 0x7676767676767676) | t) & HIGH_BITS;
    let value: f32;
    if (<usize>ctz(others) >> 3 == length) {
      value = length == 0 ? 1 : <f32>(<f64>decimal(word, <u64>length) + 1);
    } else {
      value = integer(p + from, length);
      if (value == 0) return 0;
    }
    store<f32>(out + (<usize>field << 2), value);
    from = tab + 1;
  }
  return p + from;
}

/** As `integers`, for those that take more than 64 bytes. */
function longIntegers(p: usize, out: usize): usize {
  for (let field = 0; field < DENSE; field++) {
    const length = textLength(p);
    const value = integer(p, length);
    if (value == 0 || load<u8>(p + length) != TAB) return 0;
    store<f32>(out + (<usize>field << 2), value);
    p += length + 1;
  }
  return p;
}

/**
 * Parses up to `maxRows` lines of [from, end) into the batch's rows `row`…; blank lines do not count. Without `labelled`
 * the lines start with the integers, and labels are 0. Returns the rows;
 * `result` gets how many bytes the good lines take, then 1 if the line behind them is bad, else 0.
 */
export function parse(
  from: usize, end: usize, labelled: bool, labels: usize, dense: usize, ids: usize, row: usize, maxRows: i32, buckets: u32,
  result: usize,
): i32 {
  let p = from;
  let rows: i32 = 0;
  let bad: u32 = 0;
  const firstDense = dense + row * (DENSE << 2);
  dense = firstDense;
  labels += row << 2;
  ids += row * (CATEGORICAL << 3);

  while (p < end) {
    const line = p;
    const first: u32 = load<u8>(p);
    if (first <= RETURN) {
      if (first == NEWLINE) {
        p++;
        continue;
      }
      if (first == RETURN && load<u8>(p, 1) == NEWLINE) {
        p += 2;
        continue;
      }
    }
    if (rows == maxRows) break;
    bad = 1;
    if (labelled) {
      if (first - 48 > 1 || load<u8>(p, 1) != TAB) break;
      store<f32>(labels, <f32>(first - 48));
      p += 2;
    } else {
      store<f32>(labels, 0);
    }

    p = integers(p, dense);
    if (p == 0) {
      p = line;
      break;
    }

    let seed = seedOf(0);
    let stop: u32 = 0;
    let field: i32 = 0;
    for (; field < CATEGORICAL; field++) {
      // Nearly every category has eight bytes: guessing that lets the processor run ahead of the scan.
      const word = load<u64>(p);
      if (load<u8>(p, 8) == TAB && ((word - 0x0e0e0e0e0e0e0e0e) & ~word & HIGH_BITS) == 0) {
        store<u64>(ids + (<usize>field << 3), finish(hashWord(seed, 8, word), buckets));
        seed += COLUMN;
        p += 9;
        continue;
      }
      if ((word & 0xff) == TAB) {
        store<u64>(ids + (<usize>field << 3), finish(hashWord(seed, 0, 0), buckets));
        seed += COLUMN;
        p++;
        stop = TAB;
        continue;
      }
      const length = textLength(p);
      store<u64>(ids + (<usize>field << 3), finish(hashText(seed, p, length), buckets));
      seed += COLUMN;
      stop = load<u8>(p + length);
      p += length + 1;
      if (stop != TAB) break;
    }
    if (stop == RETURN) stop = load<u8>(p++);
    if (field != CATEGORICAL - 1 || stop != NEWLINE) {
      p = line;
      break;
    }
    bad = 0;
    rows++;
    labels += 4;
    dense += DENSE << 2;
    ids += CATEGORICAL << 3;
  }
  logInPlace(firstDense, <usize>rows * DENSE);
  store<u32>(result, <u32>(p - from));
  store<u32>(result, bad, 4);
  return rows;
}
