// Rows of parquet files.
import type { NewDecoder } from "./decoder.ts";

export const newParquetDecoder: NewDecoder = () => {
  throw new Error("parquet");
};
