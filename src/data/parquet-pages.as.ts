// Values of Parquet pages of flat columns: levels and dictionary indices (the RLE and bit-packing hybrid), plain numbers
// to float64, plain texts to addresses and lengths. What reads past `end` is refused; 8 bytes beyond it may be loaded.
import { loadAddress, storeAddress } from "./address.as";
import { scaled } from "./parse-number.as";

const INT32: i32 = 0;
const INT64: i32 = 1;
const FLOAT: i32 = 2;

/** `count` integers of `width` bits to u32. Returns whether the data holds them. */
export function decodeHybrid(from: usize, end: usize, width: u32, count: usize, out: usize): bool {
  if (width > 32) return false;
  const mask: u64 = ((<u64>1) << width) - 1;
  const valueBytes = <usize>((width + 7) >> 3);
  let p = from;
  let left = count;
  while (left > 0) {
    let header: u64 = 0;
    let shift: u64 = 0;
    let byte: u64 = 128;
    while (byte >= 128) {
      if (p >= end || shift > 35) return false;
      byte = <u64>load<u8>(p++);
      header |= (byte & 127) << shift;
      shift += 7;
    }
    if ((header & 1) != 0) {
      const values = min(<usize>(header >> 1) << 3, left);
      if (values == 0) return false;
      if ((<u64>values * width + 7) >> 3 > <u64>(end - p)) return false;
      let bit: u64 = 0;
      for (let i: usize = 0; i < values; i++) {
        store<u32>(out, <u32>((load<u64>(p + <usize>(bit >> 3)) >> (bit & 7)) & mask));
        out += 4;
        bit += width;
      }
      p += <usize>min(<u64>(end - p), (header >> 1) * width);
      left -= values;
    } else {
      const values = <usize>min(header >> 1, <u64>left);
      if (values == 0 || valueBytes > end - p) return false;
      const value = <u32>(load<u64>(p) & mask);
      for (let i: usize = 0; i < values; i++) {
        store<u32>(out, value);
        out += 4;
      }
      p += valueBytes;
      left -= values;
    }
  }
  return true;
}

/** How many of `count` levels are 1. */
export function countPresent(levels: usize, count: usize): usize {
  let present: usize = 0;
  for (let i: usize = 0; i < count; i++) present += <usize>(load<u32>(levels + (i << 2)) == 1);
  return present;
}

/** Kind 0 i32, 1 i64, 2 f32, 3 f64, each times `scale`. The caller has checked that the data is there. */
export function plainNumbers(kind: i32, from: usize, count: usize, scale: f64, out: usize): void {
  for (let i: usize = 0; i < count; i++) {
    let x: f64;
    if (kind == INT32) x = <f64>load<i32>(from + (i << 2));
    else if (kind == INT64) x = <f64>load<i64>(from + (i << 3));
    else if (kind == FLOAT) x = <f64>load<f32>(from + (i << 2));
    else x = load<f64>(from + (i << 3));
    store<f64>(out + (i << 3), scaled(x, scale));
  }
}

/** Texts that each follow their u32 length. Returns whether all lie before `end`. */
export function plainTexts(from: usize, end: usize, count: usize, starts: usize, lengths: usize): bool {
  let p = from;
  for (let i: usize = 0; i < count; i++) {
    if (end - p < 4) return false;
    const length = <usize>load<u32>(p);
    p += 4;
    if (end - p < length) return false;
    storeAddress(starts, i, p);
    store<u32>(lengths + (i << 2), <u32>length);
    p += length;
  }
  return true;
}

/** Looks up 8-byte dictionary entries; false where an index is out of range. */
export function gatherNumbers(dictionary: usize, entries: u32, indices: usize, count: usize, out: usize): bool {
  for (let i: usize = 0; i < count; i++) {
    const index = load<u32>(indices + (i << 2));
    if (index >= entries) return false;
    store<f64>(out + (i << 3), load<f64>(dictionary + (<usize>index << 3)));
  }
  return true;
}

/** As `gatherNumbers`, of 4-byte entries. */
export function gatherWords(dictionary: usize, entries: u32, indices: usize, count: usize, out: usize): bool {
  for (let i: usize = 0; i < count; i++) {
    const index = load<u32>(indices + (i << 2));
    if (index >= entries) return false;
    store<u32>(out + (i << 2), load<u32>(dictionary + (<usize>index << 2)));
  }
  return true;
}

/** As `gatherNumbers`, of addresses. */
export function gatherAddresses(dictionary: usize, entries: u32, indices: usize, count: usize, out: usize): bool {
  for (let i: usize = 0; i < count; i++) {
    const index = load<u32>(indices + (i << 2));
    if (index >= entries) return false;
    storeAddress(out, i, loadAddress(dictionary, index));
  }
  return true;
}

/** Moves `present` numbers to the rows whose level is 1, in place; the others become NaN. */
export function spreadNumbers(levels: usize, rows: usize, present: usize, values: usize): void {
  for (let row = rows; row-- > 0; ) {
    const known = load<u32>(levels + (row << 2)) == 1;
    store<f64>(values + (row << 3), known ? load<f64>(values + (--present << 3)) : NaN);
  }
}

/** As `spreadNumbers`, of u32; the others become 0. */
export function spreadWords(levels: usize, rows: usize, present: usize, values: usize): void {
  for (let row = rows; row-- > 0; ) {
    const known = load<u32>(levels + (row << 2)) == 1;
    store<u32>(values + (row << 2), known ? load<u32>(values + (--present << 2)) : 0);
  }
}

/** As `spreadWords`, of addresses. */
export function spreadAddresses(levels: usize, rows: usize, present: usize, values: usize): void {
  for (let row = rows; row-- > 0; ) {
    const known = load<u32>(levels + (row << 2)) == 1;
    storeAddress(values, row, known ? loadAddress(values, --present) : 0);
  }
}
