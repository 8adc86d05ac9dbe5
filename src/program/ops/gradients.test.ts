// Gradients of every op that is not elementwise, against central differences in float64, over random shapes.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { batchNorm } from "../batch-norm.ts";
import { differentiate } from "../differentiate.ts";
import { concat, fm, layerNorm, softmaxCrossEntropy } from "../functions.ts";
import type { Activation, Shape, TensorType } from "../ir.ts";
import { interpret } from "../reference.ts";
import { Tensor } from "../tensor.ts";
import { checkFunction } from "../testing.ts";
import { trace } from "../trace.ts";

const f32 = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });
const length = fc.integer({ min: 1, max: 4 });
const seeds = fc.integer({ min: 0, max: 1e6 });
const runs = { numRuns: 15 };

describe("matmul", () => {
  for (const transposeA of [false, true]) {
    for (const transposeB of [false, true]) {
      it(`op(A)·op(B), transposed: ${transposeA}, ${transposeB}`, () => {
        fc.assert(
          fc.property(length, length, length, seeds, (m, k, n, seed) => {
            const a: Shape = transposeA ? [k, m] : [m, k];
            const b: Shape = transposeB ? [n, k] : [k, n];
            checkFunction((x) => x.a.matmul(x.b, { transposeA, transposeB }), {
              inputs: { a: f32(...a), b: f32(...b) },
              seed,
            });
          }),
          runs,
        );
      });
    }
  }

  for (const activation of ["relu", "sigmoid", "tanh", undefined] as (Activation | undefined)[]) {
    it(`with bias and ${activation ?? "no activation"}`, () => {
      const attrs = { transposeA: false, transposeB: true, ...(activation === undefined ? {} : { activation }) };
      checkFunction(({ a, b, bias }) => a.emit("matmul", [a, b, bias], attrs), {
        inputs: { a: f32(3, 2), b: f32(4, 2), bias: f32(4) },
        seed: 11,
      });
    });
  }

  it("folds leading axes into rows", () => {
    checkFunction(({ a, b }) => a.matmul(b), { inputs: { a: f32(2, 3, 2), b: f32(2, 4) }, seed: 1 });
  });
});

describe("layout", () => {
  it("reshape, flatten, transpose", () => {
    checkFunction(({ x }) => x.reshape([-1, 2]).square().reshape([2, 3, 2]).flatten(), {
      inputs: { x: f32(2, 3, 2) },
      seed: 1,
    });
    checkFunction(({ x }) => x.transpose([2, 0, 1]).square(), { inputs: { x: f32(2, 3, 4) }, seed: 2 });
    checkFunction(({ x }) => x.transpose(), { inputs: { x: f32(2, 3) }, seed: 3 });
  });

  it("concat along any axis", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 }),
        fc.array(length, { minLength: 1, maxLength: 3 }),
        seeds,
        (axis, parts, seed) => {
          const shape = (d: number): number[] => [2, 3, 2].with(axis, d);
          const inputs = Object.fromEntries(parts.map((d, i) => [`x${i}`, f32(...shape(d))]));
          checkFunction(
            (x) =>
              concat(
                Object.keys(inputs).map((name) => x[name]!),
                axis,
              ),
            { inputs, seed },
          );
        },
      ),
      runs,
    );
  });

  it("slice and pad along any axis", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 }), fc.nat(3), fc.nat(3), seeds, (axis, a, b, seed) => {
        const [start, end] = [Math.min(a, b), Math.max(a, b)];
        checkFunction(({ x }) => x.slice(axis, start, end).square().pad(axis, a, b), {
          inputs: { x: f32(3, 3, 3) },
          seed,
        });
      }),
      runs,
    );
  });

  it("broadcastTo", () => {
    checkFunction(({ x }) => x.broadcastTo([4, 3, 2]).square(), { inputs: { x: f32(3, 1) }, seed: 4 });
  });
});

describe("softmax and cross-entropy", () => {
  it("softmax over the last axis, with large logits", () => {
    fc.assert(
      fc.property(length, length, seeds, (rows, n, seed) =>
        checkFunction(({ x }) => x.mul(3).softmax(), { inputs: { x: f32(rows, n) }, seed }),
      ),
      runs,
    );
    const program = trace(({ x }) => x.softmax(), { inputs: { x: f32(3) } });
    expect([...interpret(program, { x: [1000, 1000, -1000] }).outputs.output!]).toEqual([0.5, 0.5, 0]);
  });

  it("softmax cross-entropy: loss, probabilities, both", () => {
    const options = { inputs: { x: f32(3, 4), labels: { shape: [3], dtype: "i32" } }, seed: 5, classes: 4 } as const;
    checkFunction(({ x, labels }) => softmaxCrossEntropy(x, labels).loss, options);
    checkFunction(({ x, labels }) => softmaxCrossEntropy(x, labels).probabilities, options);
    checkFunction(({ x, labels }) => {
      const { loss, probabilities } = softmaxCrossEntropy(x, labels);
      return concat([probabilities, loss.reshape([3, 1])]);
    }, options);
  });
});

describe("normalisation", () => {
  it("layer norm", () => {
    for (const shape of [[4], [3, 4], [2, 2, 3]]) {
      const n = shape.at(-1)!;
      checkFunction(({ x, gamma, beta }) => layerNorm(x.mul(2), gamma, beta), {
        inputs: { x: f32(...shape), gamma: f32(n), beta: f32(n) },
        seed: 6,
      });
    }
  });

  const operands = { x: f32(5, 3), gamma: f32(3), beta: f32(3), weight: f32(5) };
  const fixed = { trainable: false };

  it("batch norm in training, with padding rows, whose gradients flow through their own value only", () => {
    for (const padding of [false, true]) {
      checkFunction(
        ({ x, gamma, beta, weight }, ctx) =>
          batchNorm(x, {
            gamma,
            beta,
            runningMean: ctx.parameter("mean", [3], { kind: "zeros" }, fixed),
            runningVariance: ctx.parameter("variance", [3], { kind: "ones" }, fixed),
            weight: padding ? weight.greater(0) : weight.mul(0).add(1),
          }),
        { inputs: operands, seed: 7, fixed: ["weight"] },
      );
    }
  });

  it("batch norm moves the running values by the rows that count, and inference uses them", () => {
    const program = (training: boolean): ReturnType<typeof trace> =>
      trace(
        ({ x, gamma, beta, weight }, ctx) =>
          batchNorm(x, {
            gamma,
            beta,
            runningMean: ctx.parameter("mean", [1], { kind: "zeros" }, fixed),
            runningVariance: ctx.parameter("variance", [1], { kind: "ones" }, fixed),
            weight,
            momentum: 0.9,
            epsilon: 1e-3,
          }),
        { inputs: { x: f32(3, 1), gamma: f32(1), beta: f32(1), weight: f32(3) }, training },
      );
    const state = { mean: Float64Array.of(0), variance: Float64Array.of(1) };
    const inputs = { x: [1, 5, 1000], gamma: [2], beta: [1], weight: [1, 1, 0] };
    const y = interpret(program(true), inputs, { parameters: state }).outputs.output!;
    expect(y[0]).toBeCloseTo(1 - (2 * 2) / Math.sqrt(4.001), 12);
    expect(state.mean[0]).toBeCloseTo(0.3, 12);
    expect(state.variance[0]).toBeCloseTo(0.9 + 0.8, 12);
    const inferred = interpret(program(false), inputs, { parameters: state }).outputs.output!;
    expect(inferred[0]).toBeCloseTo(((1 - 0.3) / Math.sqrt(1.701)) * 2 + 1, 12);
  });

  it("refuses gradients of the statistics", () => {
    const program = trace(
      ({ x, g }) => {
        const [, mean] = x.trace.builder.emit("layer_norm", [x.id, g.id, g.id], { epsilon: 1e-5 });
        return new Tensor(x.trace, mean!).sum();
      },
      { inputs: { x: f32(2, 3), g: f32(3) } },
    );
    expect(() => differentiate(program, { loss: "output", inputs: ["x"] })).toThrow(/mean and rstd .* no gradient/);
  });
});

describe("factorization machine", () => {
  it("is the sum of pairwise products", () => {
    const program = trace(({ x }) => fm(x), { inputs: { x: f32(1, 3, 2) } });
    const y = interpret(program, { x: [1, 2, 3, 4, 5, 6] }).outputs.output!;
    expect(y[0]).toBe(1 * 3 + 2 * 4 + 1 * 5 + 2 * 6 + 3 * 5 + 4 * 6);
  });

  it("gradient, through its sum too", () => {
    fc.assert(
      fc.property(length, length, length, seeds, (b, f, d, seed) => {
        checkFunction(({ x }) => fm(x), { inputs: { x: f32(b, f, d) }, seed });
        checkFunction(
          ({ x }) => {
            const [y, sum] = x.trace.builder.emit("fm", [x.id], {});
            return concat([new Tensor(x.trace, y!), new Tensor(x.trace, sum!)]);
          },
          { inputs: { x: f32(b, f, d) }, seed },
        );
      }),
      runs,
    );
  });
});
