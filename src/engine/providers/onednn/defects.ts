// What convolutions of oneDNN must not be asked for.
import type { ConvShape } from "../../provider.ts";
import type { Native } from "./native.ts";

/**
 * Code that gives wrong results. oneDNN 3.7 reads pairs of bf16 channels, also where the last has no partner; 2.6 leaves the
 * gradient of bf16 weights unwritten in columns of the kernel that never meet the picture.
 */
export function isWrong(implementation: string, shape: ConvShape): boolean {
  const { direction, channels, groups } = shape;
  if (direction === "weights") return implementation.includes("bf16") && hasIdleColumns(shape);
  return direction === "forward" && implementation.startsWith("jit_bf16:") && (channels / groups) % 2 === 1;
}

/** Whether a column of the kernel lies on padding wherever the window stands. */
function hasIdleColumns({ width, outWidth, kernelWidth, strideWidth, dilationWidth, padLeft }: ConvShape): boolean {
  return Array.from({ length: kernelWidth }, (_, column) => column * dilationWidth - padLeft).some((shift) => {
    const first = Math.max(0, Math.ceil(-shift / strideWidth));
    return first >= outWidth || first * strideWidth + shift >= width;
  });
}

/** Numbers of channels for which versions from 2.7 on have a way of their own to size blocks. */
const CRASHING_CHANNELS: readonly (readonly [number, number])[] = [
  [1024, 2048],
  [1024, 512],
  [256, 1024],
  [512, 1024],
  [512, 2048],
];

/**
 * Whether merely asking for the primitive may end the process: the estimate of a 1×1 convolution divides by zero for these
 * channels, all of them layers of ResNet-50 (`est_eff_1x1` in jit_brgemm_conv_utils.cpp, in 2.7 to 3.7). Gradients ask for
 * the forward primitive too, and some run as a convolution with inputs and outputs swapped.
 */
export function crashes({ version }: Pick<Native, "version">, shape: ConvShape): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (shape.kernelHeight !== 1 || shape.kernelWidth !== 1 || (major === 2 && minor < 7)) return false;
  const [inputs, outputs] = [shape.channels / shape.groups, shape.outChannels / shape.groups];
  return CRASHING_CHANNELS.some(([a, b]) => (inputs === a && outputs === b) || (inputs === b && outputs === a));
}
