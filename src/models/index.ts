// Ready models.

export {
  evaluateAnalogies,
  evaluatePairs,
  UnknownWordError,
  Word2Vec,
  type Word2VecOptions,
  type Word2VecResult,
  type Word2VecTrainOptions,
  WordVectors,
  word2vec,
} from "../word2vec/index.ts";
export {
  type ClickModelName,
  type ClickModelOptions,
  clickModelNames,
  dcnV2,
  deepFM,
  factorizationMachine,
  logisticRegression,
  wideAndDeep,
} from "./click.ts";
export { create, modelNames } from "./create.ts";
export { type Features, lookUpFeatures } from "./features.ts";
export { bert, gpt, lstmLanguageModel } from "./language.ts";
export { type Columns, defineModel, type Losses, type Model, type Task } from "./model.ts";
export { resNet50, vgg16 } from "./vision.ts";
