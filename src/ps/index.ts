// The parameter server: tables and dense parameters in partitions, each owned by one thread of a server.
export { joinParts } from "./body.ts";
export * from "./messages.ts";
export { partFolder } from "./part-folders.ts";
export { Partition } from "./partition.ts";
export { type DensePiece, MIN_BLOCK, partitionOf, placeDense } from "./placement.ts";
export * from "./requests.ts";
export * from "./row-messages.ts";
export { STATISTICS_TABLE } from "./saved-partition.ts";
export { STATISTICS_OF, statisticsColumns } from "./scans.ts";
export { type PartitionThread, startThread, type ThreadEvents, type ThreadOptions } from "./server.ts";
export { runServer } from "./server-process.ts";
export * from "./spec.ts";
export { type SplitKernel, splitKernel } from "./split.ts";
