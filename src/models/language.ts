// Models of text: BERT, a GPT-like decoder and an LSTM, with the layers and names of Hugging Face and PyTorch.
import { z } from "zod";
import type { ActivationName } from "../nn/index.ts";
import { attention, dropout, embedding, layerNorm, linear, lstm, positionEmbedding } from "../nn/index.ts";
import type { Init, Tensor, TraceContext } from "../program/index.ts";
import { type Columns, defineModel, type Model } from "./model.ts";

const count = z.number().int().positive();
const rate = z.number().min(0).lt(1);

const bertSchema = z.strictObject({
  classes: count.default(2),
  vocabulary: count.default(30522),
  width: count.default(768),
  layers: count.default(12),
  heads: count.default(12),
  inner: count.default(3072),
  /** The longest sequence. */
  positions: count.default(512),
  dropout: rate.default(0.1),
});

const gptSchema = z.strictObject({
  vocabulary: count.default(50257),
  width: count.default(768),
  layers: count.default(12),
  heads: count.default(12),
  positions: count.default(1024),
  dropout: rate.default(0.1),
});

const lstmSchema = z.strictObject({
  vocabulary: count.default(10_000),
  width: count.default(650),
  layers: count.default(2),
  dropout: rate.default(0.5),
});

/** How BERT starts, and GPT-2. */
const smallTruncated: Init = { kind: "truncated-normal", scale: 0.02 };
const smallNormal: Init = { kind: "normal", scale: 0.02 };

function bertForward(config: z.output<typeof bertSchema>, columns: Columns, ctx: TraceContext): Tensor {
  const { width, heads, layers, inner, dropout: share } = config;
  const ids = columns.ids!;
  const length = ids.shape[1]!;
  const norm = (name: string, x: Tensor): Tensor => layerNorm(ctx, name, x, { epsilon: 1e-12 });
  const dense = (name: string, x: Tensor, units: number, activation?: ActivationName): Tensor =>
    linear(ctx, name, x, units, { init: smallTruncated, ...(activation === undefined ? {} : { activation }) });
  const drop = (x: Tensor): Tensor => dropout(x, { rate: share });

  let x = ctx.scope("bert/embeddings", () => {
    const vectors = { dim: width, init: smallTruncated };
    const words = embedding(ctx, "word_embeddings", ids, { vocabulary: config.vocabulary, ...vectors });
    const places = positionEmbedding(ctx, "position_embeddings", length, { vocabulary: config.positions, ...vectors });
    const types = { vocabulary: 2, ...vectors };
    // Without a column of types every token is of the first one.
    const kinds =
      "types" in columns
        ? embedding(ctx, "token_type_embeddings", columns.types!, types)
        : positionEmbedding(ctx, "token_type_embeddings", 1, types);
    return drop(norm("LayerNorm", words.add(places).add(kinds)));
  });
  for (let layer = 0; layer < layers; layer++) {
    x = ctx.scope(`bert/encoder/layer/${layer}`, () => {
      const [q, k, v] = ["query", "key", "value"].map((name) => dense(`attention/self/${name}`, x, width));
      const mask = "mask" in columns ? { mask: columns.mask! } : {};
      const context = attention(q!, k!, v!, { heads, dropout: share, ...mask });
      const attended = norm("attention/output/LayerNorm", x.add(drop(dense("attention/output/dense", context, width))));
      const hidden = dense("intermediate/dense", attended, inner, "gelu");
      return norm("output/LayerNorm", attended.add(drop(dense("output/dense", hidden, width))));
    });
  }
  const first = x.slice(1, 0, 1).reshape([-1, width]);
  return dense("classifier", drop(dense("bert/pooler/dense", first, width, "tanh")), config.classes);
}

function gptForward(config: z.output<typeof gptSchema>, { ids }: Columns, ctx: TraceContext): Tensor {
  const { width, heads, layers, vocabulary, dropout: share } = config;
  const [batch, length] = ids!.shape as [number, number];
  // Residual branches start smaller, so that their sum does not grow with the depth (GPT-2).
  const branch: Init = { kind: "normal", scale: 0.02 / Math.sqrt(2 * layers) };
  const drop = (x: Tensor): Tensor => dropout(x, { rate: share });
  const words = ctx.scope("transformer/wte", () => ctx.parameter("weight", [vocabulary, width], smallNormal));
  const places = positionEmbedding(ctx, "transformer/wpe", length, {
    ...{ vocabulary: config.positions, dim: width, init: smallNormal },
  });
  let x = drop(words.emit("embedding", [words, ids!], {}).add(places));
  for (let layer = 0; layer < layers; layer++) {
    x = ctx.scope(`transformer/h/${layer}`, () => {
      const joint = linear(ctx, "attn/c_attn", layerNorm(ctx, "ln_1", x), 3 * width, { init: smallNormal });
      const [q, k, v] = [0, 1, 2].map((part) => joint.slice(2, part * width, (part + 1) * width));
      const context = attention(q!, k!, v!, { heads, causal: true, dropout: share });
      const y = x.add(drop(linear(ctx, "attn/c_proj", context, width, { init: branch })));
      const hidden = linear(ctx, "mlp/c_fc", layerNorm(ctx, "ln_2", y), 4 * width, {
        ...{ init: smallNormal, activation: "geluTanh" },
      });
      return y.add(drop(linear(ctx, "mlp/c_proj", hidden, width, { init: branch })));
    });
  }
  const rows = layerNorm(ctx, "transformer/ln_f", x).reshape([-1, width]);
  return rows.matmul(words, { transposeB: true }).reshape([batch, length, vocabulary]);
}

function lstmForward(config: z.output<typeof lstmSchema>, { ids }: Columns, ctx: TraceContext): Tensor {
  const { vocabulary, width, layers, dropout: share } = config;
  const init: Init = { kind: "uniform", scale: 0.05 };
  const x = dropout(embedding(ctx, "embedding", ids!, { vocabulary, dim: width, init }), { rate: share });
  const y = lstm(ctx, "lstm", x, { units: width, layers, dropout: share, init });
  return linear(ctx, "output", dropout(y, { rate: share }), vocabulary, { init });
}

/**
 * BERT-base with a classifier over its first token (arXiv 1810.04805): `ids` i32 [B,T], optionally `types` i32 [B,T] and
 * `mask` f32 [B,T] with 0 for padding → logits [B, classes].
 */
export const bert = (options: z.input<typeof bertSchema> = {}): Model =>
  defineModel("bert", "classification", bertSchema, options, bertForward);

/** A decoder as GPT-2, its embeddings tied to its output: `ids` i32 [B,T] → logits [B, T, vocabulary] of the next token. */
export const gpt = (options: z.input<typeof gptSchema> = {}): Model =>
  defineModel("gpt", "classification", gptSchema, options, gptForward);

/** The medium LSTM language model of arXiv 1409.2329: `ids` i32 [B,T] → logits [B, T, vocabulary] of the next token. */
export const lstmLanguageModel = (options: z.input<typeof lstmSchema> = {}): Model =>
  defineModel("lstmLanguageModel", "classification", lstmSchema, options, lstmForward);
