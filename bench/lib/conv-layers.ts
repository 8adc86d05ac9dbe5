// Layers of convolution nets in the directions of training, and for each the plain product with the same arithmetic: what a
// provider would reach if windows came for nothing.
import type { ConvShape } from "../../src/engine/provider.ts";
import type { MatmulCase } from "../../src/engine/providers/contract.ts";

export interface ConvLayer {
  readonly title: string;
  readonly shape: ConvShape;
  /** Undefined where groups leave no product of a size worth comparing. */
  readonly product: MatmulCase | undefined;
}

interface Layer {
  readonly title: string;
  /** Height and width of the picture. */
  readonly size: number;
  readonly channels: number;
  readonly outChannels?: number;
  readonly kernel?: number;
  readonly stride?: number;
  readonly groups?: number;
}

const BATCH = 2;

/** Those of ResNet-50, MobileNet and ResNeXt, from few channels of many pixels to many of few. */
const layers: readonly Layer[] = [
  { title: "3×3, 64 → 64 of 56²", size: 56, channels: 64 },
  { title: "3×3, 128 → 128 of 28²", size: 28, channels: 128 },
  { title: "3×3, 256 → 256 of 14²", size: 14, channels: 256 },
  { title: "3×3, 512 → 512 of 7²", size: 7, channels: 512 },
  { title: "3×3 / 2, 128 → 128 of 56²", size: 56, channels: 128, stride: 2 },
  { title: "1×1, 64 → 256 of 56²", size: 56, channels: 64, outChannels: 256, kernel: 1 },
  { title: "7×7 / 2, 3 → 64 of 224²", size: 224, channels: 3, outChannels: 64, kernel: 7, stride: 2 },
  { title: "3×3 depthwise, 32 of 112²", size: 112, channels: 32, groups: 32 },
  { title: "3×3 depthwise, 512 of 14²", size: 14, channels: 512, groups: 512 },
  { title: "3×3 of 32 groups, 128 → 128 of 56²", size: 56, channels: 128, groups: 32 },
];

/** Whether the layer is one that the goals are set for. */
export const isPlain3x3 = ({ shape }: ConvLayer): boolean =>
  shape.kernelHeight === 3 && shape.strideHeight === 1 && shape.groups === 1;

export const convLayers: readonly ConvLayer[] = layers.flatMap((layer) =>
  (["forward", "input", "weights"] as const).map((direction) => {
    const shape = shapeOf(layer, direction);
    return { title: `${layer.title}, ${direction}`, shape, product: productOf(shape) };
  }),
);

function shapeOf(layer: Layer, direction: ConvShape["direction"]): ConvShape {
  const { size, channels, outChannels = channels, kernel = 3, stride = 1, groups = 1 } = layer;
  const padding = (kernel - 1) / 2;
  const outSize = Math.floor((size + 2 * padding - kernel) / stride) + 1;
  return {
    ...{ direction, batch: BATCH, height: size, width: size, channels, groups, bias: false },
    ...{ outHeight: outSize, outWidth: outSize, outChannels, kernelHeight: kernel, kernelWidth: kernel },
    ...{ strideHeight: stride, strideWidth: stride, dilationHeight: 1, dilationWidth: 1 },
    ...{ padTop: padding, padLeft: padding, types: { x: "f32", w: "f32", y: "f32" } },
  };
}

function productOf({ direction, groups, ...s }: ConvShape): MatmulCase | undefined {
  if (groups > 1) return undefined;
  const pixels = s.batch * s.outHeight * s.outWidth;
  const window = s.kernelHeight * s.kernelWidth * s.channels;
  switch (direction) {
    case "forward":
      return { m: pixels, n: s.outChannels, k: window };
    case "input":
      return { m: pixels, n: window, k: s.outChannels, transposeB: true };
    case "weights":
      return { m: window, n: s.outChannels, k: pixels, transposeA: true };
    default:
      return direction satisfies never;
  }
}
