// The dynamic loss scale, step by step.
import { describe, expect, test } from "vitest";
import { LossScale, lossScaleSchema } from "./loss-scale.ts";

const scaleOf = (options: object = {}): LossScale => new LossScale(lossScaleSchema.parse(options));

describe("loss scale", () => {
  test("doubles after a thousand finite steps in a row", () => {
    const scale = scaleOf();
    for (let step = 0; step < 999; step++) scale.step(true);
    expect(scale.scale).toBe(32_768);
    scale.step(true);
    expect(scale.scale).toBe(65_536);
    for (let step = 0; step < 500; step++) scale.step(true);
    scale.step(false);
    for (let step = 0; step < 999; step++) scale.step(true);
    expect(scale.scale).toBe(65_536);
  });

  test("falls to four fifths after two failures in a row, never below 1", () => {
    const scale = scaleOf({ start: 100 });
    scale.step(false);
    scale.step(true);
    scale.step(false);
    expect(scale.scale).toBe(100);
    scale.step(false);
    expect(scale.scale).toBe(80);
    for (let step = 0; step < 100; step++) scale.step(false);
    expect(scale.scale).toBe(1);
  });

  test("does not grow beyond what an f32 holds", () => {
    const scale = scaleOf({ start: 2 ** 127, growthSteps: 1 });
    scale.step(true);
    expect(scale.scale).toBe(2 ** 127);
  });
});
