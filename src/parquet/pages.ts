// Data pages of Parquet with plain values: numbers as they lie in memory, and what says which of them make a list.
// https://parquet.apache.org/docs/file-format/data-pages
import { encodeStruct, varint } from "./thrift.ts";

const DATA_PAGE = 0;
export const PLAIN = 0;
export const RLE = 3;

/** The header of a page of `rows` rows, and the levels between it and its values. */
export function pageHead(rows: number, width: number | undefined, valueBytes: number): Uint8Array {
  const levels = width === undefined ? new Uint8Array(0) : listLevels(rows, width);
  const size = { i32: levels.length + valueBytes };
  const header = encodeStruct({
    1: { i32: DATA_PAGE },
    2: size,
    3: size,
    5: { struct: { 1: { i32: rows * (width ?? 1) }, 2: { i32: PLAIN }, 3: { i32: RLE }, 4: { i32: RLE } } },
  });
  return joined(header, levels);
}

/**
 * Repetition levels of rows that are lists of `width` numbers each (0 where a list begins, else 1) and definition levels (1:
 * no list is empty), both behind their lengths.
 */
function listLevels(rows: number, width: number): Uint8Array {
  const values = rows * width;
  const eights = Math.ceil(values / 8);
  const bits = new Uint8Array(eights).fill(255);
  for (let at = 0; at < values; at += width) bits[at >> 3]! &= ~(1 << (at & 7));
  const repetition = joined(Uint8Array.from(varint(2 * eights + 1)), bits);
  const definition = Uint8Array.from([...varint(2 * values), 1]);
  return joined(lengthOf(repetition), repetition, lengthOf(definition), definition);
}

function lengthOf(bytes: Uint8Array): Uint8Array {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, bytes.length, true);
  return length;
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
