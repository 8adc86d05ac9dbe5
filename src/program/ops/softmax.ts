// Softmax over the last axis, and the cross-entropy of logits against integer labels.
import { ShapeError } from "../errors.ts";
import type { TensorType, ValueId } from "../ir.ts";
import { expectCount, expectRank, expectShape, expectType, f32, numbers, type OpDefinition } from "./definition.ts";
import { sumOf } from "./sum.ts";

export const softmax: OpDefinition<"softmax"> = {
  infer(inputs) {
    expectCount(inputs, 1);
    const [x] = inputs as [TensorType];
    expectType(x, "f32", "the logits");
    if (x.shape.length === 0) throw new ShapeError("a scalar has no last axis");
    return [f32(...x.shape)];
  },
  gradient({ op, builder, outputGradients }) {
    return builder.emit("softmax_grad", [outputGradients[0]!, op.outputs[0]!], {});
  },
  reference({ inputs, outputs }) {
    softmaxRows(numbers(inputs[0]), numbers(outputs[0]), inputs[0]!.shape.at(-1)!);
  },
};

/** dy, y → dx = y · (dy − Σ dy·y). */
export const softmax_grad: OpDefinition<"softmax_grad"> = {
  infer(inputs) {
    expectCount(inputs, 2);
    const [dy, y] = inputs as [TensorType, TensorType];
    expectShape(dy, y.shape, "the gradient");
    return [f32(...y.shape)];
  },
  reference({ inputs, outputs }) {
    const [dy, y, dx] = [numbers(inputs[0]), numbers(inputs[1]), numbers(outputs[0])];
    const n = inputs[1]!.shape.at(-1)!;
    for (let row = 0; row < y.length; row += n) {
      let dot = 0;
      for (let j = row; j < row + n; j++) dot += dy[j]! * y[j]!;
      for (let j = row; j < row + n; j++) dx[j] = y[j]! * (dy[j]! - dot);
    }
  },
};

/** logits [B,C], labels i32 [B] → loss [B], probabilities [B,C]. */
export const softmax_cross_entropy: OpDefinition<"softmax_cross_entropy"> = {
  infer(inputs) {
    expectCount(inputs, 2);
    const [logits, labels] = inputs as [TensorType, TensorType];
    expectRank(logits, 2, "the logits");
    expectType(logits, "f32", "the logits");
    expectType(labels, "i32", "the labels");
    expectShape(labels, [logits.shape[0]!], "the labels");
    return [f32(logits.shape[0]!), f32(...logits.shape)];
  },
  gradient({ op, builder, outputGradients }) {
    const [dloss, dprobabilities] = outputGradients;
    const [, probabilities] = op.outputs as [ValueId, ValueId];
    const parts: ValueId[] = [];
    if (dloss !== undefined) {
      parts.push(...builder.emit("softmax_cross_entropy_grad", [dloss, probabilities, op.inputs[1]!], {}));
    }
    if (dprobabilities !== undefined) {
      parts.push(...builder.emit("softmax_grad", [dprobabilities, probabilities], {}));
    }
    return [sumOf(builder, parts), undefined];
  },
  reference({ inputs, outputs }) {
    const [logits, labels] = [numbers(inputs[0]), numbers(inputs[1])];
    const [loss, probabilities] = [numbers(outputs[0]), numbers(outputs[1])];
    const n = inputs[0]!.shape[1]!;
    softmaxRows(logits, probabilities, n);
    for (let b = 0; b < loss.length; b++) {
      const row = logits.subarray(b * n, (b + 1) * n);
      const top = Math.max(...row);
      const logSum = Math.log(row.reduce((sum, x) => sum + Math.exp(x - top), 0));
      loss[b] = logSum - (row[labels[b]!]! - top);
    }
  },
};

/** dloss [B], probabilities [B,C], labels [B] → dlogits [B,C] = dloss · (probabilities − onehot). */
export const softmax_cross_entropy_grad: OpDefinition<"softmax_cross_entropy_grad"> = {
  infer(inputs) {
    expectCount(inputs, 3);
    const [dloss, probabilities, labels] = inputs as [TensorType, TensorType, TensorType];
    expectRank(probabilities, 2, "the probabilities");
    expectShape(dloss, [probabilities.shape[0]!], "the gradient");
    expectShape(labels, [probabilities.shape[0]!], "the labels");
    expectType(labels, "i32", "the labels");
    return [f32(...probabilities.shape)];
  },
  reference({ inputs, outputs }) {
    const [dloss, probabilities, labels] = [numbers(inputs[0]), numbers(inputs[1]), numbers(inputs[2])];
    const dlogits = numbers(outputs[0]);
    const n = inputs[1]!.shape[1]!;
    for (let i = 0; i < dlogits.length; i++) {
      const b = Math.floor(i / n);
      dlogits[i] = dloss[b]! * (probabilities[i]! - (i % n === labels[b]! ? 1 : 0));
    }
  },
};

function softmaxRows(x: Float64Array, y: Float64Array, n: number): void {
  for (let row = 0; row < x.length; row += n) {
    const top = Math.max(...x.subarray(row, row + n));
    let sum = 0;
    for (let j = row; j < row + n; j++) sum += y[j] = Math.exp(x[j]! - top);
    for (let j = row; j < row + n; j++) y[j]! /= sum;
  }
}
