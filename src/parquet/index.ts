// Parquet files of keys and numbers, written front to back.
export type { ParquetColumn } from "./footer.ts";
export { type ParquetOptions, ParquetWriter } from "./writer.ts";
