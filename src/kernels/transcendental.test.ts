import { describe, expect, it } from "vitest";
import { unaryReference } from "./evaluate.ts";
import * as e from "./expr.ts";
import type { MapKernel } from "./spec.ts";
import { runKernel } from "./testing.ts";

const SAMPLES = 1 << 18;

/** Every sign and exponent with many mantissas: f32 numbers evenly over their bit patterns. */
const everyMagnitude = ((): Float32Array => {
  const bits = Uint32Array.from({ length: SAMPLES }, (_, i) => Math.imul(i, 2 ** 14) + (Math.imul(i, 7919) & 0x3fff));
  return new Float32Array(bits.buffer);
})();
/** The numbers that models meet, densely. */
const around = (span: number): Float32Array =>
  Float32Array.from({ length: SAMPLES }, (_, i) => span * ((2 * i) / SAMPLES - 1) + 1e-3 * Math.sin(i));

const ulp = (value: number): number => 2 ** (Math.floor(Math.log2(Math.max(Math.abs(value), 2 ** -126))) - 23);

const functions = { exp: e.exp, log: e.log, log1p: e.log1p, tanh: e.tanh, sigmoid: e.sigmoid, erf: e.erf };

function largestError(op: keyof typeof functions, data: Float32Array): number {
  const kernel = {
    type: "map",
    exprs: [functions[op](e.input(0))],
    shape: [SAMPLES],
    inputs: [{ shape: [SAMPLES] }],
  } as const;
  const [values] = runKernel(kernel, [data], [SAMPLES]);
  let largest = 0;
  for (const [i, x] of data.entries()) {
    const want = unaryReference[op](x);
    const value = values![i]!;
    const rounded = Math.fround(want);
    if (!Number.isFinite(value) || !Number.isFinite(rounded)) {
      if (!Object.is(value, rounded)) throw new Error(`${op}(${x}) is ${value}, not ${rounded}`);
    } else if (op !== "sigmoid" || want >= 2 ** -126) {
      largest = Math.max(largest, Math.abs(value - want) / ulp(want));
    } else if (value > want + ulp(want)) {
      throw new Error(`sigmoid(${x}) is ${value}, not ${want}`);
    }
  }
  return largest;
}

describe("the transcendental functions in f32", () => {
  it.each([
    ["exp", 1],
    ["log", 0.8],
    ["log1p", 0.9],
    ["tanh", 2.5],
    ["sigmoid", 2.4],
    ["erf", 3.1],
  ] as const)("%s is within %d ulp of float64 from the smallest to the largest number", (op, allowed) => {
    for (const data of [everyMagnitude, around(1), around(10), around(110)]) {
      expect(largestError(op, data)).toBeLessThanOrEqual(allowed);
    }
  });

  it("normalCdf keeps its stated bounds", () => {
    const data = around(14);
    const kernel = { type: "map", exprs: [e.normalCdf(e.input(0))], shape: [SAMPLES], inputs: [{ shape: [SAMPLES] }] };
    const [values] = runKernel(kernel as MapKernel, [data], [SAMPLES]);
    for (const [i, x] of data.entries()) {
      const want = unaryReference.normalCdf(x);
      const allowed = x < -4 ? 3e-11 : 8e-7 * want;
      if (!(Math.abs(values![i]! - want) <= allowed)) throw new Error(`normalCdf(${x}) is ${values![i]}, not ${want}`);
    }
    const limits = Float32Array.of(
      0,
      -0,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      1e30,
      -1e30,
      Number.NaN,
      1,
    );
    const few = { ...kernel, shape: [8], inputs: [{ shape: [8] }] } as MapKernel;
    const [at] = runKernel(few, [limits], [8]);
    expect([...at!].slice(0, 7)).toEqual([0.5, 0.5, 1, 0, 1, 0, Number.NaN]);
  });

  it("the reference of normalCdf has float64's digits on both sides of where its formula changes", () => {
    // Values of the standard normal distribution to 15 digits.
    for (const [x, want] of [
      [-5, 2.86651571879194e-7],
      [-2.5, 6.20966532577613e-3],
      [-2, 2.27501319481792e-2],
      [1, 0.841344746068543],
    ] as const) {
      expect(Math.abs(unaryReference.normalCdf(x) / want - 1)).toBeLessThan(1e-13);
    }
  });

  it("pow keeps its stated bound over bases and exponents", () => {
    const bases = around(20).map(Math.abs);
    const powers = Float32Array.from({ length: SAMPLES }, (_, i) => 8 * Math.sin(i));
    const inputs = [{ shape: [SAMPLES] }, { shape: [SAMPLES] }];
    const kernel = { type: "map", exprs: [e.pow(e.input(0), e.input(1))], shape: [SAMPLES], inputs } as const;
    const [values] = runKernel(kernel, [bases, powers], [SAMPLES]);
    let largest = 0;
    for (const [i, base] of bases.entries()) {
      const want = base ** powers[i]!;
      const growth = 1 + Math.abs(powers[i]! * Math.log(base));
      if (want < 2 ** 126 && want > 2 ** -126) largest = Math.max(largest, Math.abs(values![i]! / want - 1) / growth);
    }
    expect(largest).toBeLessThan(2 ** -23);
  });
});
