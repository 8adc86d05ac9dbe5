// Click models: logistic regression, factorization machine, Wide & Deep, DeepFM and DCN-v2, from their papers, over one
// shared table of features.
import { z } from "zod";
import { linear, mlp } from "../nn/index.ts";
import { concat, fm, type Tensor, type TraceContext } from "../program/index.ts";
import { deepInput, type FeatureColumns, lookUpFeatures } from "./features.ts";
import { type Columns, defineModel, type Model } from "./model.ts";

const count = z.number().int().nonnegative();
const units = z.number().int().positive();

const columns = {
  /** Feature columns a row (Criteo: 26). */
  categorical: count.default(0),
  /** Numeric columns a row (Criteo: 13). */
  dense: count.default(0),
  /** Names of multi-valued columns. */
  bags: z.array(z.string().min(1)).readonly().default([]),
  /** Seed of the embeddings' start values. */
  seed: count.default(1),
};
const embedding = {
  /** Width of the embeddings. */
  dim: units.default(16),
  /** Standard deviation of a new embedding. */
  embeddingScale: z.number().nonnegative().default(0.01),
};
const deep = {
  hidden: z.array(units).min(1).readonly().default([400, 400, 400]),
  activation: z.enum(["relu", "sigmoid", "tanh"]).default("relu"),
  norm: z.enum(["none", "batch", "layer"]).default("none"),
  dropout: z.number().min(0).lt(1).default(0),
};

const schemas = {
  logisticRegression: z.strictObject(columns),
  factorizationMachine: z.strictObject({ ...columns, ...embedding }),
  wideAndDeep: z.strictObject({ ...columns, ...embedding, ...deep }),
  deepFM: z.strictObject({ ...columns, ...embedding, ...deep }),
  dcnV2: z.strictObject({ ...columns, ...embedding, ...deep, crossLayers: units.default(3) }),
} as const;

export type ClickModelName = keyof typeof schemas;
type Config<K extends ClickModelName> = z.output<(typeof schemas)[K]>;
export type ClickModelOptions<K extends ClickModelName> = z.input<(typeof schemas)[K]>;

type Forward<C> = (config: C, batch: Columns, ctx: TraceContext) => Tensor;

/** Linear terms of the features and the dense numbers, with the bias: [B, 1]. */
function firstOrder(batch: Columns, ctx: TraceContext, { dense }: FeatureColumns, sum: Tensor | undefined): Tensor {
  const bias = ctx.parameter("bias", [1], { kind: "zeros" });
  const numeric =
    dense > 0 ? linear(ctx, "linear", batch.dense!, 1, { bias: false, init: { kind: "zeros" } }) : undefined;
  const terms = [sum, numeric].filter((term) => term !== undefined);
  return (
    terms.reduce<Tensor | undefined>((total, term) => total?.add(term) ?? term, undefined)?.add(bias) ??
    batch.weight!.reshape([-1, 1]).mul(0).add(bias)
  );
}

const forwards: { [K in ClickModelName]: Forward<Config<K>> } = {
  logisticRegression: (config, batch, ctx) => {
    const features = lookUpFeatures(batch, ctx, { ...config, dim: 0, scale: 0, linear: true });
    return firstOrder(batch, ctx, config, features.linear);
  },
  factorizationMachine: (config, batch, ctx) => {
    const features = lookUpFeatures(batch, ctx, { ...config, scale: config.embeddingScale, linear: true });
    const first = firstOrder(batch, ctx, config, features.linear);
    return features.embeddings === undefined ? first : first.add(fm(features.embeddings));
  },
  wideAndDeep: (config, batch, ctx) => {
    const features = lookUpFeatures(batch, ctx, { ...config, scale: config.embeddingScale, linear: true });
    const wide = firstOrder(batch, ctx, config, features.linear);
    const hidden = mlp(ctx, "deep", deepInput(batch, features, config.dense), batch.weight!, config);
    return wide.add(linear(ctx, "output", hidden, 1, { bias: false }));
  },
  deepFM: (config, batch, ctx) => {
    const features = lookUpFeatures(batch, ctx, { ...config, scale: config.embeddingScale, linear: true });
    const first = firstOrder(batch, ctx, config, features.linear);
    const hidden = mlp(ctx, "deep", deepInput(batch, features, config.dense), batch.weight!, config);
    const logits = first.add(linear(ctx, "output", hidden, 1, { bias: false }));
    return features.embeddings === undefined ? logits : logits.add(fm(features.embeddings));
  },
  dcnV2: (config, batch, ctx) => {
    const features = lookUpFeatures(batch, ctx, { ...config, scale: config.embeddingScale, linear: false });
    const x0 = deepInput(batch, features, config.dense);
    let x = x0;
    for (let layer = 0; layer < config.crossLayers; layer++) {
      x = x0.mul(linear(ctx, `cross/${layer}`, x, x0.shape[1]!)).add(x);
    }
    const hidden = mlp(ctx, "deep", x0, batch.weight!, config);
    return linear(ctx, "output", concat([x, hidden], 1), 1);
  },
};

const make = <K extends ClickModelName>(name: K, options: unknown): Model =>
  defineModel(name, "binary", schemas[name], options, forwards[name] as Forward<unknown>);

/** σ(b + Σ w): the linear baseline. */
export const logisticRegression = (options: ClickModelOptions<"logisticRegression">): Model =>
  make("logisticRegression", options);
/** Linear terms and pairwise products of embeddings (Rendle 2010). */
export const factorizationMachine = (options: ClickModelOptions<"factorizationMachine">): Model =>
  make("factorizationMachine", options);
/** A linear part beside a perceptron over embeddings (arXiv 1606.07792). */
export const wideAndDeep = (options: ClickModelOptions<"wideAndDeep">): Model => make("wideAndDeep", options);
/** A factorization machine and a perceptron over the same embeddings (arXiv 1703.04247). */
export const deepFM = (options: ClickModelOptions<"deepFM">): Model => make("deepFM", options);
/** Explicit feature crosses `x₀ ⊙ (W·x + b) + x` beside a perceptron (arXiv 2008.13535). */
export const dcnV2 = (options: ClickModelOptions<"dcnV2">): Model => make("dcnV2", options);

export const clickModelNames = Object.keys(schemas) as readonly ClickModelName[];
