// exp, log and their kin as SIMD instructions in f32: range reduction, then the polynomials of Moshier's Cephes library.
// No tables and no fused multiply-add, so that every machine gives the same bits. Largest errors against float64, over a
// dense sample of every f32 magnitude (transcendental.test.ts): see each function.
import type { Graph, NodeId } from "./graph.ts";
import { simd } from "./wasm.ts";

// ln 2 in two parts: a multiple of the first by a small integer is exact in f32.
const LN2_HIGH = 0.693359375;
const LN2_LOW = -2.1219444e-4;
// Adding 1.5 · 2^23 rounds to an integer, which then stands in the low bits of the sum.
const ROUNDING = 12582912;
const ROUNDING_BITS = 0x4b400000;
const SQRT_HALF_BITS = 0x3f3504f3;
const MANTISSA_BITS = 0x7fffff;
const SIGN_BIT = 0x80000000;

const EXP = [1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1];
const LOG = [
  7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
  2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
];

/** -ln(1 - erf x) / x, negated, on [0, 3.95]: a weighted minimax fit, for a relative error of 4e-8 in erf. */
const ERF = [
  -4.0708022e-5, 3.8100124e-4, -1.2517481e-3, -2.0571436e-4, 1.9321715e-2, -1.0281441e-1, -6.3661647e-1, -1.1283792,
];

const CDF_P = 0.33;
const CDF = [0.044992153, -0.218714495, 0.328957837, -0.0882681438, 0.181140721, 0.119223716, 0.132668212];

/** Horner's scheme, the highest coefficient first. */
const polynomial = (g: Graph, x: NodeId, [first, ...rest]: readonly number[]): NodeId =>
  rest.reduce((sum, coefficient) => g.op(simd.add, g.op(simd.mul, sum, x), g.f32(coefficient)), g.f32(first!));

/** `x` between two constants; NaN stays NaN. */
const clamp = (g: Graph, x: NodeId, low: number, high: number): NodeId =>
  g.op(simd.pmin, g.op(simd.pmax, x, g.f32(low)), g.f32(high));

/** x = n · ln 2 + r with |r| ≤ ln 2 / 2: n as i32, and e^r - 1. */
const reduceExp = (g: Graph, x: NodeId): { exponent: NodeId; expm1: NodeId } => {
  const shifted = g.op(simd.add, g.op(simd.mul, x, g.f32(Math.LOG2E)), g.f32(ROUNDING));
  const n = g.op(simd.sub, shifted, g.f32(ROUNDING));
  const high = g.op(simd.sub, x, g.op(simd.mul, n, g.f32(LN2_HIGH)));
  const r = g.op(simd.sub, high, g.op(simd.mul, n, g.f32(LN2_LOW)));
  const curve = g.op(simd.mul, polynomial(g, r, EXP), g.op(simd.mul, r, r));
  return { exponent: g.op(simd.i32Sub, shifted, g.bits(ROUNDING_BITS)), expm1: g.op(simd.add, curve, r) };
};

/** 2^n for an i32 from -127 (0) to 128 (infinity). */
const powerOfTwo = (g: Graph, n: NodeId): NodeId => g.shift(simd.shl, g.op(simd.i32Add, n, g.bits(127)), 23);

/** e^x: at most 1.0 ulp; gradual underflow, overflow to infinity. */
export function exp(g: Graph, x: NodeId): NodeId {
  const { exponent, expm1 } = reduceExp(g, clamp(g, x, -104, 88.8));
  // Two steps reach the subnormal numbers and infinity, for which no single power of two exists.
  const half = g.shift(simd.shrS, exponent, 1);
  const y = g.op(simd.mul, g.op(simd.add, expm1, g.f32(1)), powerOfTwo(g, half));
  return g.op(simd.mul, y, powerOfTwo(g, g.op(simd.i32Sub, exponent, half)));
}

/** 1 / (1 + e^-x): at most 2.4 ulp; 0 where the result would be below 2^-127.5. */
export function sigmoid(g: Graph, x: NodeId): NodeId {
  const { exponent, expm1 } = reduceExp(g, clamp(g, g.op(simd.neg, x), -40, 88.8));
  const y = g.op(simd.mul, g.op(simd.add, expm1, g.f32(1)), powerOfTwo(g, exponent));
  return g.op(simd.div, g.f32(1), g.op(simd.add, y, g.f32(1)));
}

/** tanh x = (e^2|x| - 1) / (e^2|x| + 1) with the sign of x: at most 2.5 ulp. */
export function tanh(g: Graph, x: NodeId): NodeId {
  const magnitude = g.op(simd.abs, x);
  const doubled = g.op(simd.pmin, g.op(simd.add, magnitude, magnitude), g.f32(20));
  const { exponent, expm1 } = reduceExp(g, doubled);
  const scale = powerOfTwo(g, exponent);
  const numerator = g.op(simd.add, g.op(simd.mul, expm1, scale), g.op(simd.sub, scale, g.f32(1)));
  const y = g.op(simd.div, numerator, g.op(simd.add, numerator, g.f32(2)));
  return g.op(simd.or, y, g.op(simd.and, x, g.bits(SIGN_BIT)));
}

/** erf x = 1 - e^(-q(|x|)) with the sign of x, q by a polynomial: at most 3.1 ulp. */
export function erf(g: Graph, x: NodeId): NodeId {
  // From 3.95 on the result rounds to 1.
  const magnitude = g.op(simd.pmin, g.op(simd.abs, x), g.f32(3.95));
  const { exponent, expm1 } = reduceExp(g, g.op(simd.mul, polynomial(g, magnitude, ERF), magnitude));
  const scale = powerOfTwo(g, exponent);
  const y = g.op(simd.add, g.op(simd.mul, expm1, scale), g.op(simd.sub, scale, g.f32(1)));
  return g.op(simd.or, g.op(simd.abs, y), g.op(simd.and, x, g.bits(SIGN_BIT)));
}

/**
 * Φ(x) of the normal distribution: a relative error of at most 8e-7 from -4 on, an absolute one of 3e-11 below; 1/2 at 0.
 * With t = 1 / (1 + p|x|), Φ(-|x|) = e^(-x²/2) · t · P(t), as 26.2.17 of Abramowitz and Stegun has it; P of degree 6 by a
 * weighted minimax fit. The exponential is the one that the density has too, so that both cost little more than one.
 */
export function normalCdf(g: Graph, x: NodeId): NodeId {
  const t = g.op(simd.div, g.f32(1), g.op(simd.add, g.op(simd.mul, g.op(simd.abs, x), g.f32(CDF_P)), g.f32(1)));
  const density = exp(g, g.op(simd.mul, g.op(simd.mul, x, x), g.f32(-0.5)));
  const tail = g.op(simd.mul, density, g.op(simd.mul, polynomial(g, t, CDF), t));
  return g.op(simd.bitselect, g.op(simd.sub, g.f32(1), tail), tail, g.op(simd.gt, x, g.f32(0)));
}

/** log of a positive normal number, plus a small correction; `exponentShift` is added to the exponent. */
const logCore = (g: Graph, x: NodeId, correction?: NodeId, exponentShift?: NodeId): NodeId => {
  const bits = g.op(simd.i32Sub, x, g.bits(SQRT_HALF_BITS));
  const power = g.shift(simd.shrS, bits, 23);
  const e = g.op(simd.convertS, exponentShift === undefined ? power : g.op(simd.i32Add, power, exponentShift));
  const mantissa = g.op(simd.i32Add, g.op(simd.and, bits, g.bits(MANTISSA_BITS)), g.bits(SQRT_HALF_BITS));
  const f = g.op(simd.sub, mantissa, g.f32(1));
  const square = g.op(simd.mul, f, f);
  const curve = g.op(simd.mul, g.op(simd.mul, polynomial(g, f, LOG), square), f);
  let small = g.op(simd.add, curve, g.op(simd.mul, e, g.f32(LN2_LOW)));
  if (correction !== undefined) small = g.op(simd.add, small, correction);
  small = g.op(simd.sub, small, g.op(simd.mul, square, g.f32(0.5)));
  return g.op(simd.add, g.op(simd.add, f, small), g.op(simd.mul, e, g.f32(LN2_HIGH)));
};

/** `y` where 0 < x < infinity; else the logarithm's limits: -infinity at 0, infinity, NaN. */
const logLimits = (g: Graph, x: NodeId, y: NodeId): NodeId => {
  const positive = g.op(simd.gt, x, g.f32(0));
  const finite = g.op(simd.and, positive, g.op(simd.lt, x, g.f32(Infinity)));
  const outside = g.op(simd.bitselect, x, g.f32(Number.NaN), positive);
  const limit = g.op(simd.bitselect, g.f32(-Infinity), outside, g.op(simd.eq, x, g.f32(0)));
  return g.op(simd.bitselect, y, limit, finite);
};

/** ln x: at most 0.8 ulp, subnormal numbers included. */
export function log(g: Graph, x: NodeId): NodeId {
  const subnormal = g.op(simd.lt, x, g.f32(2 ** -126));
  const normal = g.op(simd.bitselect, g.op(simd.mul, x, g.f32(2 ** 23)), x, subnormal);
  return logLimits(g, x, logCore(g, normal, undefined, g.op(simd.and, subnormal, g.bits(-23))));
}

/** ln(1 + x): at most 0.9 ulp; what 1 + x loses by rounding is added back to first order. */
export function log1p(g: Graph, x: NodeId): NodeId {
  const sum = g.op(simd.add, x, g.f32(1));
  const lost = g.op(simd.sub, x, g.op(simd.sub, sum, g.f32(1)));
  return logLimits(g, sum, logCore(g, sum, g.op(simd.div, lost, sum)));
}

/**
 * x^y = e^(y ln |x|), negative where x is negative and y odd, NaN where x is negative, finite, and y no integer. The
 * relative error grows with the exponent: about 2^-23 · (1 + |y ln x|).
 */
export function pow(g: Graph, x: NodeId, y: NodeId): NodeId {
  const magnitude = exp(g, g.op(simd.mul, y, log(g, g.op(simd.abs, x))));
  const half = g.op(simd.mul, y, g.f32(0.5));
  const fractional = g.op(simd.ne, y, g.op(simd.nearest, y));
  const odd = g.op(simd.andnot, g.op(simd.ne, half, g.op(simd.nearest, half)), fractional);
  const signed = g.op(simd.or, magnitude, g.op(simd.and, odd, g.op(simd.and, x, g.bits(SIGN_BIT))));
  const negative = g.op(simd.and, g.op(simd.lt, x, g.f32(0)), g.op(simd.gt, x, g.f32(-Infinity)));
  const imaginary = g.op(simd.and, fractional, negative);
  const real = g.op(simd.bitselect, g.f32(Number.NaN), signed, imaginary);
  return g.op(simd.bitselect, g.f32(1), real, g.op(simd.eq, y, g.f32(0)));
}
