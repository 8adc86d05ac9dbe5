// Layer normalisation (arXiv 1607.06450) over the last axis and batch normalisation (arXiv 1502.03167) over the rows.
import { ShapeError } from "../errors.ts";
import type { Shape, TensorType, ValueId } from "../ir.ts";
import {
  expectCount,
  expectRank,
  expectShape,
  expectType,
  f32,
  type GradientRequest,
  numbers,
  type OpDefinition,
} from "./definition.ts";

/** x [..,N], gamma [N], beta [N] → y, mean [..], rstd [..]: y = (x − mean) · rstd · gamma + beta, rstd = 1/√(variance + epsilon). */
export const layer_norm: OpDefinition<"layer_norm"> = {
  infer(inputs) {
    expectCount(inputs, 3);
    const [x, gamma, beta] = inputs as [TensorType, TensorType, TensorType];
    expectType(x, "f32", "x");
    if (x.shape.length === 0) throw new ShapeError("a scalar has no last axis");
    const width = x.shape.slice(-1);
    expectShape(gamma, width, "gamma");
    expectShape(beta, width, "beta");
    const rows = x.shape.slice(0, -1);
    return [f32(...x.shape), f32(...rows), f32(...rows)];
  },
  gradient(request) {
    const { op, builder } = request;
    const dy = onlyFirst(request);
    const [x, gamma] = op.inputs as [ValueId, ValueId];
    return builder.emit("layer_norm_grad", [dy, x, gamma, op.outputs[1]!, op.outputs[2]!], {});
  },
  reference({ attrs, inputs, outputs }) {
    const [x, gamma, beta] = [numbers(inputs[0]), numbers(inputs[1]), numbers(inputs[2])];
    const [y, mean, rstd] = [numbers(outputs[0]), numbers(outputs[1]), numbers(outputs[2])];
    const n = gamma.length;
    for (const r of mean.keys()) {
      const row = x.subarray(r * n, (r + 1) * n);
      const m = row.reduce((sum, v) => sum + v, 0) / n;
      const variance = row.reduce((sum, v) => sum + (v - m) ** 2, 0) / n;
      mean[r] = m;
      rstd[r] = 1 / Math.sqrt(variance + attrs.epsilon);
      for (const [j, v] of row.entries()) y[r * n + j] = (v - m) * rstd[r]! * gamma[j]! + beta[j]!;
    }
  },
};

/** dy, x, gamma, mean, rstd → dx, dgamma, dbeta. */
export const layer_norm_grad: OpDefinition<"layer_norm_grad"> = {
  infer(inputs) {
    expectCount(inputs, 5);
    const [dy, x, gamma, mean, rstd] = inputs as [TensorType, TensorType, TensorType, TensorType, TensorType];
    expectShape(dy, x.shape, "the gradient");
    expectShape(gamma, x.shape.slice(-1), "gamma");
    expectShape(mean, x.shape.slice(0, -1), "the mean");
    expectShape(rstd, x.shape.slice(0, -1), "rstd");
    return [f32(...x.shape), f32(...gamma.shape), f32(...gamma.shape)];
  },
  reference({ inputs, outputs }) {
    const [dy, x, gamma, mean, rstd] = inputs.map(numbers) as [
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const [dx, dgamma, dbeta] = outputs.map(numbers) as [Float64Array, Float64Array, Float64Array];
    const n = gamma.length;
    for (const r of mean.keys()) {
      let sumG = 0;
      let sumGX = 0;
      const normal = (j: number): number => (x[r * n + j]! - mean[r]!) * rstd[r]!;
      for (let j = 0; j < n; j++) {
        const g = dy[r * n + j]! * gamma[j]!;
        sumG += g;
        sumGX += g * normal(j);
        dgamma[j]! += dy[r * n + j]! * normal(j);
        dbeta[j]! += dy[r * n + j]!;
      }
      for (let j = 0; j < n; j++) {
        const g = dy[r * n + j]! * gamma[j]!;
        dx[r * n + j] = rstd[r]! * (g - sumG / n - (normal(j) * sumGX) / n);
      }
    }
  },
};

/**
 * x [B,N], gamma, beta, runningMean, runningVariance [N], weight [B] → y, mean [N], rstd [N]; in inference only y.
 * Rows of weight 0 are padding: they are normalised, but do not count in the statistics; every other row counts once.
 * Training takes the batch's statistics and writes, in place, running ← momentum · running + (1 − momentum) · batch,
 * the variance being the batch's own (divided by the count). A batch of padding alone leaves the running values, and so
 * does momentum 1: the same batch may be normalised again.
 */
export const batch_norm: OpDefinition<"batch_norm"> = {
  infer(inputs, { training }) {
    expectCount(inputs, 6);
    const [x, gamma, beta, mean, variance, weight] = inputs as [
      TensorType,
      TensorType,
      TensorType,
      TensorType,
      TensorType,
      TensorType,
    ];
    expectType(x, "f32", "x");
    expectRank(x, 2, "x");
    const [b, n] = x.shape as [number, number];
    for (const [type, what] of [
      [gamma, "gamma"],
      [beta, "beta"],
      [mean, "the running mean"],
      [variance, "the running variance"],
    ] as const) {
      expectShape(type, [n], what);
    }
    expectShape(weight, [b], "the weight");
    return training ? [f32(b, n), f32(n), f32(n)] : [f32(b, n)];
  },
  gradient(request) {
    const { op, builder } = request;
    if (!op.attrs.training) throw new ShapeError("batch_norm was traced for inference and has no gradient");
    const dy = onlyFirst(request);
    const [x, gamma] = op.inputs as [ValueId, ValueId];
    return builder.emit("batch_norm_grad", [dy, x, gamma, op.outputs[1]!, op.outputs[2]!, op.inputs[5]!], {});
  },
  writes: ({ training, momentum }) => (training && momentum !== 1 ? [3, 4] : []),
  reference({ attrs, inputs, outputs }) {
    const [x, gamma, beta, runningMean, runningVariance, weight] = inputs.map(numbers) as Float64Array[];
    const [b, n] = inputs[0]!.shape as [number, number];
    const y = numbers(outputs[0]);
    const count = countRows(weight!);
    for (let j = 0; j < n; j++) {
      let mean = runningMean![j]!;
      let variance = runningVariance![j]!;
      if (attrs.training) {
        mean = sumRows(b, weight!, (i) => x![i * n + j]!) / Math.max(count, 1);
        variance = sumRows(b, weight!, (i) => (x![i * n + j]! - mean) ** 2) / Math.max(count, 1);
        numbers(outputs[1])[j] = mean;
        numbers(outputs[2])[j] = 1 / Math.sqrt(variance + attrs.epsilon);
        if (count > 0) {
          runningMean![j] = attrs.momentum * runningMean![j]! + (1 - attrs.momentum) * mean;
          runningVariance![j] = attrs.momentum * runningVariance![j]! + (1 - attrs.momentum) * variance;
        }
      }
      const scale = gamma![j]! / Math.sqrt(variance + attrs.epsilon);
      for (let i = 0; i < b; i++) y[i * n + j] = (x![i * n + j]! - mean) * scale + beta![j]!;
    }
  },
};

/** dy, x, gamma, mean, rstd, weight → dx, dgamma, dbeta. */
export const batch_norm_grad: OpDefinition<"batch_norm_grad"> = {
  infer(inputs) {
    expectCount(inputs, 6);
    const [dy, x, gamma, mean, rstd, weight] = inputs as [
      TensorType,
      TensorType,
      TensorType,
      TensorType,
      TensorType,
      TensorType,
    ];
    expectRank(x, 2, "x");
    const width: Shape = x.shape.slice(1);
    expectShape(dy, x.shape, "the gradient");
    expectShape(gamma, width, "gamma");
    expectShape(mean, width, "the mean");
    expectShape(rstd, width, "rstd");
    expectShape(weight, x.shape.slice(0, 1), "the weight");
    return [f32(...x.shape), f32(...width), f32(...width)];
  },
  reference({ inputs, outputs }) {
    const [dy, x, gamma, mean, rstd, weight] = inputs.map(numbers) as Float64Array[];
    const [dx, dgamma, dbeta] = outputs.map(numbers) as [Float64Array, Float64Array, Float64Array];
    const [b, n] = inputs[1]!.shape as [number, number];
    const count = Math.max(countRows(weight!), 1);
    for (let j = 0; j < n; j++) {
      const normal = (i: number): number => (x![i * n + j]! - mean![j]!) * rstd![j]!;
      for (let i = 0; i < b; i++) {
        dgamma[j]! += dy![i * n + j]! * normal(i);
        dbeta[j]! += dy![i * n + j]!;
      }
      for (let i = 0; i < b; i++) {
        // A padding row does not move the statistics, so nothing flows back through them.
        const throughStatistics = weight![i] === 0 ? 0 : (dbeta[j]! + normal(i) * dgamma[j]!) / count;
        dx[i * n + j] = gamma![j]! * rstd![j]! * (dy![i * n + j]! - throughStatistics);
      }
    }
  },
};

const countRows = (weight: Float64Array): number => weight.reduce((count, w) => count + (w === 0 ? 0 : 1), 0);

const sumRows = (rows: number, weight: Float64Array, at: (row: number) => number): number => {
  let sum = 0;
  for (let i = 0; i < rows; i++) if (weight[i] !== 0) sum += at(i);
  return sum;
};

function onlyFirst(request: GradientRequest<"layer_norm"> | GradientRequest<"batch_norm">): ValueId {
  const [dy, ...statistics] = request.outputGradients;
  if (dy === undefined || statistics.some((gradient) => gradient !== undefined)) {
    throw new ShapeError("the mean and rstd of a normalisation have no gradient; use its first output");
  }
  return dy;
}
