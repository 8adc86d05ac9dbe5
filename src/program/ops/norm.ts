// Layer normalisation (arXiv 1607.06450) over the last axis and batch normalisation (arXiv 1502.03167) over the rows.
import { ShapeError } from "../errors.ts";
import type { FloatType, TensorType, ValueId } from "../ir.ts";
import {
  expectCount,
  expectFloat,
  expectRank,
  expectShape,
  f32,
  type GradientBuilder,
  type GradientRequest,
  type NdArray,
  numbers,
  type OpDefinition,
} from "./definition.ts";
import { stores } from "./map.ts";

/** x [..,N], gamma [N], beta [N] → y, mean [..], rstd [..]: y = (x − mean) · rstd · gamma + beta, rstd = 1/√(variance + epsilon). */
export const layer_norm: OpDefinition<"layer_norm"> = {
  infer(inputs, { dtype = "f32" }) {
    expectCount(inputs, 3);
    const [x, gamma, beta] = inputs as [TensorType, TensorType, TensorType];
    expectFloat(x, "x");
    if (x.shape.length === 0) throw new ShapeError("a scalar has no last axis");
    const width = x.shape.slice(-1);
    expectShape(gamma, width, "gamma");
    expectShape(beta, width, "beta");
    const rows = x.shape.slice(0, -1);
    return [{ shape: x.shape, dtype }, f32(...rows), f32(...rows)];
  },
  gradient(request) {
    const { op, builder } = request;
    const dy = onlyFirst(request);
    const [x, gamma] = op.inputs as [ValueId, ValueId];
    return builder.emit("layer_norm_grad", [dy, x, gamma, op.outputs[1]!, op.outputs[2]!], typedAs(builder, x));
  },
  reference({ attrs, inputs, outputs }) {
    const [x, gamma, beta] = [numbers(inputs[0]), numbers(inputs[1]), numbers(inputs[2])];
    const [y, mean, rstd] = [numbers(outputs[0]), numbers(outputs[1]), numbers(outputs[2])];
    const n = gamma.length;
    const stored = stores(attrs.dtype);
    for (const r of mean.keys()) {
      const row = x.subarray(r * n, (r + 1) * n);
      const m = row.reduce((sum, v) => sum + v, 0) / n;
      const variance = row.reduce((sum, v) => sum + (v - m) ** 2, 0) / n;
      mean[r] = m;
      rstd[r] = 1 / Math.sqrt(variance + attrs.epsilon);
      for (const [j, v] of row.entries()) y[r * n + j] = stored((v - m) * rstd[r]! * gamma[j]! + beta[j]!);
    }
  },
};

/** dy, x, gamma, mean, rstd → dx, dgamma, dbeta. */
export const layer_norm_grad: OpDefinition<"layer_norm_grad"> = {
  infer(inputs, { dtype = "f32" }) {
    expectCount(inputs, 5);
    const [dy, x, gamma, mean, rstd] = inputs as [TensorType, TensorType, TensorType, TensorType, TensorType];
    expectShape(dy, x.shape, "the gradient");
    expectShape(gamma, x.shape.slice(-1), "gamma");
    expectShape(mean, x.shape.slice(0, -1), "the mean");
    expectShape(rstd, x.shape.slice(0, -1), "rstd");
    return [{ shape: x.shape, dtype }, f32(...gamma.shape), f32(...gamma.shape)];
  },
  reference({ attrs, inputs, outputs }) {
    const [dy, x, gamma, mean, rstd] = inputs.map(numbers) as [
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const [dx, dgamma, dbeta] = outputs.map(numbers) as [Float64Array, Float64Array, Float64Array];
    const n = gamma.length;
    const stored = stores(attrs.dtype);
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
        dx[r * n + j] = stored(rstd[r]! * (g - sumG / n - (normal(j) * sumGX) / n));
      }
    }
  },
};

/**
 * x [..,N], gamma, beta, runningMean, runningVariance [N], with x [B,N] optionally weight [B] → y, mean [N], rstd [N]; in
 * inference only y. Every place counts as a row. Rows of weight 0 are padding: they are normalised, but do not count in the
 * statistics; every other row counts once.
 * Training takes the batch's statistics and writes, in place, running ← momentum · running + (1 − momentum) · batch. The
 * batch's own variance divides by the count, the running one takes the unbiased estimate, count / (count − 1) times that,
 * as PyTorch does. A batch of padding alone leaves the running values, and momentum 1 leaves them too.
 */
export const batch_norm: OpDefinition<"batch_norm"> = {
  infer(inputs, { training, dtype = "f32" }) {
    expectCount(inputs, 5, 6);
    const [x, gamma, beta, mean, variance, weight] = inputs as [
      TensorType,
      TensorType,
      TensorType,
      TensorType,
      TensorType,
      TensorType?,
    ];
    expectFloat(x, "x");
    const n = channelsOf(x, weight);
    for (const [type, what] of [
      [gamma, "gamma"],
      [beta, "beta"],
      [mean, "the running mean"],
      [variance, "the running variance"],
    ] as const) {
      expectShape(type, [n], what);
    }
    const y: TensorType = { shape: x.shape, dtype };
    return training ? [y, f32(n), f32(n)] : [y];
  },
  gradient(request) {
    const { op, builder } = request;
    if (!op.attrs.training) throw new ShapeError("batch_norm was traced for inference and has no gradient");
    const dy = onlyFirst(request);
    const [x, gamma] = op.inputs as [ValueId, ValueId];
    const inputs = [dy, x, gamma, op.outputs[1]!, op.outputs[2]!, ...op.inputs.slice(5)];
    return builder.emit("batch_norm_grad", inputs, typedAs(builder, x));
  },
  writes: ({ training }) => (training ? [3, 4] : []),
  reference({ attrs, inputs, outputs }) {
    const [x, gamma, beta, runningMean, runningVariance] = inputs.map(numbers) as [
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const n = gamma.length;
    const b = x.length / n;
    const y = numbers(outputs[0]);
    const stored = stores(attrs.dtype);
    const weight = weightOf(inputs[5], b);
    const count = countRows(weight);
    for (let j = 0; j < n; j++) {
      let mean = runningMean[j]!;
      let variance = runningVariance[j]!;
      if (attrs.training) {
        mean = sumRows(b, weight, (i) => x[i * n + j]!) / Math.max(count, 1);
        variance = sumRows(b, weight, (i) => (x[i * n + j]! - mean) ** 2) / Math.max(count, 1);
        numbers(outputs[1])[j] = mean;
        numbers(outputs[2])[j] = 1 / Math.sqrt(variance + attrs.epsilon);
        if (count > 0) {
          const unbiased = (variance * count) / Math.max(count - 1, 1);
          runningMean[j] = attrs.momentum * runningMean[j]! + (1 - attrs.momentum) * mean;
          runningVariance[j] = attrs.momentum * runningVariance[j]! + (1 - attrs.momentum) * unbiased;
        }
      }
      const scale = gamma[j]! / Math.sqrt(variance + attrs.epsilon);
      for (let i = 0; i < b; i++) y[i * n + j] = stored((x[i * n + j]! - mean) * scale + beta[j]!);
    }
  },
};

/** dy, x, gamma, mean, rstd, optionally weight → dx, dgamma, dbeta. */
export const batch_norm_grad: OpDefinition<"batch_norm_grad"> = {
  infer(inputs, { dtype = "f32" }) {
    expectCount(inputs, 5, 6);
    const [dy, x, gamma, mean, rstd, weight] = inputs as [
      TensorType,
      TensorType,
      TensorType,
      TensorType,
      TensorType,
      TensorType?,
    ];
    expectFloat(dy, "the gradient");
    const n = channelsOf(x, weight);
    expectShape(dy, x.shape, "the gradient");
    expectShape(gamma, [n], "gamma");
    expectShape(mean, [n], "the mean");
    expectShape(rstd, [n], "rstd");
    return [{ shape: x.shape, dtype }, f32(n), f32(n)];
  },
  reference({ attrs, inputs, outputs }) {
    const [dy, x, gamma, mean, rstd] = inputs.map(numbers) as [
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const [dx, dgamma, dbeta] = outputs.map(numbers) as [Float64Array, Float64Array, Float64Array];
    const n = gamma.length;
    const b = x.length / n;
    const stored = stores(attrs.dtype);
    const weight = weightOf(inputs[5], b);
    const count = Math.max(countRows(weight), 1);
    for (let j = 0; j < n; j++) {
      const normal = (i: number): number => (x[i * n + j]! - mean[j]!) * rstd[j]!;
      for (let i = 0; i < b; i++) {
        dgamma[j]! += dy[i * n + j]! * normal(i);
        dbeta[j]! += dy[i * n + j]!;
      }
      for (let i = 0; i < b; i++) {
        // A padding row does not move the statistics, so nothing flows back through them.
        const throughStatistics = weight[i] === 0 ? 0 : (dbeta[j]! + normal(i) * dgamma[j]!) / count;
        dx[i * n + j] = stored(gamma[j]! * rstd[j]! * (dy[i * n + j]! - throughStatistics));
      }
    }
  },
};

/** The length of the last axis; a weight goes with matrices only. */
function channelsOf(x: TensorType, weight: TensorType | undefined): number {
  if (x.shape.length < 2) throw new ShapeError(`x must have rank 2 or more, got [${x.shape.join(",")}]`);
  if (weight !== undefined) {
    expectRank(x, 2, "x with weights of rows");
    expectShape(weight, x.shape.slice(0, 1), "the weight");
  }
  return x.shape.at(-1)!;
}

const weightOf = (weight: NdArray | undefined, rows: number): Float64Array =>
  weight === undefined ? new Float64Array(rows).fill(1) : numbers(weight);

/** The attribute for a gradient of the type of its operand. */
function typedAs(builder: GradientBuilder, id: ValueId): { readonly dtype?: FloatType } {
  const { dtype } = builder.typeOf(id);
  return dtype === "f32" ? {} : { dtype: dtype as FloatType };
}

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
