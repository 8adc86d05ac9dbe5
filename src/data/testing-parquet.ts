// For tests: small Parquet files, written by the specification (parquet-format, Thrift compact protocol), so that page
// layouts which no sample file has can be read back.

export interface ParquetFixtureColumn {
  readonly name: string;
  readonly type: "BOOLEAN" | "INT32" | "INT64" | "FLOAT" | "DOUBLE" | "BYTE_ARRAY";
  readonly values: readonly (number | bigint | string | boolean | null)[];
  readonly dictionary?: boolean;
  readonly version?: 1 | 2;
  readonly pageRows?: number;
  readonly logical?: "MILLIS" | "MICROS" | "NANOS";
  /** The codec that the metadata claims; pages are never packed. */
  readonly codec?: number;
}

type Thrift = { [field: number]: ThriftValue };
type ThriftValue =
  | { readonly i32: number }
  | { readonly i64: number }
  | { readonly text: string }
  | { readonly flag: boolean }
  | { readonly struct: Thrift }
  | { readonly list: readonly ThriftValue[] };

const TYPES = ["BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY"];
const UNITS = ["MILLIS", "MICROS", "NANOS"];
const PLAIN = 0;
const RLE = 3;
const RLE_DICTIONARY = 8;

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return [...bytes, value];
}

const zigzag = (value: number): number[] => varint(value >= 0 ? 2 * value : -2 * value - 1);

function typeOf(value: ThriftValue): number {
  if ("flag" in value) return value.flag ? 1 : 2;
  if ("i32" in value) return 5;
  if ("i64" in value) return 6;
  if ("text" in value) return 8;
  return "list" in value ? 9 : 12;
}

function bytesOfValue(value: ThriftValue): number[] {
  if ("i32" in value) return zigzag(value.i32);
  if ("i64" in value) return zigzag(value.i64);
  if ("text" in value) return [...varint(Buffer.byteLength(value.text)), ...Buffer.from(value.text)];
  if ("struct" in value) return struct(value.struct);
  if ("flag" in value) return [];
  const { list } = value;
  const head =
    list.length < 15 ? [(list.length << 4) | typeOf(list[0]!)] : [0xf0 | typeOf(list[0]!), ...varint(list.length)];
  return [...head, ...list.flatMap(bytesOfValue)];
}

function struct(fields: Thrift): number[] {
  const bytes: number[] = [];
  let last = 0;
  for (const [key, value] of Object.entries(fields)) {
    bytes.push(((Number(key) - last) << 4) | typeOf(value), ...bytesOfValue(value));
    last = Number(key);
  }
  return [...bytes, 0];
}

function plain(type: string, values: ParquetFixtureColumn["values"]): Buffer {
  if (type === "BOOLEAN") {
    const bits = Buffer.alloc(Math.ceil(values.length / 8));
    values.forEach((value, i) => {
      if (value === true) bits[i >> 3]! |= 1 << (i & 7);
    });
    return bits;
  }
  return Buffer.concat(
    values.map((value) => {
      if (type === "BYTE_ARRAY") {
        const text = Buffer.from(String(value));
        const length = Buffer.alloc(4);
        length.writeUInt32LE(text.length);
        return Buffer.concat([length, text]);
      }
      const bytes = Buffer.alloc(type === "INT32" || type === "FLOAT" ? 4 : 8);
      if (type === "INT32") bytes.writeInt32LE(Number(value));
      else if (type === "INT64") bytes.writeBigInt64LE(BigInt(value!));
      else if (type === "FLOAT") bytes.writeFloatLE(Number(value));
      else bytes.writeDoubleLE(Number(value));
      return bytes;
    }),
  );
}

/** Runs of two and more as RLE, the rest bit-packed by eights. */
function hybrid(values: readonly number[], width: number): Buffer {
  const bytes: number[] = [];
  for (let i = 0; i < values.length; ) {
    let run = 1;
    while (i + run < values.length && values[i + run] === values[i]) run++;
    if (run > 1) {
      bytes.push(...varint(run * 2));
      for (let b = 0; b < Math.ceil(width / 8); b++) bytes.push((values[i]! >> (8 * b)) & 255);
      i += run;
      continue;
    }
    bytes.push(...varint(2 * 1 + 1));
    let bits = 0n;
    for (let k = 0; k < 8; k++) bits |= BigInt(values[i + k] ?? 0) << BigInt(k * width);
    for (let b = 0; b < width; b++) bytes.push(Number((bits >> BigInt(8 * b)) & 255n));
    i += 8;
  }
  return Buffer.from(bytes);
}

function page(header: Thrift, data: Buffer): Buffer {
  return Buffer.concat([Buffer.from(struct(header)), data]);
}

function columnPages(column: ParquetFixtureColumn): Buffer[] {
  const { type, values, dictionary = false, version = 1, pageRows = values.length } = column;
  const entries = [...new Set(values.filter((value) => value !== null))];
  const pages: Buffer[] = [];
  if (dictionary) {
    const data = plain(type, entries);
    const size = { i32: data.length };
    pages.push(
      page({ 1: { i32: 2 }, 2: size, 3: size, 7: { struct: { 1: { i32: entries.length }, 2: { i32: PLAIN } } } }, data),
    );
  }
  const encoding = { i32: dictionary ? RLE_DICTIONARY : PLAIN };
  for (let from = 0; from < values.length; from += pageRows) {
    const part = values.slice(from, from + pageRows);
    const present = part.filter((value) => value !== null);
    const width = Math.max(1, Math.ceil(Math.log2(entries.length)));
    const indices = present.map((value) => entries.indexOf(value));
    const body = dictionary ? Buffer.concat([Buffer.from([width]), hybrid(indices, width)]) : plain(type, present);
    const levels = hybrid(
      part.map((value) => (value === null ? 0 : 1)),
      1,
    );
    const count = { i32: part.length };
    if (version === 1) {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(levels.length);
      const data = Buffer.concat([length, levels, body]);
      const size = { i32: data.length };
      const header = { struct: { 1: count, 2: encoding, 3: { i32: RLE }, 4: { i32: RLE } } };
      pages.push(page({ 1: { i32: 0 }, 2: size, 3: size, 5: header }, data));
    } else {
      const data = Buffer.concat([levels, body]);
      const size = { i32: data.length };
      const nulls = { i32: part.length - present.length };
      const header = {
        struct: { 1: count, 2: nulls, 3: count, 4: encoding, 5: { i32: levels.length }, 6: { i32: 0 } },
      };
      pages.push(page({ 1: { i32: 3 }, 2: size, 3: size, 8: header }, data));
    }
  }
  return pages;
}

/** A file of one row group with optional flat columns. */
export function writeParquet(columns: readonly ParquetFixtureColumn[]): Buffer {
  const rows = { i64: columns[0]!.values.length };
  const parts: Buffer[] = [Buffer.from("PAR1")];
  let offset = 4;
  const chunks = columns.map((column): ThriftValue => {
    const pages = Buffer.concat(columnPages(column));
    const start = { i64: offset };
    const size = { i64: pages.length };
    parts.push(pages);
    offset += pages.length;
    const encodings = [PLAIN, RLE, ...(column.dictionary ? [RLE_DICTIONARY] : [])].map((i32) => ({ i32 }));
    const metadata: Thrift = {
      1: { i32: TYPES.indexOf(column.type) },
      2: { list: encodings },
      3: { list: [{ text: column.name }] },
      4: { i32: column.codec ?? 0 },
      5: rows,
      6: size,
      7: size,
      9: start,
      ...(column.dictionary ? { 11: start } : {}),
    };
    return { struct: { 2: start, 3: { struct: metadata } } };
  });
  const elements = columns.map((column): ThriftValue => {
    const unit = column.logical && { struct: { [UNITS.indexOf(column.logical) + 1]: { struct: {} } } };
    const logical = unit && { 10: { struct: { 8: { struct: { 1: { flag: true }, 2: unit } } } } };
    const text = column.type === "BYTE_ARRAY" ? { 6: { i32: 0 } } : {};
    return {
      struct: { 1: { i32: TYPES.indexOf(column.type) }, 3: { i32: 1 }, 4: { text: column.name }, ...text, ...logical },
    };
  });
  const footer = struct({
    1: { i32: 1 },
    2: { list: [{ struct: { 4: { text: "root" }, 5: { i32: columns.length } } }, ...elements] },
    3: rows,
    4: { list: [{ struct: { 1: { list: chunks }, 2: { i64: offset }, 3: rows } }] },
  });
  const length = Buffer.alloc(4);
  length.writeUInt32LE(footer.length);
  return Buffer.concat([...parts, Buffer.from(footer), length, Buffer.from("PAR1")]);
}
