// Matrix product with an optional bias and activation: op(A) [M,K] · op(B) [K,N] (+ bias [N]) → [M,N].
import { ShapeError } from "../errors.ts";
import type { FloatType, TensorType } from "../ir.ts";
import { activationGradient, activationReference } from "./activation.ts";
import { typed } from "./broadcast.ts";
import { expectCount, expectFloat, expectRank, expectShape, numbers, type OpDefinition } from "./definition.ts";
import { stores } from "./map.ts";

export const matmul: OpDefinition<"matmul"> = {
  infer(inputs, { transposeA, transposeB, dtype = "f32" }) {
    expectCount(inputs, 2, 3);
    const [a, b, bias] = inputs as [TensorType, TensorType, TensorType?];
    for (const [type, what] of [
      [a, "the left operand"],
      [b, "the right operand"],
    ] as const) {
      expectFloat(type, what);
      expectRank(type, 2, what);
    }
    const [m, k] = ordered(a.shape, transposeA);
    const [kb, n] = ordered(b.shape, transposeB);
    if (k !== kb) throw new ShapeError(`inner dimensions differ: ${k} and ${kb}`);
    if (bias !== undefined) expectShape(bias, [n], "the bias");
    return [{ shape: [m, n], dtype }];
  },

  gradient({ op, builder, outputGradients, needs }) {
    const { transposeA, transposeB, activation } = op.attrs;
    const [a, b, bias] = op.inputs as [number, number, number?];
    let dy = outputGradients[0]!;
    const typeOf = (id: number): FloatType => builder.typeOf(id).dtype as FloatType;
    if (activation !== undefined) {
      const attrs = { exprs: [activationGradient[activation]], ...typed([typeOf(dy)]) };
      [dy] = builder.emit("map", [dy, op.outputs[0]!], attrs) as [number];
    }
    // A gradient has the type of its operand.
    const product = (x: number, y: number, tx: boolean, ty: boolean, of: number): number => {
      const dtype = typeOf(of);
      const attrs = { transposeA: tx, transposeB: ty, ...(dtype === "f32" ? {} : { dtype }) };
      return builder.emit("matmul", [x, y], attrs)[0]!;
    };
    const da = (): number => (transposeA ? product(b, dy, transposeB, true, a) : product(dy, b, false, !transposeB, a));
    const db = (): number => (transposeB ? product(dy, a, true, transposeA, b) : product(a, dy, !transposeA, false, b));
    const dbias = (): number => builder.emit("reduce", [dy], { op: "sum", axes: [0], keepDims: false })[0]!;
    // What reads dy and a comes first, while they are in the cache; the gradient of a may then take a's place.
    const biasGradient = bias !== undefined && needs[2] ? dbias() : undefined;
    const right = needs[1] ? db() : undefined;
    const left = needs[0] ? da() : undefined;
    return bias === undefined ? [left, right] : [left, right, biasGradient];
  },

  reference({ attrs, inputs, outputs }) {
    const [a, b] = [numbers(inputs[0]), numbers(inputs[1])];
    const out = numbers(outputs[0]);
    const [m, k] = ordered(inputs[0]!.shape, attrs.transposeA);
    const n = outputs[0]!.shape[1]!;
    const activate = attrs.activation === undefined ? (x: number) => x : activationReference[attrs.activation];
    const stored = stores(attrs.dtype);
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = inputs[2] === undefined ? 0 : numbers(inputs[2])[j]!;
        for (let p = 0; p < k; p++) {
          sum += a[attrs.transposeA ? p * m + i : i * k + p]! * b[attrs.transposeB ? j * k + p : p * n + j]!;
        }
        out[i * n + j] = stored(activate(sum));
      }
    }
  },
};

const ordered = (shape: readonly number[], transposed: boolean): [number, number] =>
  transposed ? [shape[1]!, shape[0]!] : [shape[0]!, shape[1]!];
