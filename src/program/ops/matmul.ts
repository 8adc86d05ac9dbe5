// Matrix product with an optional bias and activation: op(A) [M,K] · op(B) [K,N] (+ bias [N]) → [M,N].
import { type Expr, gt, input, mul, select, sub } from "../../kernels/expr.ts";
import { ShapeError } from "../errors.ts";
import type { Activation, TensorType } from "../ir.ts";
import { expectCount, expectRank, expectShape, expectType, f32, numbers, type OpDefinition } from "./definition.ts";

export const matmul: OpDefinition<"matmul"> = {
  infer(inputs, { transposeA, transposeB }) {
    expectCount(inputs, 2, 3);
    const [a, b, bias] = inputs as [TensorType, TensorType, TensorType?];
    for (const [type, what] of [
      [a, "the left operand"],
      [b, "the right operand"],
    ] as const) {
      expectType(type, "f32", what);
      expectRank(type, 2, what);
    }
    const [m, k] = ordered(a.shape, transposeA);
    const [kb, n] = ordered(b.shape, transposeB);
    if (k !== kb) throw new ShapeError(`inner dimensions differ: ${k} and ${kb}`);
    if (bias !== undefined) expectShape(bias, [n], "the bias");
    return [f32(m, n)];
  },

  gradient({ op, builder, outputGradients, needs }) {
    const { transposeA, transposeB, activation } = op.attrs;
    const [a, b, bias] = op.inputs as [number, number, number?];
    let dy = outputGradients[0]!;
    if (activation !== undefined) {
      [dy] = builder.emit("map", [dy, op.outputs[0]!], { exprs: [activationGradient[activation]] }) as [number];
    }
    const product = (x: number, y: number, tx: boolean, ty: boolean): number =>
      builder.emit("matmul", [x, y], { transposeA: tx, transposeB: ty })[0]!;
    const da = (): number => (transposeA ? product(b, dy, transposeB, true) : product(dy, b, false, !transposeB));
    const db = (): number => (transposeB ? product(dy, a, true, transposeA) : product(a, dy, !transposeA, false));
    const dbias = (): number => builder.emit("reduce", [dy], { op: "sum", axes: [0], keepDims: false })[0]!;
    const gradients = [needs[0] ? da() : undefined, needs[1] ? db() : undefined];
    return bias === undefined ? gradients : [...gradients, needs[2] ? dbias() : undefined];
  },

  reference({ attrs, inputs, outputs }) {
    const [a, b] = [numbers(inputs[0]), numbers(inputs[1])];
    const out = numbers(outputs[0]);
    const [m, k] = ordered(inputs[0]!.shape, attrs.transposeA);
    const n = outputs[0]!.shape[1]!;
    const activate = attrs.activation === undefined ? (x: number) => x : activationReference[attrs.activation];
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = inputs[2] === undefined ? 0 : numbers(inputs[2])[j]!;
        for (let p = 0; p < k; p++) {
          sum += a[attrs.transposeA ? p * m + i : i * k + p]! * b[attrs.transposeB ? j * k + p : p * n + j]!;
        }
        out[i * n + j] = activate(sum);
      }
    }
  },
};

const ordered = (shape: readonly number[], transposed: boolean): [number, number] =>
  transposed ? [shape[1]!, shape[0]!] : [shape[0]!, shape[1]!];

const activationReference: Readonly<Record<Activation, (x: number) => number>> = {
  relu: (x) => Math.max(x, 0),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  tanh: Math.tanh,
};

/** The gradient before the activation from the gradient (input 0) and the output (input 1) after it. */
const activationGradient: Readonly<Record<Activation, Expr>> = {
  relu: select(gt(input(1), 0), input(0), 0),
  sigmoid: mul(input(0), mul(input(1), sub(1, input(1)))),
  tanh: mul(input(0), sub(1, mul(input(1), input(1)))),
};
