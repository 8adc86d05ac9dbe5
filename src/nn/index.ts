// Layers of neural networks, for models of your own; tensor functions and losses come with them.
export {
  type AllReduceOptions,
  allGather,
  allReduce,
  allToAll,
  averagePool2d,
  type BroadcastOptions,
  broadcast,
  concat,
  dropout,
  fm,
  globalAveragePool,
  maxPool2d,
  reduceScatter,
  sigmoidCrossEntropy,
  softmaxCrossEntropy,
  type TraceContext,
  weightedMean,
  where,
} from "../program/index.ts";
export {
  type ActivationName,
  activate,
  activationNames,
  elu,
  gelu,
  geluTanh,
  hardSigmoid,
  hardSwish,
  leakyRelu,
  logSoftmax,
  logSumExp,
  relu,
  sigmoid,
  silu,
  softplus,
  tanh,
} from "./activations.ts";
export {
  type AttentionOptions,
  attention,
  type MultiHeadAttentionOptions,
  multiHeadAttention,
  type TransformerLayerOptions,
  transformerLayer,
} from "./attention.ts";
export { type Conv2dLayerOptions, conv2d } from "./convolution.ts";
export { type EmbeddingOptions, embedding, positionEmbedding } from "./embedding.ts";
export { type LinearOptions, linear, type MlpOptions, mlp, type NormName } from "./linear.ts";
export {
  type AngularMarginOptions,
  absoluteError,
  angularMargin,
  binaryCrossEntropy,
  type CrossEntropyOptions,
  crossEntropy,
  marginRankingLoss,
  normalize,
  smoothAbsoluteError,
  squaredError,
  tripletLoss,
} from "./losses.ts";
export { type Layers, layers, type Module, module, residual, sequential } from "./module.ts";
export { type BatchNormOptions, batchNorm, type GroupNormOptions, groupNorm, layerNorm } from "./norms.ts";
export { type GruOptions, gru, type LstmOptions, lstm, type RecurrentOptions } from "./recurrent.ts";
export { type Summary, type SummaryOptions, type SummaryRow, type SummaryTotal, summary } from "./summary.ts";
