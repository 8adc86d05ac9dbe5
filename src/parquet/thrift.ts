// Thrift's compact protocol, as far as Parquet files need it for writing.
// https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md

export type ThriftValue =
  | { readonly i8: number }
  | { readonly i32: number }
  | { readonly i64: number }
  | { readonly text: string }
  | { readonly flag: boolean }
  | { readonly list: readonly ThriftValue[] }
  | { readonly struct: ThriftStruct };

/** By the numbers of the fields. */
export interface ThriftStruct {
  readonly [field: number]: ThriftValue;
}

/** A number of at most 53 bits, seven bits a byte, the lowest first. */
export function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return [...bytes, value];
}

const zigzag = (value: number): number[] => varint(value >= 0 ? 2 * value : -2 * value - 1);

function typeOf(value: ThriftValue): number {
  if ("flag" in value) return value.flag ? 1 : 2;
  if ("i8" in value) return 3;
  if ("i32" in value) return 5;
  if ("i64" in value) return 6;
  if ("text" in value) return 8;
  return "list" in value ? 9 : 12;
}

export function encodeStruct(struct: ThriftStruct): Uint8Array {
  const bytes: number[] = [];
  putStruct(bytes, struct);
  return Uint8Array.from(bytes);
}

function putStruct(bytes: number[], struct: ThriftStruct): void {
  let last = 0;
  for (const [key, value] of Object.entries(struct)) {
    const field = Number(key);
    const step = field - last;
    if (step < 16) bytes.push((step << 4) | typeOf(value));
    else bytes.push(typeOf(value), ...zigzag(field));
    putValue(bytes, value);
    last = field;
  }
  bytes.push(0);
}

function putValue(bytes: number[], value: ThriftValue): void {
  if ("flag" in value) return;
  if ("i8" in value) bytes.push(value.i8 & 255);
  else if ("i32" in value) bytes.push(...zigzag(value.i32));
  else if ("i64" in value) bytes.push(...zigzag(value.i64));
  else if ("struct" in value) putStruct(bytes, value.struct);
  else if ("text" in value) {
    const text = new TextEncoder().encode(value.text);
    bytes.push(...varint(text.length));
    for (const byte of text) bytes.push(byte);
  } else {
    const { list } = value;
    const type = list.length === 0 ? 12 : typeOf(list[0]!);
    if (list.length < 15) bytes.push((list.length << 4) | type);
    else bytes.push(0xf0 | type, ...varint(list.length));
    for (const item of list) putValue(bytes, item);
  }
}
