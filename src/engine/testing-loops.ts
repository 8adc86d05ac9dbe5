// For tests: the work of providers as plain float64 loops, the twin that everything fast is held against.
import { stridesOf } from "./geometry.ts";
import type { Activation, ConvShape, MatmulShape, NormShape, PoolShape } from "./provider.ts";
import { sizeOf } from "./tensor.ts";

/** Operands by name; functions read some and overwrite others. */
type Numbers<Name extends string> = Readonly<Record<Name, Float64Array>>;

export const activate: Readonly<Record<Activation, (x: number) => number>> = {
  relu: (x) => Math.max(x, 0),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  tanh: Math.tanh,
};

/** y, x or w from the other two, by direction; `bias` is added to y, or is the sum of dy. */
export function convolve(s: ConvShape, { x, w, y, bias }: Numbers<"x" | "w" | "y"> & { bias?: Float64Array }): void {
  const { direction, groups, channels, outChannels } = s;
  const [perGroup, outPerGroup] = [channels / groups, outChannels / groups];
  if (direction === "forward") for (let i = 0; i < y.length; i++) y[i] = bias?.[i % outChannels] ?? 0;
  else (direction === "input" ? x : w).fill(0);
  forEachTap(s, (outPlace, place, tap) => {
    for (let o = 0; o < outChannels; o++) {
      const yi = outPlace * outChannels + o;
      const from = place * channels + Math.floor(o / outPerGroup) * perGroup;
      for (let c = 0; c < perGroup; c++) {
        const wi = (tap * perGroup + c) * outChannels + o;
        if (direction === "forward") y[yi]! += x[from + c]! * w[wi]!;
        else if (direction === "input") x[from + c]! += y[yi]! * w[wi]!;
        else w[wi]! += x[from + c]! * y[yi]!;
      }
    }
  });
  if (s.activation !== undefined) for (let i = 0; i < y.length; i++) y[i] = activate[s.activation](y[i]!);
  if (direction !== "weights" || bias === undefined) return;
  bias.fill(0);
  for (let i = 0; i < y.length; i++) bias[i % outChannels]! += y[i]!;
}

/** y (and places) from x, or x from y (and places). */
export function pool(s: PoolShape, { x, y, places }: Numbers<"x" | "y"> & { places?: Float64Array }): void {
  const forward = s.direction === "forward";
  (forward ? y : x).fill(forward && s.mode === "max" ? Number.NEGATIVE_INFINITY : 0);
  const counts = new Float64Array(s.batch * s.outHeight * s.outWidth);
  const dense = { ...s, dilationHeight: 1, dilationWidth: 1 };
  forEachTap(dense, (outPlace) => {
    counts[outPlace]!++;
  });
  if (s.countPadding) counts.fill(s.kernelHeight * s.kernelWidth);
  forEachTap(dense, (outPlace, place, tap) => {
    for (let c = 0; c < s.channels; c++) {
      const [xi, yi] = [place * s.channels + c, outPlace * s.channels + c];
      if (s.mode === "average") {
        if (forward) y[yi]! += x[xi]! / counts[outPlace]!;
        else x[xi]! += y[yi]! / counts[outPlace]!;
      } else if (!forward) {
        if (places![yi] === tap) x[xi]! += y[yi]!;
      } else if (x[xi]! > y[yi]! || Number.isNaN(x[xi])) {
        y[yi] = x[xi]!;
        if (places !== undefined) places[yi] = tap;
      }
    }
  });
}

type Windows = Pick<
  ConvShape,
  | ("batch" | "height" | "width" | "outHeight" | "outWidth" | "kernelHeight" | "kernelWidth")
  | ("strideHeight" | "strideWidth" | "dilationHeight" | "dilationWidth" | "padTop" | "padLeft")
>;

/** Each pixel of the result with each pixel under its window and the place in the window, all counted row by row. */
function forEachTap(s: Windows, visit: (outPlace: number, place: number, tap: number) => void): void {
  for (let row = 0; row < s.batch * s.outHeight; row++) {
    const [b, oy] = [Math.floor(row / s.outHeight), row % s.outHeight];
    for (let ox = 0; ox < s.outWidth; ox++) {
      for (let tap = 0; tap < s.kernelHeight * s.kernelWidth; tap++) {
        const iy = oy * s.strideHeight - s.padTop + Math.floor(tap / s.kernelWidth) * s.dilationHeight;
        const ix = ox * s.strideWidth - s.padLeft + (tap % s.kernelWidth) * s.dilationWidth;
        if (iy < 0 || iy >= s.height || ix < 0 || ix >= s.width) continue;
        visit(row * s.outWidth + ox, (b * s.height + iy) * s.width + ix, tap);
      }
    }
  }
}

/** Where the statistics of element i lie, where its gamma lies, and over how many elements statistics go. */
function axesOf({ axis, rows, columns }: NormShape) {
  const [row, column] = [(i: number): number => Math.floor(i / columns), (i: number): number => i % columns];
  return axis === "layer"
    ? { group: row, scale: column, count: columns }
    : { group: column, scale: column, count: rows };
}

export type NormOperand = "x" | "y" | "gamma" | "beta" | "mean" | "rstd" | "dx" | "dgamma" | "dbeta";

/** y, mean and rstd from x, gamma and beta. */
export function normalize(s: NormShape, { x, y, gamma, beta, mean, rstd }: Numbers<NormOperand>): void {
  const { group, scale, count } = axesOf(s);
  mean.fill(0);
  rstd.fill(0);
  for (let i = 0; i < x.length; i++) mean[group(i)]! += x[i]! / count;
  for (let i = 0; i < x.length; i++) rstd[group(i)]! += (x[i]! - mean[group(i)]!) ** 2 / count;
  for (let i = 0; i < rstd.length; i++) rstd[i] = 1 / Math.sqrt(rstd[i]! + s.epsilon);
  for (let i = 0; i < x.length; i++) {
    y[i] = (x[i]! - mean[group(i)]!) * rstd[group(i)]! * gamma[scale(i)]! + beta[scale(i)]!;
  }
}

/** dx, dgamma and dbeta from dy (as y), x, gamma, mean and rstd. */
export function normalizeGradient(s: NormShape, of: Numbers<NormOperand>): void {
  const { x, y: dy, gamma, mean, rstd, dx, dgamma, dbeta } = of;
  const { group, scale, count } = axesOf(s);
  const normalized = x.map((value, i) => (value - mean[group(i)]!) * rstd[group(i)]!);
  const scaled = dy.map((value, i) => value * gamma[scale(i)]!);
  const [sums, products] = [new Float64Array(mean.length), new Float64Array(mean.length)];
  dgamma.fill(0);
  dbeta.fill(0);
  for (let i = 0; i < x.length; i++) {
    sums[group(i)]! += scaled[i]! / count;
    products[group(i)]! += (scaled[i]! * normalized[i]!) / count;
    dgamma[scale(i)]! += dy[i]! * normalized[i]!;
    dbeta[scale(i)]! += dy[i]!;
  }
  for (let i = 0; i < x.length; i++) {
    dx[i] = rstd[group(i)]! * (scaled[i]! - sums[group(i)]! - normalized[i]! * products[group(i)]!);
  }
}

/** Strides of the operands of a product along [...batch, rows, columns], given or those of dense matrices. */
export function matmulStrides(s: MatmulShape): Readonly<Record<"a" | "b" | "c", readonly number[]>> {
  const { m, n, k, batch = [], transposeA, transposeB, strides } = s;
  const dense = (rows: number, columns: number, transposed: boolean): number[] => {
    const list = stridesOf([...batch, ...(transposed ? [columns, rows] : [rows, columns])]);
    return transposed ? [...list.slice(0, -2), ...list.slice(-2).reverse()] : list;
  };
  return strides ?? { a: dense(m, k, transposeA), b: dense(k, n, transposeB), c: dense(m, n, false) };
}

/** How many elements each operand of a product reaches over. */
export function matmulExtents(s: MatmulShape): Readonly<Record<"a" | "b" | "c", number>> {
  const { m, n, k, batch = [] } = s;
  const strides = matmulStrides(s);
  const extent = (name: "a" | "b" | "c", ...matrix: number[]): number => {
    const shape = [...batch, ...matrix];
    if (sizeOf(shape) === 0) return 0;
    return 1 + strides[name].reduce((sum, stride, axis) => sum + stride * (shape[axis]! - 1), 0);
  };
  return { a: extent("a", m, k), b: extent("b", k, n), c: extent("c", m, n) };
}

/** c from a and b, for each entry of a batch. */
export function multiply(s: MatmulShape, { a, b, c, bias }: Numbers<"a" | "b" | "c"> & { bias?: Float64Array }): void {
  const { m, n, k, batch = [], activation, accumulate } = s;
  const strides = matmulStrides(s);
  const of = (name: "a" | "b" | "c", index: readonly number[]): number =>
    index.reduce((sum, i, axis) => sum + i * strides[name][axis]!, 0);
  for (let entry = 0; entry < sizeOf(batch); entry++) {
    const index = stridesOf(batch).map((stride, axis) => Math.floor(entry / stride) % batch[axis]!);
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        const at = of("c", [...index, i, j]);
        const [row, column] = [of("a", [...index, i, 0]), of("b", [...index, 0, j])];
        const [stepA, stepB] = [strides.a.at(-1)!, strides.b.at(-2)!];
        let sum = accumulate ? c[at]! : (bias?.[j] ?? 0);
        for (let p = 0; p < k; p++) sum += a[row + p * stepA]! * b[column + p * stepB]!;
        c[at] = activation === undefined ? sum : activate[activation](sum);
      }
    }
  }
}
