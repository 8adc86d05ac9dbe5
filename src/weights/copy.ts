// Numbers from one order of axes to another, tile by tile so that both sides stay in the cache. Runs once a file.
import type { Shape } from "../program/ir.ts";

export interface Strided {
  readonly data: Float32Array;
  /** Of the first element. */
  readonly offset: number;
  /** Elements from one index of each axis to the next. */
  readonly strides: readonly number[];
}

const TILE = 32;

/** Row-major strides. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  for (let axis = shape.length - 1, step = 1; axis >= 0; axis--) {
    strides[axis] = step;
    step *= shape[axis]!;
  }
  return strides;
}

/** Copies the elements of `shape` between places that both sides give by strides. */
export function copyStrided(shape: Shape, from: Strided, to: Strided): void {
  if (shape.includes(0)) return;
  const axes = shape
    .map((size, axis) => ({ size, from: from.strides[axis]!, to: to.strides[axis]! }))
    .filter(({ size }) => size > 1)
    .sort((a, b) => b.from - a.from);
  const fast = axes.pop() ?? { size: 1, from: 1, to: 1 };
  const [near] = axes.toSorted((a, b) => a.to - b.to);
  const along = near === undefined || near.to > fast.to ? { size: 1, from: 0, to: 0 } : near;
  const outer = axes.filter((axis) => axis !== along);
  const copy = (source: number, target: number): void => {
    if (along.size === 1 && fast.from === 1 && fast.to === 1) {
      to.data.set(from.data.subarray(source, source + fast.size), target);
      return;
    }
    for (let i0 = 0; i0 < fast.size; i0 += TILE) {
      const i1 = Math.min(i0 + TILE, fast.size);
      for (let j0 = 0; j0 < along.size; j0 += TILE) {
        const j1 = Math.min(j0 + TILE, along.size);
        for (let i = i0; i < i1; i++) {
          for (let j = j0; j < j1; j++) {
            to.data[target + i * fast.to + j * along.to] = from.data[source + i * fast.from + j * along.from]!;
          }
        }
      }
    }
  };
  const walk = (depth: number, source: number, target: number): void => {
    const axis = outer[depth];
    if (axis === undefined) copy(source, target);
    else for (let i = 0; i < axis.size; i++) walk(depth + 1, source + i * axis.from, target + i * axis.to);
  };
  walk(0, from.offset, to.offset);
}
