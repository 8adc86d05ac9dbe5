// Optimizers and learning-rate schedules.
export type { Optimizer, OptimizerName, OptimizerOptions } from "./optimizer.ts";
export {
  adagrad,
  adagradShared,
  adam,
  adamw,
  ftrl,
  lamb,
  lars,
  momentum,
  optimizerNames,
  parseOptimizer,
  rmsprop,
  servesTables,
  sgd,
} from "./optimizer.ts";
export { scalarAt, updateRule } from "./rule.ts";
export type { LearningRate, LearningRateOptions } from "./schedule.ts";
export { learningRateAt, learningRateSchema } from "./schedule.ts";
