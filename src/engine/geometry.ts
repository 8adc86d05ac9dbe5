// Where elements lie: strides of permuted tensors and sizes of what sliding windows give. Pure arithmetic, unchecked.
import { sizeOf } from "./tensor.ts";

/** A shape with its axes in the order of `perm`. */
export const permuted = (shape: readonly number[], perm: readonly number[] | undefined): readonly number[] =>
  perm === undefined ? shape : perm.map((axis) => shape[axis]!);

/** The permutation that undoes `perm`. */
export const inverse = (perm: readonly number[]): number[] => perm.map((_, axis) => perm.indexOf(axis));

/** Strides in elements of the transpose by `perm` of a dense tensor of `shape`. */
export function stridesOf(shape: readonly number[], perm?: readonly number[]): number[] {
  const strides = shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
  return perm === undefined ? strides : perm.map((axis) => strides[axis]!);
}

/** How windows slide over pictures, by height and width; padding is top, bottom, left, right. */
export type Window = {
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number, number, number];
  /** Distance of neighbouring elements of the window; 1 = dense. */
  readonly dilation: readonly [number, number];
};

/** Length of an axis [height 0, width 1] after a window of `kernel` elements slid over `size`. */
export function windowedLength(size: number, kernel: number, window: Window, axis: 0 | 1): number {
  const padded = size + window.padding[2 * axis]! + window.padding[2 * axis + 1]!;
  return Math.floor((padded - window.dilation[axis] * (kernel - 1) - 1) / window.stride[axis]) + 1;
}
