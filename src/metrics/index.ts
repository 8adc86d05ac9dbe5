// Metrics of classifiers: exact over whole evaluations, streaming over windows of training.
export { MAX_MEASURES, type WindowMetrics } from "./cell.ts";
export { auc, type ScoredSamples, type ScoreSegment, segmentsAuc } from "./exact-auc.ts";
export { calibrationBins, expectedCalibrationError, histogramAuc, type StreamingAuc } from "./histogram.ts";
export { type LogLossOptions, logLoss } from "./log-loss.ts";
export { binaryMetrics, ScoreLog, type ScoreLogHandle, type ScoreRecorder, segmentsMetrics } from "./score-log.ts";
export type { BinaryMetrics, CalibrationBin } from "./types.ts";
export { type StatsRecorder, WindowReader, WindowStats, type WindowStatsHandle } from "./window-stats.ts";
