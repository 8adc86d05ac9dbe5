// Sparse tables: rows of weights and optimizer state by 64-bit feature id, shared by all threads.

export type { TableChunk, TableSnapshot } from "./snapshot.ts";
export { type GradientSource, type RowSums, SparseGradients } from "./sparse-gradients.ts";
export {
  columnsOf,
  type FieldInit,
  type FieldLayout,
  layoutOf,
  type PlacedColumn,
  type TableColumn,
  type TableField,
  type TableLayout,
  type TableSpec,
  validateSpec,
} from "./spec.ts";
export { mix64, type TableSlab } from "./storage.ts";
export { Table, type TableHandle } from "./table.ts";
