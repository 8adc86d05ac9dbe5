// The plain interfaces between checkpoints and what is saved: tensors and tables as streams of chunks, so that neither
// side needs to know the other and nothing large is copied as a whole.
import type { SafetensorsDType } from "./dtype.ts";

/** Data of a tensor: one view, or views that follow each other. A view may lie in shared memory. */
export type TensorData = ArrayBufferView | Iterable<ArrayBufferView> | AsyncIterable<ArrayBufferView>;

export interface TensorSource {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** A column of a table: `width` float32 numbers a row, for example `embedding` or `embedding.accumulator`. */
export interface TableColumn {
  readonly name: string;
  readonly width: number;
}

/** Some rows of a table. The views are only valid until the next chunk is asked for. */
export interface TableChunk {
  readonly rows: number;
  /** [rows] */
  readonly keys: BigUint64Array;
  /** One [rows × width] array per column, in the order of the table's columns. */
  readonly columns: readonly Float32Array[];
}

export interface TableSource {
  readonly name: string;
  /** The exact number of rows that `chunks` will give. */
  readonly rows: number;
  readonly columns: readonly TableColumn[];
  chunks(): Iterable<TableChunk> | AsyncIterable<TableChunk>;
}

export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue | undefined };

export interface SaveProgress {
  readonly bytes: number;
  readonly totalBytes: number;
}

export interface CheckpointContents {
  readonly tensors?: Iterable<TensorSource>;
  readonly tables?: Iterable<TableSource>;
  /** Anything JSON can hold: step, epoch, position in the data, seeds, strategy. */
  readonly state?: JsonValue;
}

export interface SaveOptions {
  /** Largest size of one file; default 2 GiB. Tables are split by rows, dense tensors between tensors. */
  readonly maxFileBytes?: number;
  readonly onProgress?: (progress: SaveProgress) => void;
  /** Writes folders of its own into the checkpoint's folder, before that takes its place. */
  readonly beside?: (folder: string) => Promise<void>;
}

export interface OpenOptions {
  /** Check every file against its SHA-256 before anything is read; default true. */
  readonly verify?: boolean;
  readonly onProgress?: (progress: SaveProgress) => void;
}

export interface TensorInfo {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  readonly byteLength: number;
}

/** What to read of a table; default: everything. */
export interface TableRange {
  /** Names of columns; chunks have them in the table's order. The keys are always there. */
  readonly columns?: readonly string[];
  /** Rows from `first` to before `end`, by their places in the files. */
  readonly first?: number;
  readonly end?: number;
}

/** A table of an open checkpoint. */
export interface SavedTable {
  readonly name: string;
  readonly rows: number;
  readonly columns: readonly TableColumn[];
  /** Rows in file order, at most `maxRows` (default 65,536) a chunk; the chunk's arrays are reused. */
  chunks(maxRows?: number, range?: TableRange): AsyncIterable<TableChunk>;
}
