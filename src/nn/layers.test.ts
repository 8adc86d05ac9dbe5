// Layers: what parameters they declare under which names, and what they compute (the click models test them in depth).
import { describe, expect, test } from "vitest";
import { relativeError } from "../engine/testing.ts";
import { interpret, type Program, type Tensor, type TraceContext, trace } from "../program/index.ts";
import { batchNorm, conv2d, type LinearOptions, layerNorm, linear, mlp } from "./index.ts";

const [rows, width] = [4, 3];

const program = (model: (x: Tensor, ctx: TraceContext, weight: Tensor) => Tensor, training = true): Program =>
  trace((inputs, ctx) => model(inputs.x, ctx, inputs.weight), {
    inputs: { x: { shape: [rows, width], dtype: "f32" }, weight: { shape: [rows], dtype: "f32" } },
    training,
  });

const shapes = ({ parameters, values }: Program): Record<string, readonly number[]> =>
  Object.fromEntries(Object.entries(parameters).map(([name, { value }]) => [name, values[value]!.shape]));

const x = Array.from({ length: rows * width }, (_, i) => Math.sin(i));

describe("linear", () => {
  test("is activation(x · W + b)", () => {
    const layer = program((x, ctx) => linear(ctx, "layer", x, 2, { activation: "tanh" }));
    expect(shapes(layer)).toEqual({ "layer/weight": [3, 2], "layer/bias": [2] });
    const weight = Float64Array.of(1, -2, 3, 0.5, -1, 2);
    const parameters = { "layer/weight": weight, "layer/bias": Float64Array.of(0.1, -0.3) };
    const { outputs } = interpret(layer, { x, weight: [1, 1, 1, 1] }, { parameters });
    const expected = Array.from({ length: rows * 2 }, (_, at) => {
      const [row, unit] = [Math.floor(at / 2), at % 2];
      const sum = [0, 1, 2].reduce((total, i) => total + x[row * width + i]! * weight[i * 2 + unit]!, 0);
      return Math.tanh(sum + (unit === 0 ? 0.1 : -0.3));
    });
    expect(relativeError([...(outputs.output as Float64Array)], expected)).toBeLessThan(1e-12);
  });

  test("starts as He says before a ReLU, else as Glorot says, or as it is told", () => {
    const start = (options: LinearOptions = {}): Program["parameters"] =>
      program((x, ctx) => linear(ctx, "a", x, 2, options)).parameters;
    expect(start({ activation: "relu" })["a/weight"]!.init).toEqual({ kind: "he-uniform" });
    expect(start({ activation: "sigmoid" })["a/weight"]!.init).toEqual({ kind: "glorot-uniform" });
    expect(start()["a/bias"]!.init).toEqual({ kind: "zeros" });
    const init = { kind: "normal", scale: 0.3 } as const;
    expect(start({ activation: "relu", init })["a/weight"]!.init).toEqual(init);
  });

  test("as PyTorch starts it: weight and bias by the weight's fan-in", () => {
    const init = { kind: "fan-in-uniform" } as const;
    const dense = program((x, ctx) => linear(ctx, "a", x, 2, { init, biasInit: init })).parameters;
    expect(dense["a/weight"]!.init).toEqual(init);
    expect(dense["a/bias"]!.init).toEqual({ ...init, fanIn: width });
    const conv = program((x, ctx) => {
      const picture = x.reshape([1, 2, 1, 6]);
      return conv2d(ctx, "a", picture, 4, { kernel: [2, 1], groups: 2, init, biasInit: init });
    }).parameters;
    expect(conv["a/bias"]!.init).toEqual({ ...init, fanIn: 2 * 3 });
  });

  test("without a bias has none, and puts its parameters into a group", () => {
    const { parameters } = program((x, ctx) => linear(ctx, "a", x, 2, { bias: false, group: "wide" }));
    expect(Object.keys(parameters)).toEqual(["a/weight"]);
    expect(parameters["a/weight"]).toMatchObject({ group: "wide", trainable: true });
  });
});

describe("norms", () => {
  test("batch norm keeps running statistics that no optimizer touches", () => {
    const { parameters } = program((x, ctx, weight) => batchNorm(ctx, "norm", x, { weight }));
    const trainable = Object.entries(parameters).map(([name, { trainable }]) => [name, trainable]);
    expect(Object.fromEntries(trainable)).toEqual({
      "norm/gamma": true,
      "norm/beta": true,
      "norm/running-mean": false,
      "norm/running-variance": false,
    });
  });

  test("layer norm gives rows of mean 0 and variance 1 at the start", () => {
    const layer = program((x, ctx) => layerNorm(ctx, "norm", x));
    const parameters = { "norm/gamma": new Float64Array(width).fill(1), "norm/beta": new Float64Array(width) };
    const { outputs } = interpret(layer, { x, weight: [1, 1, 1, 1] }, { parameters });
    for (let row = 0; row < rows; row++) {
      const values = [...(outputs.output as Float64Array).subarray(row * width, (row + 1) * width)];
      expect(values.reduce((a, b) => a + b, 0)).toBeCloseTo(0, 10);
      expect(values.reduce((a, b) => a + b * b, 0) / width).toBeCloseTo(1, 3);
    }
  });
});

describe("mlp", () => {
  test("stacks its hidden layers", () => {
    const layers = program((x, ctx, weight) => mlp(ctx, "deep", x, weight, { hidden: [5, 2] }));
    expect(shapes(layers)).toEqual({
      "deep/0/weight": [3, 5],
      "deep/0/bias": [5],
      "deep/1/weight": [5, 2],
      "deep/1/bias": [2],
    });
  });

  test("with a norm needs no bias", () => {
    const layers = program((x, ctx, weight) => mlp(ctx, "deep", x, weight, { hidden: [5], norm: "layer" }));
    expect(Object.keys(shapes(layers))).toEqual(["deep/0/weight", "deep/0/norm/gamma", "deep/0/norm/beta"]);
  });

  test("drops units in training only", () => {
    const dropped = (training: boolean): Program =>
      program((x, ctx, weight) => mlp(ctx, "deep", x, weight, { hidden: [5], dropout: 0.5 }), training);
    expect(Object.keys(dropped(true).inputs)).toContain("seed");
    expect(Object.keys(dropped(false).inputs)).not.toContain("seed");
  });
});
