// Datasets: what to read and how, as a value. Nothing is opened before a pipeline is.
import {
  type BatchLayout,
  batchLayout,
  CRITEO_CATEGORICAL,
  CRITEO_DENSE,
  type FeatureWidths,
  layoutOf,
} from "./layout.ts";
import { parseOptions } from "./options.ts";
import type { WhereInput } from "./schema.ts";
import {
  type CriteoOptions,
  type CsvOptions,
  criteoOptions,
  csvOptions,
  type DatasetSpec,
  type FileSpec,
  type ParquetOptions,
  parquetOptions,
  specSchema,
  type TensorOptions,
  type TensorSpec,
  tensorOptions,
} from "./spec.ts";

export class Dataset {
  /** Plain data: structured clone and JSON keep it. */
  readonly spec: DatasetSpec;
  readonly layout: BatchLayout;

  private constructor(spec: DatasetSpec) {
    this.spec = spec;
    this.layout =
      spec.format === "tensors" ? layoutOf(spec.batch, spec.columns) : batchLayout(spec.batch, featureWidths(spec));
  }

  /** The spec of data in files. @throws TypeError for columns in memory */
  get fileSpec(): FileSpec {
    if (this.spec.format !== "tensors") return this.spec;
    throw new TypeError("this dataset lies in memory; files are needed here");
  }

  /** A dataset from its spec, also one written by another process. @throws TypeError when the spec is not valid. */
  static from(spec: unknown): Dataset {
    return new Dataset(parseOptions(specSchema, spec, "dataset"));
  }

  /** The part of the data that belongs to one of `worldSize` workers; a job object has these fields. */
  shard(job: { readonly rank: number; readonly worldSize: number }): Dataset {
    return Dataset.from({ ...this.spec, shard: { rank: job.rank, worldSize: job.worldSize } });
  }

  /**
   * Only the rows whose column lies in [from, to), or only a fraction of each file's rows by position.
   * @example flights.where({ rows: { from: 0.9 } }); flights.where({ column: "date", to: "2001-06-01" })
   */
  where(...filters: readonly WhereInput[]): Dataset {
    return Dataset.from({ ...this.spec, where: [...this.spec.where, ...filters] });
  }

  /** The same data with other reading options. */
  with(
    changes: Partial<Pick<DatasetSpec, "batch" | "order" | "shuffle">> & {
      readonly readers?: number;
      readonly shuffleWindow?: number;
    },
  ): Dataset {
    return Dataset.from({ ...this.spec, ...changes });
  }
}

function featureWidths(spec: FileSpec): FeatureWidths {
  if (spec.format === "criteo") return { dense: CRITEO_DENSE, categorical: CRITEO_CATEGORICAL, bags: {} };
  const { dense, categorical, bags } = spec.schema;
  const widths = Object.entries(bags).map(([name, bag]) => [name, bag.max] as const);
  return { dense: dense.length, categorical: categorical.length, bags: Object.fromEntries(widths) };
}

/**
 * Tab-separated Criteo rows: label (unless `labels` is false), 13 integers, 26 categories, each possibly empty; plain or gzip.
 * Integers become ln(1 + x), negative and missing ones 0. Categories become ids by `featureId`.
 * @param patterns file names or globs
 */
export function criteo(patterns: string | readonly string[], options: CriteoOptions = {}): Dataset {
  return Dataset.from({ format: "criteo", patterns, ...parseOptions(criteoOptions, options, "data.criteo") });
}

/** Comma-separated values with a schema; plain or gzip. @param patterns file names or globs */
export function csv(patterns: string | readonly string[], options: CsvOptions): Dataset {
  return Dataset.from({ format: "csv", patterns, ...parseOptions(csvOptions, options, "data.csv") });
}

/** Parquet files with a schema. @param patterns file names or globs */
export function parquet(patterns: string | readonly string[], options: ParquetOptions): Dataset {
  return Dataset.from({ format: "parquet", patterns, ...parseOptions(parquetOptions, options, "data.parquet") });
}

/** A column in memory: numbers of all rows one after the other, and their shape [rows, ..]. */
export interface TensorColumn {
  readonly data: Float32Array | Int32Array | Uint32Array | Uint8Array;
  readonly shape: readonly number[];
}

/**
 * Rows in memory, copied once to where all readers see them. Columns keep their names, types (f32, i32, u32, u8) and
 * shapes; models of a task want one called `label`. A column `weight` f32 weighs the rows [rows], or their labels
 * [rows, ..], in losses and metrics.
 * @throws TypeError when columns differ in their number of rows, or data does not fill its shape
 * @example data.tensors({ image: { data: pixels, shape: [60000, 28, 28, 1] }, label: { data: digits, shape: [60000] } })
 */
export function tensors(columns: Readonly<Record<string, TensorColumn>>, options: TensorOptions = {}): Dataset {
  const parsed = parseOptions(tensorOptions, options, "data.tensors");
  const entries = Object.entries(columns);
  const rows = entries[0]?.[1].shape[0];
  if (rows === undefined) throw new TypeError("data.tensors: give at least one column, of shape [rows, ..]");
  return Dataset.from({
    format: "tensors",
    ...parsed,
    rows,
    columns: entries.map(([name, { data, shape }]) => {
      const size = shape.reduce((a, b) => a * b, 1);
      if (name === "weight" && !(data instanceof Float32Array)) {
        throw new TypeError(
          "data.tensors: weights are a Float32Array, of shape [rows] or, one for each label, [rows, ..]",
        );
      }
      if (data.length !== size) {
        throw new TypeError(`data.tensors: column ${name} has ${data.length} numbers, its shape is [${shape}]`);
      }
      if (shape[0] !== rows) {
        throw new TypeError(`data.tensors: column ${name} has ${shape[0]} rows, ${entries[0]![0]} has ${rows}`);
      }
      const shared = new SharedArrayBuffer(data.byteLength);
      new Uint8Array(shared).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      return { name, dtype: dtypeOf(data), shape: shape.slice(1), data: shared };
    }),
  });
}

function dtypeOf(data: TensorColumn["data"]): TensorSpec["columns"][number]["dtype"] {
  if (data instanceof Float32Array) return "f32";
  if (data instanceof Int32Array) return "i32";
  return data instanceof Uint32Array ? "u32" : "u8";
}
