// Optimizers and learning-rate schedules.
export type { Optimizer, OptimizerName, OptimizerOptions } from "./optimizer.ts";
export {
  adagrad,
  adagradShared,
  adam,
  adamw,
  ftrl,
  momentum,
  optimizerNames,
  parseOptimizer,
  scalarAt,
  sgd,
  updateRule,
} from "./optimizer.ts";
export type { LearningRate, LearningRateOptions } from "./schedule.ts";
export { learningRateAt, learningRateSchema } from "./schedule.ts";
