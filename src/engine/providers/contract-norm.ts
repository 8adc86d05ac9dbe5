// What every provider must fulfil in layer and batch norm and their gradients.
import type { Heap } from "../../memory/index.ts";
import type { NormAddresses, NormShape, Provider } from "../provider.ts";
import { type NormOperand, normalize, normalizeGradient } from "../testing-loops.ts";
import { normOperands } from "../testing-plain.ts";
import { checkWork, type Numbers, text } from "./contract-work.ts";

/** How far numbers lie from 0 on average, in standard deviations: a variance from E[x²] − E[x]² would lose digits here. */
const OFFSET = 3;

/** @throws where the provider breaks the contract. */
export function checkNorm(heap: Heap, provider: Provider, shape: NormShape, seed = 1): Uint8Array[] {
  const forward = shape.direction === "forward";
  return checkWork(heap, provider, {
    ...{ what: text("norm", shape), operands: normOperands(shape), seed },
    fill: { x: (random) => OFFSET + 2 * random() - 1, mean: () => OFFSET, rstd: (random) => 0.5 + random() },
    scratchBytes: ({ norm }) => norm.scratchBytes(shape),
    bind: ({ norm }, at, scratch) => norm.bind(shape, { ...(at as unknown as NormAddresses), ...scratch }),
    expect: (numbers) => (forward ? normalize : normalizeGradient)(shape, numbers as Record<NormOperand, Float64Array>),
    magnitudes: (numbers) => magnitudes(shape, numbers as Record<NormOperand, Float64Array>),
  });
}

function magnitudes(shape: NormShape, numbers: Record<NormOperand, Float64Array>): void {
  const { x, y, gamma, beta, mean, rstd, dx, dgamma, dbeta } = numbers;
  const ofGroup = (i: number): number => (shape.axis === "layer" ? Math.floor(i / shape.columns) : i % shape.columns);
  if (shape.direction === "forward") {
    normalize(shape, numbers);
    x.forEach((value, i) => {
      const [center, scale] = [mean[ofGroup(i)]!, rstd[ofGroup(i)]!];
      // What the difference loses, and what that does to the variance.
      const lost = (Math.abs(value) + Math.abs(center)) * scale * (1 + Math.abs(value - center) * scale);
      y[i] = lost * Math.abs(gamma[i % shape.columns]!) + Math.abs(beta[i % shape.columns]!);
    });
    rstd.forEach((scale, i) => {
      rstd[i] = scale * (1 + 2 * Math.abs(mean[i]!) * scale);
    });
    return;
  }
  // (|x| + |mean|) · rstd in place of x̂, and a sum of all terms in place of their difference.
  const positive = (values: Float64Array): Float64Array => values.map(Math.abs);
  const all: Numbers = { x: positive(x), y: positive(y), gamma: positive(gamma), mean: mean.map((m) => -Math.abs(m)) };
  const sized = { ...numbers, ...all } as Record<NormOperand, Float64Array>;
  normalizeGradient(shape, { ...sized, dx, dgamma, dbeta });
  // dx = rstd·(g − s) for sums s ≥ 0: g + s = 2g − (g − s).
  dx.forEach((value, i) => {
    dx[i] = 2 * rstd[ofGroup(i)]! * sized.y[i]! * sized.gamma[i % shape.columns]! - value;
  });
}
