// A tensor in blocks along the first axis of its view, so that no more than a few megabytes of it are copied at a time.
import type { Shape } from "../program/ir.ts";
import { stridesOf } from "./copy.ts";
import type { Layout } from "./layout.ts";

const BLOCK_ELEMENTS = 1 << 22;

export interface Block {
  readonly shape: Shape;
  /** Place of its first number in the tensor as PyTorch lays it out. */
  readonly first: number;
  readonly elements: number;
  /** Where its first number stands among ours, and how far apart ours are along the block's axes. */
  readonly offset: number;
  readonly strides: readonly number[];
}

export function* blocksOf({ view, perm }: Layout): Generator<Block> {
  // A scalar is a vector of one.
  const shape = view.length === 0 ? [1] : view;
  const order = view.length === 0 ? [0] : perm;
  const ours = stridesOf(order.map((axis) => shape[axis]!));
  const strides = new Array<number>(shape.length);
  for (const [i, axis] of order.entries()) strides[axis] = ours[i]!;
  const [rows, ...row] = shape as [number, ...number[]];
  const size = row.reduce((a, b) => a * b, 1);
  const step = Math.max(1, Math.floor(BLOCK_ELEMENTS / Math.max(1, size)));
  for (let at = 0; at < rows && size > 0; at += step) {
    const taken = Math.min(step, rows - at);
    const place = { first: at * size, elements: taken * size, offset: at * strides[0]! };
    yield { shape: [taken, ...row], strides, ...place };
  }
}
