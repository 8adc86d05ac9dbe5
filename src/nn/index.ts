// Layers of neural networks, for models of your own; tensor functions and losses come with them.
export {
  concat,
  dropout,
  fm,
  sigmoidCrossEntropy,
  softmaxCrossEntropy,
  type TraceContext,
  where,
} from "../program/index.ts";
export {
  type ActivationName,
  batchNorm,
  type LinearOptions,
  layerNorm,
  linear,
  type MlpOptions,
  mlp,
  type NormName,
} from "./layers.ts";
