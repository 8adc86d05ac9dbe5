// The second-order term of a factorization machine (Rendle 2010) over the embeddings of a sample's fields.
import { input } from "../../kernels/expr.ts";
import { sizeOf, type TensorType } from "../ir.ts";
import { reshaped } from "./broadcast.ts";
import { expectCount, expectRank, expectShape, expectType, f32, numbers, type OpDefinition } from "./definition.ts";
import { sumOf } from "./sum.ts";

/** x [B,F,D] → y [B,1] = ½ Σ_d ((Σ_f x)² − Σ_f x²), and sum [B,D] = Σ_f x. */
export const fm: OpDefinition<"fm"> = {
  infer(inputs) {
    expectCount(inputs, 1);
    const [x] = inputs as [TensorType];
    expectType(x, "f32", "x");
    expectRank(x, 3, "x");
    return [f32(x.shape[0]!, 1), f32(x.shape[0]!, x.shape[2]!)];
  },
  gradient({ op, builder, outputGradients }) {
    const [dy, dsum] = outputGradients;
    const [x] = op.inputs as [number];
    const shape = builder.typeOf(x).shape;
    const parts: number[] = [];
    if (dy !== undefined) parts.push(...builder.emit("fm_grad", [dy, x, op.outputs[1]!], {}));
    if (dsum !== undefined) {
      const spread = reshaped(builder, dsum, [shape[0]!, 1, shape[2]!]);
      parts.push(...builder.emit("map", [spread], { exprs: [input(0)], shape }));
    }
    return [sumOf(builder, parts)];
  },
  reference({ inputs, outputs }) {
    const x = numbers(inputs[0]);
    const [y, sum] = [numbers(outputs[0]), numbers(outputs[1])];
    const [b, f, d] = inputs[0]!.shape as [number, number, number];
    for (let i = 0; i < sizeOf([b, f, d]); i++) {
      const sample = Math.floor(i / (f * d));
      sum[sample * d + (i % d)]! += x[i]!;
      y[sample]! -= 0.5 * x[i]! ** 2;
    }
    for (let i = 0; i < b * d; i++) y[Math.floor(i / d)]! += 0.5 * sum[i]! ** 2;
  },
};

/** dy [B,1], x [B,F,D], sum [B,D] → dx [B,F,D] = dy · (sum − x). */
export const fm_grad: OpDefinition<"fm_grad"> = {
  infer(inputs) {
    expectCount(inputs, 3);
    const [dy, x, sum] = inputs as [TensorType, TensorType, TensorType];
    expectRank(x, 3, "x");
    expectShape(dy, [x.shape[0]!, 1], "the gradient");
    expectShape(sum, [x.shape[0]!, x.shape[2]!], "the sum");
    return [f32(...x.shape)];
  },
  reference({ inputs, outputs }) {
    const [dy, x, sum] = [numbers(inputs[0]), numbers(inputs[1]), numbers(inputs[2])];
    const dx = numbers(outputs[0]);
    const [, f, d] = inputs[1]!.shape as [number, number, number];
    for (let i = 0; i < dx.length; i++) {
      const sample = Math.floor(i / (f * d));
      dx[i] = dy[sample]! * (sum[sample * d + (i % d)]! - x[i]!);
    }
  },
};
