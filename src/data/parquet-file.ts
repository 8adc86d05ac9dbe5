// Parquet files: the footer, and column chunks decompressed by Node's own codecs.
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import * as zlib from "node:zlib";
import { type AsyncBuffer, type Compressors, type FileMetaData, parquetMetadata } from "hyparquet";
import { DataError } from "./errors.ts";

const MAGIC = "PAR1";
const TAIL_BYTES = 8;

export interface Footer {
  readonly metadata: FileMetaData;
  readonly rows: number;
  /** Names of the flat columns. */
  readonly columns: readonly string[];
  /** First row of each row group. */
  readonly rowGroups: readonly number[];
}

/** @throws DataError when the file is cut off or no Parquet file. */
export function readFooter(path: string): Footer {
  const fd = openSync(path, "r");
  try {
    const size = fstatSync(fd).size;
    const tail = readBytes(fd, Math.max(0, size - TAIL_BYTES), size, path);
    const length = size >= 12 ? tail.readUInt32LE(0) : 0;
    if (tail.subarray(-4).toString("latin1") !== MAGIC || length + 12 > size) {
      throw new DataError("is cut off or damaged: no Parquet footer at its end", path);
    }
    const footer = readBytes(fd, size - TAIL_BYTES - length, size, path);
    return describe(footer, path);
  } finally {
    closeSync(fd);
  }
}

function describe(footer: Buffer, path: string): Footer {
  let metadata: FileMetaData;
  try {
    metadata = parquetMetadata(arrayBuffer(footer));
  } catch (cause) {
    throw new DataError(`has a damaged Parquet footer (${(cause as Error).message})`, path);
  }
  const rowGroups: number[] = [];
  let rows = 0;
  for (const group of metadata.row_groups) {
    rowGroups.push(rows);
    rows += Number(group.num_rows);
  }
  const flat = (metadata.row_groups[0]?.columns ?? []).map((column) => column.meta_data?.path_in_schema ?? []);
  const columns = metadata.row_groups.length > 0 ? flat : metadata.schema.slice(1).map((element) => [element.name]);
  return {
    metadata,
    rows,
    columns: columns.filter((names) => names.length === 1).map((names) => names[0]!),
    rowGroups,
  };
}

function readBytes(fd: number, from: number, to: number, path: string): Buffer {
  const bytes = Buffer.alloc(to - from);
  const read = readSync(fd, bytes, 0, bytes.length, from);
  if (read < bytes.length) throw new DataError(`is cut off: ${bytes.length} bytes wanted at byte ${from}`, path);
  return bytes;
}

const arrayBuffer = (bytes: Buffer): ArrayBuffer =>
  bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;

/** Random access for the decoder. */
export function openBuffer(path: string): AsyncBuffer & { close(): void } {
  const fd = openSync(path, "r");
  const byteLength = fstatSync(fd).size;
  return {
    byteLength,
    slice: (start, end = byteLength) => arrayBuffer(readBytes(fd, start, end, path)),
    close: () => closeSync(fd),
  };
}

const view = (bytes: Buffer): Uint8Array => new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const unsupported = (codec: string) => (): never => {
  throw new Error(`pages compressed with ${codec} are not supported; write the file with zstd, gzip, snappy or brotli`);
};

export const compressors: Compressors = {
  ZSTD(input) {
    if (zlib.zstdDecompressSync === undefined) throw new Error("zstd pages need Node 22.15 or later");
    return view(zlib.zstdDecompressSync(input));
  },
  GZIP: (input) => view(zlib.gunzipSync(input)),
  BROTLI: (input) => view(zlib.brotliDecompressSync(input)),
  LZ4: unsupported("LZ4"),
  LZ4_RAW: unsupported("LZ4"),
  LZO: unsupported("LZO"),
};
