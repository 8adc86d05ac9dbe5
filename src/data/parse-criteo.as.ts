// Criteo rows from text straight into the columns of a batch. Text ends with a line break, so that every scan, which
// stops at bytes below 14, stops inside it; up to 16 bytes beyond it are read, never used.
import { COLUMN, finish, hashText, hashWord, seedOf } from "./feature-hash.as";
import { logInPlace } from "./log4.as";

const DENSE: i32 = 13;
const CATEGORICAL: i32 = 26;
const TAB: u32 = 9;
const NEWLINE: u32 = 10;
const RETURN: u32 = 13;
const MINUS: u64 = 45;
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

/**
 * Parses up to `maxRows` lines of [from, end) into the batch's rows `row`…; blank lines do not count. Without `labelled`
 * the lines start with the integers, and labels are 0. Returns the rows;
 * `result` gets the address after the last good line, then 1 if the line there is bad, else 0.
 */
export function parse(
  from: usize, end: usize, labelled: bool, labels: usize, dense: usize, ids: usize, row: usize, maxRows: i32, buckets: u64,
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

    let field: i32 = 0;
    for (; field < DENSE; field++) {
      let word = load<u64>(p);
      let value: f32 = 1;
      if ((word & 0xff) != TAB) {
        const negative = (word & 0xff) == MINUS;
        if (negative) word = load<u64>(++p);
        // The high bit of each byte that is no digit.
        const t = word ^ 0x3030303030303030;
        const others = (((t & 0x7f7f7f7f7f7f7f7f) + 0x7676767676767676) | t) & HIGH_BITS;
        if (others & 0x80) break;
        let v: f64;
        if (others == 0) {
          v = <f64>decimal(word, 8);
          p += 8;
          const most = p + 10;
          for (let c: u32 = <u32>load<u8>(p) - 48; c < 10 && p < most; c = <u32>load<u8>(p) - 48) {
            v = v * 10 + <f64>c;
            p++;
          }
        } else {
          const length = ctz(others) >> 3;
          v = <f64>decimal(word, length);
          p += <usize>length;
        }
        if (!negative) value = <f32>(v + 1);
      }
      if (load<u8>(p) != TAB) break;
      p++;
      store<f32>(dense + (<usize>field << 2), value);
    }
    if (field < DENSE) {
      p = line;
      break;
    }

    let seed = seedOf(0);
    let stop: u32 = 0;
    for (field = 0; field < CATEGORICAL; field++) {
      // Nearly every category has eight bytes: guessing that lets the processor run ahead of the scan.
      const word = load<u64>(p);
      if (load<u8>(p, 8) == TAB && ((word - 0x0e0e0e0e0e0e0e0e) & ~word & HIGH_BITS) == 0) {
        store<u64>(ids + (<usize>field << 3), finish(hashWord(seed, 8, word), buckets));
        seed += COLUMN;
        p += 9;
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
  store<u32>(result, <u32>p);
  store<u32>(result, bad, 4);
  return rows;
}
