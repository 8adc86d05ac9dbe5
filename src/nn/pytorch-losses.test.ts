// Losses against PyTorch's, a value a row.
import type { Tensor, TensorType } from "../program/index.ts";
import {
  absoluteError,
  angularMargin,
  binaryCrossEntropy,
  type CrossEntropyOptions,
  crossEntropy,
  marginRankingLoss,
  normalize,
  sigmoidCrossEntropy,
  smoothAbsoluteError,
  squaredError,
  tripletLoss,
} from "./index.ts";
import { againstTorch, type TorchCase, torchCase } from "./testing-torch.ts";

const f32 = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });
const i32 = (...shape: number[]): TensorType => ({ shape, dtype: "i32" });

function classification(): TorchCase[] {
  const logits = f32(3, 4, 6);
  const labels = i32(3, 4);
  const rows = "logits.reshape(-1, 6), labels.reshape(-1)";
  const settings: [options: CrossEntropyOptions, torch: string, given?: number[]][] = [
    [{}, ""],
    [{ labelSmoothing: 0.15 }, ", label_smoothing=0.15"],
    [{ ignoreIndex: 2 }, ", ignore_index=2"],
    // PyTorch's own default, which is no label.
    [{ ignoreIndex: -100 }, "", [0, -100, 5, 2, 1, 1, -100, -100, 4, 3, 0, 0]],
    [{ labelSmoothing: 0.3, ignoreIndex: 0 }, ", label_smoothing=0.3, ignore_index=0"],
  ];
  return settings.map(([options, torch, given]) =>
    torchCase({
      title: `crossEntropy ${JSON.stringify(options)}`,
      inputs: { logits, labels },
      ours: (v) => crossEntropy(v.logits, v.labels, options),
      torch: `y = F.cross_entropy(${rows}${torch}, reduction="none")`,
      ...{ low: -4, high: 4, classes: 6 },
      ...(given === undefined ? {} : { values: { labels: given } }),
    }),
  );
}

/** A loss of two tensors of one shape. */
const pair = (title: string, ours: (x: Tensor, y: Tensor) => Tensor, torch: string, range = {}): TorchCase =>
  torchCase({
    title,
    inputs: { x: f32(6, 5), target: f32(6, 5) },
    ours: (v) => ours(v.x, v.target),
    torch: `y = F.${torch}`,
    ...range,
  });

const unit = { low: 0.01, high: 0.99 };

againstTorch({
  classification: classification(),
  "two outcomes": [
    pair("binaryCrossEntropy", binaryCrossEntropy, 'binary_cross_entropy(x, target, reduction="none")', unit),
    torchCase({
      title: "binaryCrossEntropy of certain and impossible outcomes",
      inputs: { p: i32(4), target: i32(4), more: f32(4) },
      values: { p: [0, 1, 0, 1], target: [0, 1, 1, 0] },
      ours: (v) => binaryCrossEntropy(v.p, v.target).add(v.more),
      torch: 'y = F.binary_cross_entropy(p.double(), target.double(), reduction="none") + more',
    }),
    pair(
      "sigmoidCrossEntropy",
      (x, y) => sigmoidCrossEntropy(x.mul(9), y),
      'binary_cross_entropy_with_logits(9 * x, target.detach(), reduction="none")',
      unit,
    ),
  ],
  regression: [
    pair("squaredError", squaredError, 'mse_loss(x, target, reduction="none")'),
    pair("absoluteError", absoluteError, 'l1_loss(x, target, reduction="none")'),
    pair("smoothAbsoluteError", smoothAbsoluteError, 'smooth_l1_loss(x, target, reduction="none")', {
      low: -3,
      high: 3,
    }),
    pair(
      "smoothAbsoluteError, β 0.3",
      (x, y) => smoothAbsoluteError(x, y, 0.3),
      'smooth_l1_loss(x, target, beta=0.3, reduction="none")',
    ),
  ],
  metric: [
    torchCase({
      title: "tripletLoss",
      inputs: { anchor: f32(9, 4), positive: f32(9, 4), negative: f32(9, 4) },
      ours: (v) => tripletLoss(v.anchor, v.positive, v.negative, 0.4),
      torch: 'y = F.triplet_margin_loss(anchor, positive, negative, margin=0.4, reduction="none")',
    }),
    torchCase({
      title: "marginRankingLoss",
      inputs: { a: f32(8), b: f32(8), sign: i32(8) },
      values: { sign: [1, -1, 1, 1, -1, -1, 1, -1] },
      ours: (v) => marginRankingLoss(v.a, v.b, v.sign, 0.2),
      torch: 'y = F.margin_ranking_loss(a, b, sign, margin=0.2, reduction="none")',
    }),
    ...[{ angle: 0.5 }, { cosine: 0.35, scale: 30 }, { angle: 0.2, cosine: 0.1, scale: 7 }].map(
      ({ angle = 0, cosine = 0, scale = 64 }) =>
        torchCase({
          title: `angularMargin, angle ${angle}, cosine ${cosine}`,
          inputs: { x: f32(4, 5), centres: f32(3, 5), labels: i32(4) },
          ours: (v) =>
            angularMargin(normalize(v.x).matmul(normalize(v.centres), { transposeB: true }), v.labels, {
              ...{ angle, cosine, scale },
            }),
          torch: `
cosines = F.normalize(x) @ F.normalize(centres).t()
target = F.one_hot(labels, 3).bool()
harder = torch.cos(torch.acos(cosines) + ${angle}) - ${cosine}
y = ${scale} * torch.where(target, harder, cosines)`,
          classes: 3,
        }),
    ),
    torchCase({
      title: "normalize",
      inputs: { x: f32(3, 2, 5) },
      ours: ({ x }) => normalize(x),
      torch: "y = F.normalize(x, dim=-1)",
    }),
  ],
});
