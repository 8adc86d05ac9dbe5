// The geometry of windows that slide over pictures [B,H,W,C], which convolutions and pooling share.
import { windowedLength } from "../../engine/geometry.ts";
import { ShapeError } from "../errors.ts";
import type { Window } from "../ir.ts";

/** Of height and width. */
export type Pair = readonly [number, number];

/**
 * Height and width of what a window [height, width] gives.
 * @throws ShapeError when a setting is no integer in its range, or the window does not fit into the padded picture
 */
export function windowedSize(size: Pair, kernel: Pair, window: Window): [number, number] {
  const { stride, padding, dilation } = window;
  for (const [what, values, least] of [
    ["the window", kernel, 1],
    ["stride", stride, 1],
    ["dilation", dilation, 1],
    ["padding", padding, 0],
  ] as const) {
    if (values.some((value) => !Number.isInteger(value) || value < least)) {
      throw new ShapeError(`${what} [${values.join(",")}] needs integers of at least ${least}`);
    }
  }
  return [0, 1].map((axis) => {
    const padded = size[axis]! + padding[2 * axis]! + padding[2 * axis + 1]!;
    const extent = dilation[axis]! * (kernel[axis]! - 1) + 1;
    if (extent > padded) {
      throw new ShapeError(
        `the window [${kernel.join(",")}] with dilation [${dilation.join(",")}] does not fit into a picture of ` +
          `[${size.join(",")}] with padding [${padding.join(",")}]`,
      );
    }
    return windowedLength(size[axis]!, kernel[axis]!, window, axis as 0 | 1);
  }) as [number, number];
}

/**
 * Calls `visit` with every pair of a place of the output and the place of the picture below an element of its window;
 * places in the padding are left out. `element` counts the window row by row.
 */
export function overWindows(
  size: Pair,
  out: Pair,
  kernel: Pair,
  { stride, padding, dilation }: Window,
  visit: (outPlace: number, place: number, element: number) => void,
): void {
  for (let oy = 0; oy < out[0]; oy++) {
    for (let ox = 0; ox < out[1]; ox++) {
      for (let ky = 0; ky < kernel[0]; ky++) {
        const y = oy * stride[0] - padding[0] + ky * dilation[0];
        if (y < 0 || y >= size[0]) continue;
        for (let kx = 0; kx < kernel[1]; kx++) {
          const x = ox * stride[1] - padding[2] + kx * dilation[1];
          if (x >= 0 && x < size[1]) visit(oy * out[1] + ox, y * size[1] + x, ky * kernel[1] + kx);
        }
      }
    }
  }
}
