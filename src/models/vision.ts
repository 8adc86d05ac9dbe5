// Classifiers of pictures: ResNet-50 and VGG-16, with the layers and names that torchvision gives them.
import { z } from "zod";
import { batchNorm, conv2d, dropout, globalAveragePool, linear, maxPool2d } from "../nn/index.ts";
import type { Init, Tensor, TraceContext } from "../program/index.ts";
import { type Columns, defineModel, type Model } from "./model.ts";

const count = z.number().int().positive();
const classes = count.default(1000);

const resNetSchema = z.strictObject({
  classes,
  /** Blocks of each of the four stages. */
  depths: z.array(count).length(4).default([3, 4, 6, 3]),
  /** Channels of the first stage's inner convolutions. */
  width: count.default(64),
});

const vggSchema = z.strictObject({
  classes,
  /** Convolutions of each stage. */
  depths: z.array(count).min(1).default([2, 2, 3, 3, 3]),
  widths: z.array(count).min(1).default([64, 128, 256, 512, 512]),
  /** Units of the two hidden layers. */
  hidden: count.default(4096),
  dropout: z.number().min(0).lt(1).default(0.5),
});

/** He et al. 2015 for what each place sends on, as torchvision starts both networks. */
const convInit = (kernel: number, channels: number): Init => ({
  kind: "he-normal",
  fanIn: kernel * kernel * channels,
});

/** Convolution without bias, batch norm, ReLU. */
function convNorm(
  ctx: TraceContext,
  [conv, norm]: readonly [string, string],
  x: Tensor,
  channels: number,
  { kernel, stride = 1, relu = true }: { readonly kernel: number; readonly stride?: number; readonly relu?: boolean },
): Tensor {
  const padding = (kernel - 1) / 2;
  const y = conv2d(ctx, conv, x, channels, { kernel, stride, padding, bias: false, init: convInit(kernel, channels) });
  const normed = batchNorm(ctx, norm, y);
  return relu ? normed.relu() : normed;
}

/** The bottleneck of arXiv 1512.03385, its stride at the 3×3 convolution. */
function bottleneck(ctx: TraceContext, name: string, x: Tensor, width: number, stride: number): Tensor {
  const channels = 4 * width;
  return ctx.scope(name, () => {
    let y = convNorm(ctx, ["conv1", "bn1"], x, width, { kernel: 1 });
    y = convNorm(ctx, ["conv2", "bn2"], y, width, { kernel: 3, stride });
    y = convNorm(ctx, ["conv3", "bn3"], y, channels, { kernel: 1, relu: false });
    const same = stride === 1 && x.shape[3] === channels;
    const short = same
      ? x
      : convNorm(ctx, ["downsample/0", "downsample/1"], x, channels, { kernel: 1, stride, relu: false });
    return y.add(short).relu();
  });
}

function resNetForward(config: z.output<typeof resNetSchema>, { image }: Columns, ctx: TraceContext): Tensor {
  let x = convNorm(ctx, ["conv1", "bn1"], image!, config.width, { kernel: 7, stride: 2 });
  x = maxPool2d(x, { kernel: 3, stride: 2, padding: 1 });
  for (const [stage, depth] of config.depths.entries()) {
    const width = config.width * 2 ** stage;
    for (let block = 0; block < depth; block++) {
      x = bottleneck(ctx, `layer${stage + 1}/${block}`, x, width, stage > 0 && block === 0 ? 2 : 1);
    }
  }
  return linear(ctx, "fc", globalAveragePool(x), config.classes);
}

function vggForward(config: z.output<typeof vggSchema>, { image }: Columns, ctx: TraceContext): Tensor {
  const { depths, widths, hidden, dropout: rate } = config;
  let x = image!;
  // Counted as torchvision's Sequential counts its modules: convolution, ReLU, …, pooling.
  let place = 0;
  for (const [stage, depth] of depths.entries()) {
    for (let i = 0; i < depth; i++, place += 2) {
      const init = convInit(3, widths[stage]!);
      x = conv2d(ctx, `features/${place}`, x, widths[stage]!, { kernel: 3, padding: 1, activation: "relu", init });
    }
    x = maxPool2d(x, { kernel: 2 });
    place++;
  }
  const init: Init = { kind: "normal", scale: 0.01 };
  let y = x.flatten();
  for (const i of [0, 3]) {
    y = dropout(linear(ctx, `classifier/${i}`, y, hidden, { activation: "relu", init }), { rate });
  }
  return linear(ctx, "classifier/6", y, config.classes, { init });
}

/** ResNet-50 (arXiv 1512.03385): `image` f32 [B,H,W,3] → logits [B, classes]. Other depths give its relatives. */
export const resNet50 = (options: z.input<typeof resNetSchema> = {}): Model =>
  defineModel("resNet50", "classification", resNetSchema, options, resNetForward);

/** VGG-16 (arXiv 1409.1556): `image` f32 [B,H,W,3] → logits [B, classes]; the picture's size is fixed by the first layer. */
export const vgg16 = (options: z.input<typeof vggSchema> = {}): Model =>
  defineModel("vgg16", "classification", vggSchema, options, vggForward);
