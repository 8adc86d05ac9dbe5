// Optimizers and learning-rate schedules.
export { type LearningRate, type LearningRateOptions, learningRateSchema } from "./learning-rate.ts";
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
export { learningRateAt } from "./schedule.ts";
