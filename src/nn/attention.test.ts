// What PyTorch cannot tell of attention: half precision, dropped probabilities, and what is refused.
import { describe, expect, it } from "vitest";
import { relativeError } from "../engine/testing.ts";
import { mixedPrecision } from "../passes/index.ts";
import { differentiate, interpret, type TensorType, trace } from "../program/index.ts";
import { randomFeed, randomFrom } from "../program/testing.ts";
import { type AttentionOptions, attention, multiHeadAttention } from "./index.ts";

const f32 = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });

describe("attention", () => {
  it.each(["bf16", "f16"] as const)("a row that is all padding is finite in %s", (dtype) => {
    const forward = trace(
      ({ x, mask }, ctx) => ({ loss: multiHeadAttention(ctx, "a", x, { heads: 2, mask }).square().sum() }),
      { inputs: { x: f32(2, 3, 4), mask: f32(2, 3) }, training: true },
    );
    const { inputs: drawn, parameters } = randomFeed(forward, randomFrom(1));
    const inputs = { ...drawn, mask: [0, 0, 0, 1, 1, 0] };
    const results = [forward, mixedPrecision(forward, { dtype })].map((program) => {
      const { program: both, gradients } = differentiate(program, { loss: "loss" });
      const { value } = interpret(both, inputs, { parameters });
      return Object.values(gradients).flatMap((id) => [...(value(id) as Float64Array)]);
    });
    const [exact, half] = results as [number[], number[]];
    expect(relativeError(half, exact)).toBeLessThan({ bf16: 0.1, f16: 0.01 }[dtype]);
  });

  it("drops probabilities in training, and scales the others", () => {
    // Equal scores, and values that are the unit vectors: the results are the probabilities.
    const size = 16;
    const run = (training: boolean): number[] => {
      const zeros = new Float64Array(size * size);
      const units = Float64Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 1 : 0));
      const program = trace(({ q, v }) => attention(q, q, v, { heads: 1, dropout: 0.5 }), {
        inputs: { q: f32(1, size, size), v: f32(1, size, size) },
        training,
      });
      const { outputs } = interpret(program, { q: zeros, v: units, ...(training ? { seed: [7] } : {}) });
      return [...(outputs.output as Float64Array)];
    };
    expect(new Set(run(false))).toEqual(new Set([1 / size]));
    const dropped = run(true);
    expect(new Set(dropped)).toEqual(new Set([0, 2 / size]));
    const share = dropped.filter((p) => p === 0).length / dropped.length;
    // Four deviations of the share of 256 draws.
    expect(Math.abs(share - 0.5)).toBeLessThan(4 * Math.sqrt(0.25 / dropped.length));
  });

  it.each<[string, number[][], Partial<AttentionOptions>, RegExp]>([
    [
      "heads",
      [
        [2, 3, 5],
        [2, 3, 5],
        [2, 3, 5],
      ],
      {},
      /2 heads do not divide queries \[2,3,5\]/,
    ],
    [
      "batches",
      [
        [2, 3, 4],
        [3, 2, 4],
        [3, 2, 4],
      ],
      {},
      /keys \[3,2,4\] do not fit queries \[2,3,4\]/,
    ],
    [
      "values",
      [
        [2, 3, 4],
        [2, 5, 4],
        [2, 4, 4],
      ],
      {},
      /values \[2,4,4\] do not fit/,
    ],
    [
      "causal",
      [
        [2, 3, 4],
        [2, 5, 4],
        [2, 5, 4],
      ],
      { causal: true },
      /as many sources as targets, got 5 and 3/,
    ],
  ])("refuses %s that do not fit", (_, shapes, options, message) => {
    const [q, k, v] = shapes.map((shape) => f32(...shape)) as [TensorType, TensorType, TensorType];
    const run = () => trace((x) => attention(x.q, x.k, x.v, { heads: 2, ...options }), { inputs: { q, k, v } });
    expect(run).toThrow(message);
  });

  it("refuses a mask of other places", () => {
    const run = () =>
      trace(({ x, mask }, ctx) => multiHeadAttention(ctx, "a", x, { heads: 2, mask }), {
        inputs: { x: f32(2, 3, 4), mask: f32(2, 4) },
      });
    expect(run).toThrow("attention: mask [2,4] do not fit queries [2,3,4]: keys and values are [B,S,E], a mask [B,S]");
  });
});
