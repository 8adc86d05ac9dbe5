// Matrix products of a batch: a [.., M, K] · b [.., K, N] with the same leading axes, each operand and the result possibly
// stored with its axes in another order.
import { inverse, permuted, stridesOf } from "../../engine/geometry.ts";
import { ShapeError } from "../errors.ts";
import { type FloatType, type OpAttrs, type Shape, sameShape, sizeOf, type TensorType, type ValueId } from "../ir.ts";
import { expectCount, expectFloat, numbers, type OpDefinition } from "./definition.ts";
import { stores } from "./map.ts";

type Attrs = OpAttrs["batch_matmul"];

export interface BatchProduct {
  readonly batch: Shape;
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** What is multiplied, of operands as they are stored. @throws ShapeError */
export function batchProduct(a: Shape, b: Shape, attrs: Attrs): BatchProduct {
  for (const [what, shape, perm] of [
    ["the left operand", a, attrs.permA],
    ["the right operand", b, attrs.permB],
    ["the result", a, attrs.permC],
  ] as const) {
    if (shape.length < 2) throw new ShapeError(`${what} must have rank 2 or more, got [${shape}]`);
    if (perm !== undefined && (perm.length !== shape.length || perm.some((_, axis) => !perm.includes(axis)))) {
      throw new ShapeError(`[${perm}] does not permute the ${shape.length} axes of ${what}`);
    }
  }
  const [left, right] = [permuted(a, attrs.permA), permuted(b, attrs.permB)];
  const [batch, other] = [left.slice(0, -2), right.slice(0, -2)];
  if (!sameShape(batch, other)) throw new ShapeError(`leading axes differ: [${batch}] and [${other}]`);
  const [m, k] = lastTwo(left, attrs.transposeA);
  const [inner, n] = lastTwo(right, attrs.transposeB);
  if (k !== inner) throw new ShapeError(`inner dimensions differ: ${k} and ${inner}`);
  return { batch, m, n, k };
}

const lastTwo = (shape: Shape, transposed: boolean): [number, number] => {
  const [rows, columns] = shape.slice(-2) as [number, number];
  return transposed ? [columns, rows] : [rows, columns];
};

export const batch_matmul: OpDefinition<"batch_matmul"> = {
  infer(inputs, attrs) {
    expectCount(inputs, 2);
    const [a, b] = inputs as [TensorType, TensorType];
    expectFloat(a, "the left operand");
    expectFloat(b, "the right operand");
    const { batch, m, n } = batchProduct(a.shape, b.shape, attrs);
    const logical = [...batch, m, n];
    const shape = attrs.permC === undefined ? logical : permuted(logical, inverse(attrs.permC));
    return [{ shape, dtype: attrs.dtype ?? "f32" }];
  },

  gradient({ op, builder, outputGradients, needs }) {
    const { transposeA, transposeB, permA, permB, permC } = op.attrs;
    const [a, b] = op.inputs as [ValueId, ValueId];
    const dy = outputGradients[0]!;
    const product = (
      x: { readonly id: ValueId; readonly transpose: boolean; readonly perm: readonly number[] | undefined },
      y: typeof x,
      of: { readonly id: ValueId; readonly perm: readonly number[] | undefined },
    ): ValueId => {
      const dtype = builder.typeOf(of.id).dtype as FloatType;
      return builder.emit("batch_matmul", [x.id, y.id], {
        transposeA: x.transpose,
        transposeB: y.transpose,
        ...(x.perm === undefined ? {} : { permA: x.perm }),
        ...(y.perm === undefined ? {} : { permB: y.perm }),
        ...(of.perm === undefined ? {} : { permC: of.perm }),
        ...(dtype === "f32" ? {} : { dtype }),
      })[0]!;
    };
    const left = (transpose: boolean) => ({ id: a, transpose, perm: permA });
    const right = (transpose: boolean) => ({ id: b, transpose, perm: permB });
    const grad = (transpose: boolean) => ({ id: dy, transpose, perm: permC });
    return [
      needs[0]
        ? transposeA
          ? product(right(transposeB), grad(true), left(false))
          : product(grad(false), right(!transposeB), left(false))
        : undefined,
      needs[1]
        ? transposeB
          ? product(grad(true), left(transposeA), right(false))
          : product(left(!transposeA), grad(false), right(false))
        : undefined,
    ];
  },

  reference({ attrs, inputs, outputs }) {
    const [a, b] = [inputs[0]!, inputs[1]!];
    const { batch, m, n, k } = batchProduct(a.shape, b.shape, attrs);
    const [x, y, out] = [numbers(a), numbers(b), numbers(outputs[0])];
    const xs = stridesOf(a.shape, attrs.permA);
    const ys = stridesOf(b.shape, attrs.permB);
    const zs = stridesOf(outputs[0]!.shape, attrs.permC);
    const rank = batch.length;
    const stored = stores(attrs.dtype);
    const at = (strides: readonly number[], flat: number): number => {
      let rest = flat;
      let offset = 0;
      for (let axis = rank - 1; axis >= 0; axis--) {
        offset += (rest % batch[axis]!) * strides[axis]!;
        rest = Math.floor(rest / batch[axis]!);
      }
      return offset;
    };
    const [xRow, xColumn] = attrs.transposeA ? [xs[rank + 1]!, xs[rank]!] : [xs[rank]!, xs[rank + 1]!];
    const [yRow, yColumn] = attrs.transposeB ? [ys[rank + 1]!, ys[rank]!] : [ys[rank]!, ys[rank + 1]!];
    for (let g = 0; g < sizeOf(batch); g++) {
      const [x0, y0, z0] = [at(xs, g), at(ys, g), at(zs, g)];
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          let sum = 0;
          for (let p = 0; p < k; p++) sum += x[x0 + i * xRow + p * xColumn]! * y[y0 + p * yRow + j * yColumn]!;
          out[z0 + i * zs[rank]! + j * zs[rank + 1]!] = stored(sum);
        }
      }
    }
  },
};
