// Tables of saved models for other programs and for people: whole tables as files, single rows, sizes.
export { type Exported, type ExportOptions, exportTable, type TableFormat, tableFormats } from "./export.ts";
export { type FoundRow, findRows } from "./find.ts";
export { type OpenTablesOptions, openTables, type SavedTables, type WholeTable } from "./parts.ts";
export type { SaveRules } from "./save-rules.ts";
export { openWholeCheckpoint, type WholeCheckpoint } from "./whole-checkpoint.ts";
