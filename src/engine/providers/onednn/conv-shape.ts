// What the rules for ways to convolve ask about a shape.
import type { ConvShape } from "../../provider.ts";

export const isF32 = ({ types }: ConvShape): boolean => Object.values(types).every((type) => type === "f32");

export const isStrided = ({ strideHeight, strideWidth }: ConvShape): boolean => strideHeight > 1 || strideWidth > 1;

/** Whether a matrix product can do it: products have no groups, and no sum for the bias's gradient. */
export const allowsProducts = ({ groups, direction, bias }: ConvShape): boolean =>
  groups === 1 && !(direction === "weights" && bias);

/** How many weights there are for each number in x and y, as far as windows meet x: many where pictures are small. */
export function weightShare(shape: ConvShape): number {
  const { kernelHeight, kernelWidth, channels, outChannels, batch, outHeight, outWidth } = shape;
  const weights = kernelHeight * kernelWidth * channels * outChannels;
  return weights / (batch * outHeight * outWidth * (channels + outChannels));
}
