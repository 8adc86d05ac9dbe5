// Layers as values: described first, applied later, one after the other by `sequential`. Each is one of the functions of
// this folder with its options, so parameters and names are the same.
import {
  type AveragePoolOptions,
  averagePool2d,
  dropout,
  globalAveragePool,
  maxPool2d,
  type PoolOptions,
  type Tensor,
  type TraceContext,
} from "../program/index.ts";
import { type ActivationName, activate } from "./activations.ts";
import {
  type MultiHeadAttentionOptions,
  multiHeadAttention,
  type TransformerLayerOptions,
  transformerLayer,
} from "./attention.ts";
import { type Conv2dLayerOptions, conv2d } from "./convolution.ts";
import { type EmbeddingOptions, embedding } from "./embedding.ts";
import { type LinearOptions, linear } from "./linear.ts";
import { type BatchNormOptions, batchNorm, type GroupNormOptions, groupNorm, layerNorm } from "./norms.ts";
import { type GruOptions, gru, type LstmOptions, lstm } from "./recurrent.ts";

/** A layer, not yet applied. */
export interface Module<Kind extends string = string, Config = unknown> {
  /** What it is, as "conv2d". */
  readonly kind: Kind;
  /** What it was made with: plain data, unless an option is a tensor. */
  readonly config: Config;
  /** Declares its parameters below `name` and computes; a name stands for one layer only. */
  apply(ctx: TraceContext, name: string, x: Tensor): Tensor;
}

/**
 * A layer of your own, from a function like those of this folder.
 * @example const scale = module("scale", { by: 2 }, (_ctx, _name, x, { by }) => x.mul(by))
 */
export const module = <const Kind extends string, Config>(
  kind: Kind,
  config: Config,
  body: (ctx: TraceContext, name: string, x: Tensor, config: Config) => Tensor,
): Module<Kind, Config> => ({ kind, config, apply: (ctx, name, x) => body(ctx, name, x, config) });

/** Ready layers; options are those of the functions of the same names. */
export const layers = {
  linear: (units: number, options: LinearOptions = {}) =>
    module("linear", { units, ...options }, (ctx, name, x) => linear(ctx, name, x, units, options)),
  conv2d: (channels: number, options: Conv2dLayerOptions) =>
    module("conv2d", { channels, ...options }, (ctx, name, x) => conv2d(ctx, name, x, channels, options)),
  embedding: (options: EmbeddingOptions) =>
    module("embedding", options, (ctx, name, x) => embedding(ctx, name, x, options)),
  batchNorm: (options: BatchNormOptions = {}) =>
    module("batchNorm", options, (ctx, name, x) => batchNorm(ctx, name, x, options)),
  layerNorm: (options: { readonly epsilon?: number } = {}) =>
    module("layerNorm", options, (ctx, name, x) => layerNorm(ctx, name, x, options)),
  groupNorm: (options: GroupNormOptions) =>
    module("groupNorm", options, (ctx, name, x) => groupNorm(ctx, name, x, options)),
  lstm: (options: LstmOptions) => module("lstm", options, (ctx, name, x) => lstm(ctx, name, x, options)),
  gru: (options: GruOptions) => module("gru", options, (ctx, name, x) => gru(ctx, name, x, options)),
  multiHeadAttention: (options: MultiHeadAttentionOptions) =>
    module("multiHeadAttention", options, (ctx, name, x) => multiHeadAttention(ctx, name, x, options)),
  transformerLayer: (options: TransformerLayerOptions) =>
    module("transformerLayer", options, (ctx, name, x) => transformerLayer(ctx, name, x, options)),
  maxPool2d: (options: PoolOptions) => plain("maxPool2d", options, (x) => maxPool2d(x, options)),
  averagePool2d: (options: AveragePoolOptions) => plain("averagePool2d", options, (x) => averagePool2d(x, options)),
  globalAveragePool: () => plain("globalAveragePool", {}, globalAveragePool),
  dropout: (rate: number) => plain("dropout", { rate }, (x) => dropout(x, { rate })),
  activation: (name: ActivationName) => plain("activation", { name }, (x) => activate(name, x)),
  flatten: () => plain("flatten", {}, (x) => x.flatten()),
};

/** A layer without parameters; its ops stand in its scope all the same. */
const plain = <const Kind extends string, Config>(kind: Kind, config: Config, body: (x: Tensor) => Tensor) =>
  module(kind, config, (ctx, name, x) => ctx.scope(name, () => body(x)));

/** Layers in order, by name or, in a list, numbered from 0. */
export type Layers = readonly Module[] | Readonly<Record<string, Module>>;

/**
 * One layer after the other. Parameters NAME/0/…, NAME/1/…, or by the layers' names.
 * @example sequential([layers.linear(64, { activation: "relu" }), layers.dropout(0.1), layers.linear(10)])
 */
export const sequential = (parts: Layers): Module<"sequential", Layers> =>
  module("sequential", parts, (ctx, name, x) =>
    ctx.scope(name, () => Object.entries(parts).reduce((y, [key, part]) => part.apply(ctx, key, y), x)),
  );

/**
 * x + body(x) (arXiv 1512.03385); where the body changes the shape, `shortcut` does it too.
 * Parameters NAME/body/…, NAME/shortcut/….
 */
export const residual = (body: Module, shortcut?: Module): Module<"residual", { body: Module; shortcut?: Module }> =>
  module("residual", shortcut === undefined ? { body } : { body, shortcut }, (ctx, name, x) =>
    ctx.scope(name, () => (shortcut?.apply(ctx, "shortcut", x) ?? x).add(body.apply(ctx, "body", x))),
  );
