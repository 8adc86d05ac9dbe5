// The fleet: joining a job, trainers, and the folder that a run leaves behind.
export { WorkerDiedError } from "./deaths.ts";
export type { EarlyStop, FitOptions, FitResult } from "./fit-options.ts";
export type { ExportOnnxOptions, ExportWeightsOptions } from "./interchange.ts";
export { type InitOptions, init, type Job } from "./job.ts";
export type { OptimizerGroups } from "./optimizer-groups.ts";
export { RunFolder } from "./run-folder.ts";
export { readTrainerState, type SavedTrainer, type SaveTrainerOptions } from "./saved-state.ts";
export type { Strategy, StrategyOptions } from "./strategy.ts";
export { evaluationFields } from "./tasks.ts";
export type { Trainer, TrainerOptions } from "./trainer.ts";
export type { TrainingState } from "./training-state.ts";
export type { ScoreOptions, Weights } from "./weights.ts";
export { type TrainVectorsOptions, type TrainVectorsResult, trainVectors } from "./word2vec/train-vectors.ts";
