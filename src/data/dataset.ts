// Datasets: what to read and how, as a value. Nothing is opened before a pipeline is.
import { type BatchLayout, batchLayout, CRITEO_CATEGORICAL, CRITEO_DENSE, type FeatureWidths } from "./layout.ts";
import { parseOptions } from "./options.ts";
import type { WhereInput } from "./schema.ts";
import {
  type CriteoOptions,
  type CsvOptions,
  criteoOptions,
  csvOptions,
  type DatasetSpec,
  type ParquetOptions,
  parquetOptions,
  specSchema,
} from "./spec.ts";

export class Dataset {
  /** Plain data: structured clone and JSON keep it. */
  readonly spec: DatasetSpec;
  readonly layout: BatchLayout;

  private constructor(spec: DatasetSpec) {
    this.spec = spec;
    this.layout = batchLayout(spec.batch, featureWidths(spec));
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
  with(changes: Partial<Pick<DatasetSpec, "batch" | "order" | "readers" | "shuffle" | "shuffleWindow">>): Dataset {
    return Dataset.from({ ...this.spec, ...changes });
  }
}

function featureWidths(spec: DatasetSpec): FeatureWidths {
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
