// Data: datasets of Criteo, CSV and Parquet files, and the reader threads that turn them into batches in the heap.
export { criteo, csv, Dataset, parquet } from "./dataset.ts";
export { type BatchColumn, type BatchLayout, columnOf } from "./layout.ts";
export {
  type BadLines,
  openPipeline,
  type Pipeline,
  type PipelineOptions,
  type PipelineState,
  type Progress,
} from "./pipeline.ts";
export { BatchQueue, EPOCH_END, INTERRUPTED, TIMED_OUT } from "./queue.ts";
export type { PipelineHandle } from "./ring.ts";
export type { SchemaInput, WhereInput } from "./schema.ts";
export type { CriteoOptions, CsvOptions, DatasetSpec, ParquetOptions } from "./spec.ts";
