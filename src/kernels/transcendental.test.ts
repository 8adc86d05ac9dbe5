import { describe, expect, it } from "vitest";
import { unaryReference } from "./evaluate.ts";
import * as e from "./expr.ts";
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
