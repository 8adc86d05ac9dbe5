// Learning-rate schedules against their closed forms and at their corners.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sgd } from "./index.ts";
import { type LearningRate, learningRateSchema } from "./learning-rate.ts";
import { learningRateAt } from "./schedule.ts";

const parse = (rate: unknown): LearningRate => learningRateSchema.parse(rate);

test("a number and a constant stay what they are", () => {
  for (const step of [0, 1, 1e6]) {
    expect(learningRateAt(parse(0.3), step)).toBe(0.3);
    expect(learningRateAt(parse({ kind: "constant", lr: 0.3 }), step)).toBe(0.3);
  }
});

test("steps fall by gamma each `every` steps", () => {
  const rate = parse({ kind: "step", lr: 0.8, every: 10, gamma: 0.5 });
  expect([0, 9, 10, 19, 20, 35].map((step) => learningRateAt(rate, step))).toEqual([0.8, 0.8, 0.4, 0.4, 0.2, 0.1]);
});

test("a multi-step rate falls by gamma at each of its steps", () => {
  const rate = parse({ kind: "multi-step", lr: 0.8, at: [10, 15], gamma: 0.5 });
  expect([0, 9, 10, 14, 15, 1e9].map((step) => learningRateAt(rate, step))).toEqual([0.8, 0.8, 0.4, 0.4, 0.2, 0.2]);
});

test("a cosine goes from lr over the middle to the floor and stays there", () => {
  const rate = parse({ kind: "cosine", lr: 1, total: 100, floor: 0.2 });
  expect(learningRateAt(rate, 0)).toBe(1);
  expect(learningRateAt(rate, 50)).toBeCloseTo(0.6, 12);
  expect(learningRateAt(rate, 25)).toBeCloseTo(0.2 + (0.8 * (1 + Math.SQRT1_2)) / 2, 12);
  for (const step of [100, 101, 1e9]) expect(learningRateAt(rate, step)).toBeCloseTo(0.2, 12);
});

test("a polynomial of power 1 is a line, of power 2 a parabola", () => {
  const line = parse({ kind: "polynomial", lr: 1, total: 10, floor: 0.5 });
  const parabola = parse({ kind: "polynomial", lr: 1, total: 10, power: 2 });
  for (let step = 0; step <= 10; step++) {
    expect(learningRateAt(line, step)).toBeCloseTo(1 - 0.05 * step, 12);
    expect(learningRateAt(parabola, step)).toBeCloseTo((1 - step / 10) ** 2, 12);
  }
  expect(learningRateAt(line, 11)).toBe(0.5);
  expect(learningRateAt(parabola, 1e6)).toBe(0);
});

test("Noam rises to its peak at `warmup` and falls with the square root", () => {
  const rate = parse({ kind: "noam", dim: 64, warmup: 100 });
  const peak = 64 ** -0.5 * 100 ** -0.5;
  expect(learningRateAt(rate, 99)).toBeCloseTo(peak, 12);
  expect(learningRateAt(rate, 49)).toBeCloseTo(peak / 2, 12);
  expect(learningRateAt(rate, 399)).toBeCloseTo(peak / 2, 12);
});

test("a warm-up rises in equal steps to where its successor begins", () => {
  const after = { kind: "step", lr: 0.4, every: 5, gamma: 0.5 } as const;
  const rate = parse({ kind: "warmup", warmup: 4, after });
  const expected = [0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.2];
  for (const [step, value] of expected.entries()) expect(learningRateAt(rate, step)).toBeCloseTo(value, 12);
});

describe("any schedule", () => {
  const lr = fc.double({ min: 1e-4, max: 10, noNaN: true });
  const count = fc.integer({ min: 1, max: 1000 });
  const simple = fc.oneof(
    fc.record({ kind: fc.constant("constant"), lr }),
    fc.record({ kind: fc.constant("step"), lr, every: count, gamma: fc.double({ min: 0.1, max: 1, noNaN: true }) }),
    fc.record({
      kind: fc.constant("multi-step"),
      lr,
      at: fc.array(count, { minLength: 1, maxLength: 4 }),
      gamma: fc.double({ min: 0.1, max: 1, noNaN: true }),
    }),
    fc.record({ kind: fc.constant("cosine"), lr, total: count }),
    fc.record({ kind: fc.constant("polynomial"), lr, total: count, power: fc.constantFrom(0.5, 1, 3) }),
    fc.record({ kind: fc.constant("noam"), dim: count, warmup: count }),
  );
  const any = fc.oneof(lr, simple, fc.record({ kind: fc.constant("warmup"), warmup: count, after: simple }));

  test("is finite, never negative, and survives JSON", () => {
    fc.assert(
      fc.property(any, fc.integer({ min: 0, max: 1e6 }), (input, step) => {
        const rate = parse(input);
        const value = learningRateAt(rate, step);
        expect(value).toBeGreaterThanOrEqual(0);
        expect(value).toBeLessThan(Number.POSITIVE_INFINITY);
        expect(learningRateAt(parse(JSON.parse(JSON.stringify(rate))), step)).toBe(value);
      }),
    );
  });

  test("that decays never rises", () => {
    const falling = simple.filter(({ kind }) => kind !== "noam");
    fc.assert(
      fc.property(falling, fc.integer({ min: 0, max: 2000 }), (input, step) => {
        const rate = parse(input);
        expect(learningRateAt(rate, step + 1)).toBeLessThanOrEqual(learningRateAt(rate, step) * (1 + 1e-12));
      }),
    );
  });
});

test.each([
  [-1, "lr"],
  [{ kind: "cosine", lr: 0.1 }, "lr"],
  [{ kind: "step", lr: 0.1, every: 0.5, gamma: 0.5 }, "lr"],
  [{ kind: "multi-step", lr: 0.1, at: [], gamma: 0.5 }, "lr"],
  [{ kind: "warmup", warmup: 3, after: { kind: "warmup", warmup: 3, after: 1 } }, "lr"],
  [{ kind: "cosine", lr: 0.1, total: 10, gamma: 2 }, "lr"],
])("%j is refused, naming the option", (rate, option) => {
  expect(() => sgd({ lr: rate as never })).toThrow(option);
});
