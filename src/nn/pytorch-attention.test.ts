// Attention and transformer layers against torch.nn's modules with the same weights.
import type { TensorType } from "../program/index.ts";
import { randomFrom } from "../program/testing.ts";
import { multiHeadAttention, transformerLayer } from "./index.ts";
import { againstTorch, type TorchCase, torchCase } from "./testing-torch.ts";

const [batch, target, source, width, heads] = [2, 5, 3, 6, 2];
const f32 = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });
const i32 = (...shape: number[]): TensorType => ({ shape, dtype: "i32" });
const x = f32(batch, target, width);
const memory = f32(batch, source, width);
const mask = i32(batch, source);
const padded = [1, 1, 0, 1, 0, 1];

/** Python: the weights of MultiheadAttention from those of our layer NAME, and the masks of its two kinds. */
const helpers = `
def attention(name, prefix=""):
    parts = [f"{name}/{part}" for part in ("query", "key", "value")]
    return {
        f"{prefix}in_proj_weight": torch.cat([p[f"{part}/weight"].t() for part in parts]),
        f"{prefix}in_proj_bias": torch.cat([p[f"{part}/bias"] for part in parts]),
        f"{prefix}out_proj.weight": p[f"{name}/output/weight"].t(),
        f"{prefix}out_proj.bias": p[f"{name}/output/bias"],
    }
def later(n):
    return torch.ones(n, n).triu(1).bool()
`;

const multiHead = (arguments_: string, [all, parts] = [width, heads]): string => `${helpers}
module = torch.nn.MultiheadAttention(${all}, ${parts}, batch_first=True)
y = call(module, attention("attention"), ${arguments_})[0]`;

const attentions: TorchCase[] = [
  torchCase({
    title: "self-attention",
    inputs: { x },
    ours: (v, ctx) => multiHeadAttention(ctx, "attention", v.x, { heads }),
    torch: multiHead("x, x, x"),
  }),
  torchCase({
    title: "causal",
    inputs: { x },
    ours: (v, ctx) => multiHeadAttention(ctx, "attention", v.x, { heads, causal: true }),
    torch: multiHead(`x, x, x, attn_mask=later(${target})`),
  }),
  torchCase({
    title: "to another sequence, some of it padding",
    inputs: { x, source: memory, mask },
    values: { mask: padded },
    ours: (v, ctx) => multiHeadAttention(ctx, "attention", v.x, { heads, source: v.source, mask: v.mask }),
    torch: multiHead("x, source, source, key_padding_mask=mask == 0"),
  }),
];

const random = randomFrom(5);
const from = (low: number, high: number): number => low + Math.floor(random() * (high - low + 1));

for (let i = 0; i < 6; i++) {
  const [rows, targets, sources, parts] = [from(1, 3), from(1, 6), from(2, 6), from(1, 4)];
  const all = parts * from(1, 4);
  // At least the first place of each row is none of padding.
  const kept = Array.from({ length: rows * sources }, (_, at) => (at % sources === 0 ? 1 : from(0, 1)));
  attentions.push(
    torchCase({
      title: `${parts} heads, [${rows},${targets},${all}] to [${rows},${sources},${all}]`,
      inputs: { x: f32(rows, targets, all), source: f32(rows, sources, all), mask: i32(rows, sources) },
      values: { mask: kept },
      ours: (v, ctx) => multiHeadAttention(ctx, "attention", v.x, { heads: parts, source: v.source, mask: v.mask }),
      torch: multiHead("x, source, source, key_padding_mask=mask == 0", [all, parts]),
    }),
  );
}

/** Python: weights of our layer, of an encoder or (with cross-attention) a decoder, under the names of PyTorch's. */
const layer = (kind: "Encoder" | "Decoder", options: string, arguments_: string): string => `${helpers}
cross = ${kind === "Decoder" ? "True" : "False"}
weights = attention("layer/attention", "self_attn.")
if cross:
    weights |= attention("layer/cross", "multihead_attn.")
for ours, theirs in (("inner", "linear1"), ("outer", "linear2")):
    weights |= {f"{theirs}.weight": p[f"layer/{ours}/weight"].t(), f"{theirs}.bias": p[f"layer/{ours}/bias"]}
for i in range(1, 4 if cross else 3):
    weights |= {f"norm{i}.weight": p[f"layer/norm{i}/gamma"], f"norm{i}.bias": p[f"layer/norm{i}/beta"]}
module = torch.nn.Transformer${kind}Layer(${width}, ${heads}, 7, 0.0, batch_first=True, ${options})
y = call(module, weights, ${arguments_})`;

const common = { heads, inner: 7 };

const transformers: TorchCase[] = [false, true].flatMap((preNorm) => {
  const order = preNorm ? "norm first" : "norm last";
  const first = `norm_first=${preNorm ? "True" : "False"}`;
  return [
    torchCase({
      title: `encoder, ${order}, with padding`,
      inputs: { x, mask: i32(batch, target) },
      values: { mask: [1, 1, 1, 0, 0, 1, 0, 1, 1, 1] },
      ours: (v, ctx) => transformerLayer(ctx, "layer", v.x, { ...common, preNorm, mask: v.mask }),
      torch: layer("Encoder", `activation="gelu", ${first}`, "x, src_key_padding_mask=mask == 0"),
    }),
    torchCase({
      title: `causal, ${order}, with ReLU and a larger epsilon`,
      inputs: { x },
      ours: (v, ctx) =>
        transformerLayer(ctx, "layer", v.x, { ...common, preNorm, causal: true, activation: "relu", epsilon: 0.01 }),
      torch: layer("Encoder", `layer_norm_eps=0.01, ${first}`, `x, src_mask=later(${target})`),
    }),
    torchCase({
      title: `decoder, ${order}, over padded memory`,
      inputs: { x, memory, mask },
      values: { mask: padded },
      ours: (v, ctx) =>
        transformerLayer(ctx, "layer", v.x, { ...common, preNorm, causal: true, memory: v.memory, memoryMask: v.mask }),
      torch: layer(
        "Decoder",
        `activation="gelu", ${first}`,
        `x, memory, tgt_mask=later(${target}), memory_key_padding_mask=mask == 0`,
      ),
    }),
  ];
});

againstTorch({ multiHeadAttention: attentions, transformerLayer: transformers });
