// What a run shows: its records on disk, the self-contained report, and lines and tables in the terminal.
export {
  ProgressLine,
  type ProgressOptions,
  type ProgressState,
  type ProgressStyle,
  renderProgress,
} from "./progress.ts";
export type {
  CalibrationPoint,
  EvaluationRecord,
  EventRecord,
  MetricsRecord,
  ModelSummary,
  RunConfig,
  RunSummary,
  TrainRecord,
} from "./records.ts";
export { renderReport, writeReport } from "./report.ts";
export { parseRecords, type Run, readRun } from "./run-folder.ts";
export { type Cell, formatTable, type TableOptions } from "./table.ts";
export { formatBytes, formatCount, formatNumber, formatRate, formatSeconds } from "./units.ts";
