// The parameter server: tables and dense parameters in partitions, each owned by one thread of a server.
export * from "./messages.ts";
export { type DensePiece, MIN_BLOCK, partitionOf, placeDense } from "./placement.ts";
export * from "./requests.ts";
export * from "./row-messages.ts";
export * from "./spec.ts";
export { type SplitKernel, splitKernel } from "./split.ts";
