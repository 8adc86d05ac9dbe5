// The footer of a Parquet file: its schema, and where the columns of each group of rows lie.
// https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
import { PLAIN, RLE } from "./pages.ts";
import { encodeStruct, type ThriftStruct, type ThriftValue } from "./thrift.ts";

const [INT64, FLOAT] = [2, 4];
const [REQUIRED, REPEATED] = [0, 2];
/** Older names of logical types, which some readers still go by. */
const [LIST, UINT_64] = [3, 14];

/** Keys are unsigned numbers of 64 bits; other columns f32: plain numbers, or with `list` lists of that many. */
export interface ParquetColumn {
  readonly name: string;
  readonly type: "u64" | "f32";
  readonly list?: number;
}

export interface ColumnChunk {
  readonly offset: number;
  readonly bytes: number;
  readonly values: number;
}

export interface RowGroup {
  readonly rows: number;
  /** In the order of the columns. */
  readonly chunks: readonly ColumnChunk[];
}

export interface FileMeta {
  readonly columns: readonly ParquetColumn[];
  readonly groups: readonly RowGroup[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly createdBy: string;
}

/** The footer with its length and the mark behind it. */
export function encodeFooter({ columns, groups, metadata, createdBy }: FileMeta): Uint8Array {
  const root: ThriftStruct = { 4: { text: "schema" }, 5: { i32: columns.length } };
  const body = encodeStruct({
    1: { i32: 2 },
    2: { list: [root, ...columns.flatMap(elementsOf)].map((struct) => ({ struct })) },
    3: { i64: groups.reduce((sum, { rows }) => sum + rows, 0) },
    4: { list: groups.map((group) => ({ struct: rowGroup(columns, group) })) },
    5: { list: Object.entries(metadata).map(([key, value]) => ({ struct: { 1: { text: key }, 2: { text: value } } })) },
    6: { text: createdBy },
  });
  const footer = new Uint8Array(body.length + 8);
  footer.set(body);
  new DataView(footer.buffer).setUint32(body.length, body.length, true);
  footer.set(MARK, body.length + 4);
  return footer;
}

/** "PAR1" */
export const MARK: Uint8Array = new TextEncoder().encode("PAR1");

function elementsOf({ name, type, list }: ParquetColumn): ThriftStruct[] {
  if (type === "u64") {
    const logical = { 10: { struct: { 1: { i8: 64 }, 2: { flag: false } } } };
    return [
      {
        1: { i32: INT64 },
        3: { i32: REQUIRED },
        4: { text: name },
        6: { i32: UINT_64 },
        10: { struct: { 10: logical[10] } },
      },
    ];
  }
  if (list === undefined) return [{ 1: { i32: FLOAT }, 3: { i32: REQUIRED }, 4: { text: name } }];
  return [
    {
      3: { i32: REQUIRED },
      4: { text: name },
      5: { i32: 1 },
      6: { i32: LIST },
      10: { struct: { 3: { struct: {} } } },
    },
    { 3: { i32: REPEATED }, 4: { text: "list" }, 5: { i32: 1 } },
    { 1: { i32: FLOAT }, 3: { i32: REQUIRED }, 4: { text: "element" } },
  ];
}

function rowGroup(columns: readonly ParquetColumn[], { rows, chunks }: RowGroup): ThriftStruct {
  const bytes = chunks.reduce((sum, chunk) => sum + chunk.bytes, 0);
  const list = chunks.map((chunk, i): ThriftValue => ({ struct: columnChunk(columns[i]!, chunk) }));
  return { 1: { list }, 2: { i64: bytes }, 3: { i64: rows }, 5: { i64: chunks[0]!.offset }, 6: { i64: bytes } };
}

function columnChunk({ name, type, list }: ParquetColumn, { offset, bytes, values }: ColumnChunk): ThriftStruct {
  const path = list === undefined ? [name] : [name, "list", "element"];
  const metadata: ThriftStruct = {
    1: { i32: type === "u64" ? INT64 : FLOAT },
    2: { list: [{ i32: PLAIN }, { i32: RLE }] },
    3: { list: path.map((text) => ({ text })) },
    4: { i32: 0 },
    5: { i64: values },
    6: { i64: bytes },
    7: { i64: bytes },
    9: { i64: offset },
  };
  return { 2: { i64: offset }, 3: { struct: metadata } };
}
