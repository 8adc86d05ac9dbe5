// Convolutions of few channels a group by kernels of their own, which read the pictures as they lie; all operands f32.
import { bytesOf } from "../../plan.ts";
import type { ConvAddresses, ConvShape, Work } from "../../provider.ts";
import { padded, runAll } from "./half.ts";

/** Exports of grouped.as.ts. */
export type GroupedKernels = Record<"convolve" | "convolveWeights" | "exchange", (...args: number[]) => void>;

/** Of a vector. */
const LANES = 4;
/** From this many channels and results a group on, copies of the windows and matrix products are faster (measured). */
const FEW = 16;

const weightBytes = (s: ConvShape): number =>
  (bytesOf.f32 * s.kernelHeight * s.kernelWidth * s.channels * s.outChannels) / s.groups;

const isDepthwise = (s: ConvShape): boolean => s.channels === s.groups && s.outChannels === s.groups;

/** The input gradient reads weights with inputs and results of each group exchanged; of one channel both are the same. */
const exchanges = (s: ConvShape): boolean => s.direction === "input" && !isDepthwise(s);

/** Whether `groupedConv` can, and is the faster way. */
export function suitsGroups(s: ConvShape): boolean {
  const { groups, direction } = s;
  const isInput = direction === "input";
  // Where both are greater, the pixels that a stride meets are no plain row.
  const isRegular = Math.min(s.strideHeight, s.dilationHeight) === 1 && Math.min(s.strideWidth, s.dilationWidth) === 1;
  if (groups === 1 || (isInput && !isRegular)) return false;
  if (isDepthwise(s)) return groups >= LANES;
  const [channels, results] = [s.channels / groups, s.outChannels / groups];
  return (isInput ? channels : results) % LANES === 0 && Math.min(channels, results) < FEW;
}

/** For shapes that it suits. */
export function groupedConv({ convolve, convolveWeights, exchange }: GroupedKernels): Work<ConvShape, ConvAddresses> {
  return {
    scratchBytes: (s) => (exchanges(s) ? padded(weightBytes(s)) : 0),
    bind(s, { x, w, y, bias = 0, scratch }) {
      const { direction, batch, groups } = s;
      const picture = [s.height, s.width, s.channels] as const;
      const result = [s.outHeight, s.outWidth, s.outChannels] as const;
      const window = [
        ...([s.kernelHeight, s.kernelWidth, s.strideHeight, s.strideWidth] as const),
        ...([s.dilationHeight, s.dilationWidth, s.padTop, s.padLeft, groups] as const),
      ];
      if (direction === "weights") return () => convolveWeights(x, w, y, batch, ...picture, ...result, ...window);
      if (direction === "forward") {
        const relu = Number(s.activation === "relu");
        return () => convolve(x, w, y, bias, relu, 0, batch, ...picture, ...result, ...window);
      }
      const weights = exchanges(s) ? scratch : w;
      const gradient = (): void => convolve(y, weights, x, 0, 0, 1, batch, ...result, ...picture, ...window);
      if (weights === w) return gradient;
      const taps = s.kernelHeight * s.kernelWidth;
      return runAll([() => exchange(w, weights, taps, s.channels / groups, s.outChannels / groups, groups), gradient]);
    },
  };
}
