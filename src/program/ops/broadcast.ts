// Broadcasting by numpy's rules: shapes align at their last axis, and an axis of length 1 repeats.

import { input } from "../../kernels/expr.ts";
import { ShapeError } from "../errors.ts";
import { type FloatType, type Shape, sameShape, type ValueId } from "../ir.ts";
import type { GradientBuilder } from "./definition.ts";

export function broadcastShapes(shapes: readonly Shape[]): Shape {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  const result: number[] = new Array(rank).fill(1);
  for (const shape of shapes) {
    for (const [i, d] of shape.entries()) {
      const axis = rank - shape.length + i;
      if (result[axis] === 1) result[axis] = d;
      else if (d !== 1 && d !== result[axis]) {
        throw new ShapeError(`shapes ${shapes.map((s) => `[${s.join(",")}]`).join(" and ")} do not broadcast`);
      }
    }
  }
  return result;
}

/** For each element of `target` (flat, row-major), the flat index of the element of `source` that it reads. */
export function broadcastIndex(source: Shape, target: Shape): (flat: number) => number {
  if (sameShape(source, target)) return (flat) => flat;
  const offset = target.length - source.length;
  const steps: { divisor: number; modulus: number; stride: number }[] = [];
  let divisor = 1;
  let stride = 1;
  for (let axis = target.length - 1; axis >= offset; axis--) {
    const d = source[axis - offset]!;
    if (d !== 1) steps.push({ divisor, modulus: d, stride });
    stride *= d;
    divisor *= target[axis]!;
  }
  return (flat) => {
    let index = 0;
    for (const step of steps) index += (Math.floor(flat / step.divisor) % step.modulus) * step.stride;
    return index;
  };
}

/** The axes of `target` along which `source` repeats. */
export function broadcastAxes(source: Shape, target: Shape): number[] {
  const offset = target.length - source.length;
  return target.flatMap((d, axis) => (axis < offset || (source[axis - offset] === 1 && d !== 1) ? [axis] : []));
}

/** A value of another shape with as many elements; the value itself where the shape is the same. */
export function reshaped(builder: GradientBuilder, id: ValueId, shape: Shape): ValueId {
  if (sameShape(builder.typeOf(id).shape, shape)) return id;
  return builder.emit("reshape", [id], { shape })[0]!;
}

/** The attribute that gives a map's outputs their types: none where all are f32. */
export const typed = (dtypes: readonly FloatType[]): { readonly dtypes?: readonly FloatType[] } =>
  dtypes.every((dtype) => dtype === "f32") ? {} : { dtypes };

/** A value as another float type; the value itself where it has that type. */
export function cast(builder: GradientBuilder, id: ValueId, dtype: FloatType): ValueId {
  if (builder.typeOf(id).dtype === dtype) return id;
  return builder.emit("map", [id], { exprs: [input(0)], ...typed([dtype]) })[0]!;
}

/** Sums a gradient of the broadcast shape back to the shape of the operand; the type stays. */
export function sumTo(builder: GradientBuilder, id: ValueId, shape: Shape): ValueId {
  const type = builder.typeOf(id);
  const axes = broadcastAxes(shape, type.shape);
  if (axes.length === 0) return reshaped(builder, id, shape);
  const [sum] = builder.emit("reduce", [id], { op: "sum", axes, keepDims: false });
  return reshaped(builder, cast(builder, sum!, type.dtype as FloatType), shape);
}

/** Repeats a value to a larger shape. */
export function broadcastTo(builder: GradientBuilder, id: ValueId, shape: Shape): ValueId {
  const type = builder.typeOf(id);
  if (sameShape(type.shape, shape)) return id;
  return builder.emit("map", [id], { exprs: [input(0)], shape, ...typed([type.dtype as FloatType]) })[0]!;
}

/** Shape with the reduced axes kept as 1. */
export const keptShape = (shape: Shape, axes: readonly number[]): number[] =>
  shape.map((d, axis) => (axes.includes(axis) ? 1 : d));
