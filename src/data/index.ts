// Data: datasets of Criteo, CSV and Parquet files, and the reader threads that turn them into batches in the heap.
export { splitLine } from "./csv-header.ts";
export { criteo, csv, Dataset, parquet, type TensorColumn, tensors } from "./dataset.ts";
export { DataError } from "./errors.ts";
export { crossId, featureId } from "./feature-hash.ts";
export { type DataFile, expandPatterns, inspect } from "./files.ts";
export { type Generated, type GenerateOptions, generateCriteo } from "./generate.ts";
export { type BatchColumn, type BatchLayout, columnOf } from "./layout.ts";
export { type Cut, workLeft } from "./left.ts";
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
export { RowEncoder, type RowObject } from "./row-encoder.ts";
export type { SchemaInput, WhereInput } from "./schema.ts";
export type { CriteoOptions, CsvOptions, DatasetSpec, FileSpec, ParquetOptions, TensorOptions } from "./spec.ts";
