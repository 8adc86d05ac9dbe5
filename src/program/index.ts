// Programs: the representation of a model's step, how models are traced to it, differentiated, planned and checked.
export { averageParameters, SHARE, snapshotName } from "./average-parameters.ts";
export { type BatchNormOperands, batchNorm } from "./batch-norm.ts";
export {
  type Bucket,
  type BucketOptions,
  type BucketPart,
  bucketOutput,
  planBuckets,
  type RowGradient,
} from "./buckets.ts";
export { type ParameterOptions, ProgramBuilder } from "./builder.ts";
export { type Clip, clipRule } from "./clip.ts";
export {
  type ApplyShare,
  accumulatorName,
  type DeferOptions,
  type DeferredUpdates,
  deferUpdates,
  type ExchangeOptions,
  MERGE_SCALE,
  progressName,
  replicaInput,
} from "./defer-updates.ts";
export { type Contribution, type Differentiated, type DifferentiateOptions, differentiate } from "./differentiate.ts";
export {
  type AllReduceOptions,
  allGather,
  allReduce,
  allToAll,
  type BroadcastOptions,
  broadcast,
  reduceScatter,
} from "./distributed.ts";
export { ProgramError, ShapeError } from "./errors.ts";
export { flopsOf } from "./flops.ts";
export {
  concat,
  type DropoutOptions,
  dropout,
  embedding,
  fm,
  type LayerNormOptions,
  layerNorm,
  type SoftmaxCrossEntropy,
  sigmoidCrossEntropy,
  softmaxCrossEntropy,
  weightedMean,
  where,
} from "./functions.ts";
export type {
  Activation,
  DType,
  Init,
  Op,
  OpAttrs,
  OpKind,
  OpOf,
  Parameter,
  Pooling,
  Program,
  Shape,
  TableField,
  TableSpec,
  TensorType,
  Value,
  ValueId,
} from "./ir.ts";
export {
  type AveragePoolOptions,
  averagePool2d,
  type Conv2dOptions,
  conv2d,
  type Extent,
  globalAveragePool,
  maxPool2d,
  type PoolOptions,
  type Sides,
  type WindowOptions,
} from "./pictures.ts";
export { averageName, FINITE, placeUpdates, slotName, UNSCALE, type UpdateRules } from "./place-updates.ts";
export { type PlanOptions, plan } from "./planner.ts";
export { print, summarize } from "./print.ts";
export { interpret, interpretRanks, type Numbers, type ReferenceResult, type ReferenceState } from "./reference.ts";
export { ReferenceTable, type ReferenceTableOptions } from "./reference-table.ts";
export { elementwise, emit, type MatmulOptions, type ReduceOptions, Tensor, type TensorLike } from "./tensor.ts";
export {
  type ModelFunction,
  SymbolicTable,
  TableRows,
  TraceContext,
  type TraceOptions,
  trace,
} from "./trace.ts";
export { verify } from "./verify.ts";
