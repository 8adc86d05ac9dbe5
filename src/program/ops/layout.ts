// Ops that move elements without arithmetic: reshape, concat, slice, pad, transpose.
import { ShapeError } from "../errors.ts";
import { type Shape, sizeOf, type TensorType } from "../ir.ts";
import { elements, expectAxis, expectCount, type NdArray, type OpDefinition } from "./definition.ts";

const withAxis = (shape: Shape, axis: number, d: number): number[] => shape.map((old, i) => (i === axis ? d : old));

/** Shape as [outer, the axis, inner]. */
export function around(shape: Shape, axis: number): [number, number, number] {
  return [sizeOf(shape.slice(0, axis)), shape[axis]!, sizeOf(shape.slice(axis + 1))];
}

/** Copies `count` entries along an axis from `from` at `start` to `to` at `at`. */
function copyAlong(axis: number, from: NdArray, start: number, to: NdArray, at: number, count: number): void {
  const [outer, fromLength, inner] = around(from.shape, axis);
  const toLength = to.shape[axis]!;
  for (let o = 0; o < outer; o++) {
    const source = (o * fromLength + start) * inner;
    const target = (o * toLength + at) * inner;
    for (let i = 0; i < count * inner; i++) elements(to)[target + i] = elements(from)[source + i]!;
  }
}

export const reshape: OpDefinition<"reshape"> = {
  infer(inputs, { shape }) {
    expectCount(inputs, 1);
    const [x] = inputs as [TensorType];
    if (shape.some((d) => !Number.isInteger(d) || d < 0) || sizeOf(shape) !== sizeOf(x.shape)) {
      throw new ShapeError(`${sizeOf(x.shape)} elements do not make the shape [${shape.join(",")}]`);
    }
    return [{ shape, dtype: x.dtype }];
  },
  gradient({ op, builder, outputGradients }) {
    return builder.emit("reshape", [outputGradients[0]!], { shape: builder.typeOf(op.inputs[0]!).shape });
  },
  reference({ inputs, outputs }) {
    elements(outputs[0]!).set(elements(inputs[0]!));
  },
};

export const concat: OpDefinition<"concat"> = {
  infer(inputs, { axis }) {
    const [first] = inputs;
    if (first === undefined) throw new ShapeError("takes at least one input");
    expectAxis(axis, first.shape.length);
    for (const type of inputs) {
      const fits =
        type.shape.length === first.shape.length && type.shape.every((d, i) => i === axis || d === first.shape[i]);
      if (!fits || type.dtype !== first.dtype) throw new ShapeError(`inputs differ in more than axis ${axis}`);
    }
    const total = inputs.reduce((sum, type) => sum + type.shape[axis]!, 0);
    return [{ shape: withAxis(first.shape, axis, total), dtype: first.dtype }];
  },
  gradient({ op, builder, outputGradients, needs }) {
    const { axis } = op.attrs;
    let start = 0;
    return op.inputs.map((id, i) => {
      const end = start + builder.typeOf(id).shape[axis]!;
      const gradient = needs[i] ? builder.emit("slice", [outputGradients[0]!], { axis, start, end })[0] : undefined;
      start = end;
      return gradient;
    });
  },
  reference({ attrs, inputs, outputs }) {
    let at = 0;
    for (const array of inputs) {
      const length = array.shape[attrs.axis]!;
      copyAlong(attrs.axis, array, 0, outputs[0]!, at, length);
      at += length;
    }
  },
};

export const slice: OpDefinition<"slice"> = {
  infer(inputs, { axis, start, end }) {
    expectCount(inputs, 1);
    const [x] = inputs as [TensorType];
    expectAxis(axis, x.shape.length);
    if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || start > end || end > x.shape[axis]!) {
      throw new ShapeError(`[${start}, ${end}) is not a range of axis ${axis}, of length ${x.shape[axis]}`);
    }
    return [{ shape: withAxis(x.shape, axis, end - start), dtype: x.dtype }];
  },
  gradient({ op, builder, outputGradients }) {
    const { axis, start, end } = op.attrs;
    const after = builder.typeOf(op.inputs[0]!).shape[axis]! - end;
    return builder.emit("pad", [outputGradients[0]!], { axis, before: start, after });
  },
  reference({ attrs, inputs, outputs }) {
    copyAlong(attrs.axis, inputs[0]!, attrs.start, outputs[0]!, 0, attrs.end - attrs.start);
  },
};

export const pad: OpDefinition<"pad"> = {
  infer(inputs, { axis, before, after }) {
    expectCount(inputs, 1);
    const [x] = inputs as [TensorType];
    expectAxis(axis, x.shape.length);
    if (!Number.isInteger(before) || !Number.isInteger(after) || before < 0 || after < 0) {
      throw new ShapeError(`cannot pad by ${before} and ${after}`);
    }
    return [{ shape: withAxis(x.shape, axis, before + x.shape[axis]! + after), dtype: x.dtype }];
  },
  gradient({ op, builder, outputGradients }) {
    const { axis, before } = op.attrs;
    const end = before + builder.typeOf(op.inputs[0]!).shape[axis]!;
    return builder.emit("slice", [outputGradients[0]!], { axis, start: before, end });
  },
  reference({ attrs, inputs, outputs }) {
    copyAlong(attrs.axis, inputs[0]!, 0, outputs[0]!, attrs.before, inputs[0]!.shape[attrs.axis]!);
  },
};

export const transpose: OpDefinition<"transpose"> = {
  infer(inputs, { perm }) {
    expectCount(inputs, 1);
    const [x] = inputs as [TensorType];
    const sorted = [...perm].sort((a, b) => a - b);
    if (perm.length !== x.shape.length || sorted.some((axis, i) => axis !== i)) {
      throw new ShapeError(`[${perm.join(",")}] does not permute ${x.shape.length} axes`);
    }
    return [{ shape: perm.map((axis) => x.shape[axis]!), dtype: x.dtype }];
  },
  gradient({ op, builder, outputGradients }) {
    return builder.emit("transpose", [outputGradients[0]!], {
      perm: op.attrs.perm.map((_, i) => op.attrs.perm.indexOf(i)),
    });
  },
  reference({ attrs, inputs, outputs }) {
    const [x, out] = [inputs[0]!, outputs[0]!];
    const strides = x.shape.map((_, axis) => sizeOf(x.shape.slice(axis + 1)));
    for (let i = 0; i < out.data.length; i++) {
      let rest = i;
      let source = 0;
      for (let axis = out.shape.length - 1; axis >= 0; axis--) {
        source += (rest % out.shape[axis]!) * strides[attrs.perm[axis]!]!;
        rest = Math.floor(rest / out.shape[axis]!);
      }
      elements(out)[i] = elements(x)[source]!;
    }
  },
};
