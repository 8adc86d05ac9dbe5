// Convolution, pooling, norms, activations and recurrent layers against PyTorch.
import type { TensorType } from "../program/index.ts";
import { randomFrom } from "../program/testing.ts";
import {
  activate,
  activationNames,
  averagePool2d,
  batchNorm,
  type Conv2dLayerOptions,
  conv2d,
  embedding,
  groupNorm,
  gru,
  layerNorm,
  linear,
  logSoftmax,
  logSumExp,
  lstm,
  maxPool2d,
} from "./index.ts";
import { againstTorch, type TorchCase, torchCase } from "./testing-torch.ts";

const f32 = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });
const i32 = (...shape: number[]): TensorType => ({ shape, dtype: "i32" });

// Pictures lie as NHWC here, as NCHW there; kernels as HWIO and OIHW.
const FIRST = "permute(0, 3, 1, 2)";
const LAST = "permute(0, 2, 3, 1)";

const convolution = (shape: number[], channels: number, options: Conv2dLayerOptions, torch: string) =>
  torchCase({
    title: `${shape} to ${channels} channels ${JSON.stringify(options)}`,
    inputs: { x: f32(...shape) },
    ours: ({ x }, ctx) => conv2d(ctx, "conv", x, channels, options),
    torch: `y = F.conv2d(x.${FIRST}, p["conv/weight"].permute(3, 2, 0, 1), p["conv/bias"], ${torch}).${LAST}`,
  });

function convolutions(): TorchCase[] {
  return [
    convolution([2, 6, 5, 3], 4, { kernel: 3 }, "stride=1"),
    convolution([1, 7, 8, 2], 3, { kernel: [3, 2], stride: [2, 3], padding: [1, 0] }, "stride=(2, 3), padding=(1, 0)"),
    convolution([2, 9, 7, 2], 2, { kernel: 3, dilation: [2, 1], padding: 2 }, "dilation=(2, 1), padding=2"),
    convolution([2, 5, 5, 6], 4, { kernel: 3, groups: 2, padding: "same" }, "groups=2, padding='same'"),
    convolution([1, 5, 6, 4], 8, { kernel: [2, 3], groups: 4, stride: 2 }, "groups=4, stride=2"),
    torchCase({
      title: "no bias, then an activation",
      inputs: { x: f32(2, 4, 4, 3) },
      ours: ({ x }, ctx) => conv2d(ctx, "conv", x, 5, { kernel: 1, bias: false, activation: "silu" }),
      torch: `y = F.silu(F.conv2d(x.${FIRST}, p["conv/weight"].permute(3, 2, 0, 1))).${LAST}`,
    }),
  ];
}

/** Sizes and settings drawn from a seed; each shape is another one. */
function randomShapes(): TorchCase[] {
  const random = randomFrom(2024);
  const from = (low: number, high: number): number => low + Math.floor(random() * (high - low + 1));
  const two = (low: number, high: number): [number, number] => [from(low, high), from(low, high)];
  const text = (pair: readonly number[]): string => `(${pair.join(", ")})`;
  const convolved = Array.from({ length: 10 }, () => {
    const [kernel, stride, dilation, padding, groups] = [two(1, 3), two(1, 3), two(1, 2), two(0, 2), from(1, 3)];
    const shape = [from(1, 3), ...two(5, 9), groups * from(1, 3)];
    const settings = { stride, dilation, padding };
    const torch = Object.entries(settings).map(([name, value]) => `${name}=${text(value)}`);
    const options = { kernel, groups, ...settings };
    return convolution(shape, groups * from(1, 3), options, [...torch, `groups=${groups}`].join(", "));
  });
  const pooled = Array.from({ length: 5 }, () => {
    const [kernel, stride] = [two(2, 4), two(1, 3)];
    const padding: [number, number] = [from(0, kernel[0] >> 1), from(0, kernel[1] >> 1)];
    const shape = [from(1, 3), ...two(4, 9), from(1, 5)];
    return torchCase({
      title: `${shape} by windows of ${kernel}, stride ${stride}, padding ${padding}`,
      inputs: { x: f32(...shape) },
      ours: ({ x }) => {
        const options = { kernel, stride, padding };
        return maxPool2d(x, options).add(averagePool2d(x, options));
      },
      torch: `
window = (${text(kernel)}, ${text(stride)}, ${text(padding)})
picture = x.${FIRST}
y = (F.max_pool2d(picture, *window) + F.avg_pool2d(picture, *window)).${LAST}`,
    });
  });
  const normed = Array.from({ length: 5 }, () => {
    const groups = from(1, 3);
    const shape = [from(2, 4), ...two(1, 4), groups * from(1, 3)];
    return torchCase({
      title: `${shape} by batch, layer and ${groups} groups`,
      inputs: { x: f32(...shape) },
      ours: ({ x }, ctx) =>
        groupNorm(ctx, "group", layerNorm(ctx, "layer", batchNorm(ctx, "batch", x).add(x)).add(x), { groups }),
      torch: `
parts = {name: (p[f"{name}/gamma"], p[f"{name}/beta"]) for name in ("batch", "layer", "group")}
running = (p["batch/running-mean"], p["batch/running-variance"])
picture = x.${FIRST}
by_batch = F.batch_norm(picture, *running, *parts["batch"], training=True) + picture
by_layer = F.layer_norm(by_batch.${LAST}, (${shape[3]},), *parts["layer"]) + x
y = F.group_norm(by_layer.${FIRST}, ${groups}, *parts["group"]).${LAST}`,
    });
  });
  return [...convolved, ...pooled, ...normed];
}

function pools(): TorchCase[] {
  const x = f32(2, 7, 6, 3);
  const settings: [title: string, ours: Parameters<typeof torchCase<"x">>[0]["ours"], torch: string][] = [
    ["max 2", ({ x }) => maxPool2d(x, { kernel: 2 }), "max_pool2d(_, 2)"],
    [
      "max 3, stride 2, padded",
      ({ x }) => maxPool2d(x, { kernel: 3, stride: 2, padding: 1 }),
      "max_pool2d(_, 3, stride=2, padding=1)",
    ],
    [
      "max 2×3, stride 1×2",
      ({ x }) => maxPool2d(x, { kernel: [2, 3], stride: [1, 2] }),
      "max_pool2d(_, (2, 3), stride=(1, 2))",
    ],
    [
      "average 3, stride 2, padded",
      ({ x }) => averagePool2d(x, { kernel: 3, stride: 2, padding: 1 }),
      "avg_pool2d(_, 3, stride=2, padding=1)",
    ],
    [
      "average without the padding",
      ({ x }) => averagePool2d(x, { kernel: [3, 2], stride: 2, padding: 1, countPadding: false }),
      "avg_pool2d(_, (3, 2), stride=2, padding=1, count_include_pad=False)",
    ],
  ];
  return settings.map(([title, ours, torch]) =>
    torchCase({ title, inputs: { x }, ours, torch: `y = F.${torch.replace("(_", `(x.${FIRST}`)}.${LAST}` }),
  );
}

function norms(): TorchCase[] {
  const norm = `p["norm/running-mean"], p["norm/running-variance"], p["norm/gamma"], p["norm/beta"], training=True`;
  return [
    torchCase({
      title: "batchNorm of rows, with running statistics",
      inputs: { x: f32(7, 4) },
      ours: ({ x }, ctx) => batchNorm(ctx, "norm", x),
      torch: `y = F.batch_norm(x, ${norm})`,
    }),
    torchCase({
      title: "batchNorm of pictures",
      inputs: { x: f32(2, 3, 4, 5) },
      ours: ({ x }, ctx) => batchNorm(ctx, "norm", x, { momentum: 0.7, epsilon: 1e-3 }),
      torch: `y = F.batch_norm(x.${FIRST}, ${norm}, momentum=0.3, eps=1e-3).${LAST}`,
    }),
    torchCase({
      title: "layerNorm",
      inputs: { x: f32(3, 2, 7) },
      ours: ({ x }, ctx) => layerNorm(ctx, "norm", x, { epsilon: 1e-4 }),
      torch: `y = F.layer_norm(x, (7,), p["norm/gamma"], p["norm/beta"], eps=1e-4)`,
    }),
    ...[1, 2, 6].map((groups) =>
      torchCase({
        title: `groupNorm in ${groups}`,
        inputs: { x: f32(2, 3, 4, 6) },
        ours: ({ x }, ctx) => groupNorm(ctx, "norm", x, { groups }),
        torch: `y = F.group_norm(x.${FIRST}, ${groups}, p["norm/gamma"], p["norm/beta"]).${LAST}`,
      }),
    ),
  ];
}

function dense(): TorchCase[] {
  const names: Partial<Record<(typeof activationNames)[number], string>> = {
    geluTanh: "gelu(x, approximate='tanh')",
    leakyRelu: "leaky_relu(x)",
    hardSigmoid: "hardsigmoid(x)",
    hardSwish: "hardswish(x)",
  };
  return [
    ...activationNames.map((name) =>
      torchCase({
        title: name,
        inputs: { x: f32(5, 40) },
        ours: ({ x }) => activate(name, x),
        torch: `y = F.${names[name] ?? `${name}(x)`}`,
        low: -6,
        high: 6,
        // PyTorch keeps 1/6 in single precision.
        ...(name === "hardSigmoid" ? { tolerance: 1e-7 } : {}),
      }),
    ),
    torchCase({
      title: "logSoftmax of large numbers",
      inputs: { x: f32(5, 7) },
      ours: ({ x }) => logSoftmax(x),
      torch: "y = F.log_softmax(x, -1)",
      low: -2000,
      high: 2000,
    }),
    torchCase({
      title: "logSumExp",
      inputs: { x: f32(2, 3, 7) },
      ours: ({ x }) => logSumExp(x),
      torch: "y = torch.logsumexp(x, -1)",
    }),
    torchCase({
      title: "linear over the last axis",
      inputs: { x: f32(2, 3, 5) },
      ours: ({ x }, ctx) => linear(ctx, "layer", x, 4, { activation: "gelu" }),
      torch: 'y = F.gelu(F.linear(x, p["layer/weight"].t(), p["layer/bias"]))',
    }),
    torchCase({
      title: "embedding",
      inputs: { ids: i32(4, 6) },
      ours: ({ ids }, ctx) => embedding(ctx, "words", ids, { vocabulary: 9, dim: 5 }),
      torch: 'y = F.embedding(ids, p["words/weight"])',
      classes: 8,
    }),
  ];
}

function recurrent(): TorchCase[] {
  const random = randomFrom(7);
  const from = (low: number, high: number): number => low + Math.floor(random() * (high - low + 1));
  const stack = (kind: "lstm" | "gru", layers: number, state: string, units = 4): string => `
weights = []
for layer in range(${layers}):
    own = [p[f"rnn/{layer}/{part}"] for part in ("weight-ih", "weight-hh", "bias-ih", "bias-hh")]
    weights += [w.t() for w in own[:2]] + own[2:]
zeros = torch.zeros(${layers}, x.shape[0], ${units}, dtype=x.dtype)
y = torch.${kind}(x, ${state}, weights, True, ${layers}, 0.0, True, False, True)[0]`;
  return ([lstm, gru] as const).flatMap((layer) => {
    const kind = layer === lstm ? "lstm" : "gru";
    return [
      torchCase({
        title: `${kind} of three layers`,
        inputs: { x: f32(3, 5, 2) },
        ours: ({ x }, ctx) => layer(ctx, "rnn", x, { units: 4, layers: 3 }),
        torch: stack(kind, 3, kind === "lstm" ? "(zeros, zeros)" : "zeros"),
      }),
      torchCase({
        title: `${kind} from a given state`,
        inputs: { x: f32(2, 4, 3), h: f32(2, 2, 4), c: f32(2, 2, 4) },
        ours: ({ x, h, c }, ctx) =>
          layer === lstm
            ? lstm(ctx, "rnn", x, { units: 4, layers: 2, initialState: { hidden: h, cell: c } })
            : gru(ctx, "rnn", x, { units: 4, layers: 2, initialState: h }),
        torch: stack(kind, 2, kind === "lstm" ? "(h, c)" : "h"),
      }),
      ...Array.from({ length: 3 }, () => {
        const [shape, units, layers] = [[from(1, 4), from(1, 6), from(1, 5)], from(1, 6), from(1, 3)];
        return torchCase({
          title: `${kind} of ${layers} layers of ${units} over ${shape}`,
          inputs: { x: f32(...shape) },
          ours: ({ x }, ctx) => layer(ctx, "rnn", x, { units, layers }),
          torch: stack(kind, layers, kind === "lstm" ? "(zeros, zeros)" : "zeros", units),
        });
      }),
    ];
  });
}

againstTorch({
  conv2d: convolutions(),
  pooling: pools(),
  norms: norms(),
  "random shapes": randomShapes(),
  "activations and dense layers": dense(),
  "recurrent layers": recurrent(),
});
