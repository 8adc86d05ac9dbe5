// Passes: program in, equivalent program out.
export { absorbTransposes } from "./absorb-transposes.ts";
export { type BucketStart, startsByNeed, startsWhenFull } from "./bucket-starts.ts";
export { eliminateCommonSubexpressions } from "./common-subexpressions.ts";
export { eliminateDeadCode } from "./dead-code.ts";
export { definitionsOf, usesOf } from "./edit.ts";
export { type ExternalLookup, externalLookups } from "./external-lookups.ts";
export { foldConstants } from "./fold-constants.ts";
export { fuse } from "./fuse.ts";
export { fuseElementwise } from "./fuse-elementwise.ts";
export { fuseMatmul } from "./fuse-matmul.ts";
export { lower } from "./lower.ts";
export { type HalfType, type MixedPrecisionOptions, mixedPrecision, type PrecisionLists } from "./mixed-precision.ts";
export { type OptimizeOptions, optimize, type Pass } from "./optimize.ts";
export { byReadiness, placeBuckets } from "./place-buckets.ts";
export { type RecomputeOptions, recompute, type Segments } from "./recompute.ts";
export { simplifyMatmul } from "./simplify-matmul.ts";
