// Exported models in onnxruntime against the float64 reference of the same programs.
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-web";
import { describe, expect, test } from "vitest";
import { relativeError } from "../engine/testing.ts";
import * as e from "../kernels/expr.ts";
import { gpt, lstmLanguageModel } from "../models/index.ts";
import { gru, lstm } from "../nn/index.ts";
import { elementwise, interpret, type ModelFunction, type Program, type TensorType, trace } from "../program/index.ts";
import { Tensor } from "../program/tensor.ts";
import { randomFeed, randomFrom } from "../program/testing.ts";
import { onnxModel } from "./index.ts";

const f32 = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });
const i32 = (...shape: number[]): TensorType => ({ shape, dtype: "i32" });

const ortTensor = ({ shape, dtype }: TensorType, data: ArrayLike<number>): OrtTensor =>
  dtype === "f32"
    ? new OrtTensor("float32", Float32Array.from(data), shape)
    : new OrtTensor("int32", Int32Array.from(data), shape);

/** Runs a program of inference both ways on the same random numbers. */
async function expectSame<Name extends string>(
  model: ModelFunction<Name>,
  inputs: Readonly<Record<Name, TensorType>>,
  classes = 5,
): Promise<void> {
  const program: Program = trace(model, { inputs, training: false });
  const feed = randomFeed(program, randomFrom(7), { low: 0.1, high: 0.9, classes });
  const weights = Object.fromEntries(
    Object.entries(feed.parameters).map(([name, data]) => [name, Float32Array.from(data)]),
  );
  const bytes = onnxModel(program, (name) => weights[name]);
  const session = await InferenceSession.create(bytes);
  const feeds = Object.fromEntries(
    session.inputNames.map((name) => [
      name,
      ortTensor(program.values[program.inputs[name]!]!, Array.from(feed.inputs[name]! as Iterable<number>)),
    ]),
  );
  const results = await session.run(feeds);
  const { outputs } = interpret(program, feed.inputs, { parameters: feed.parameters });
  for (const [name, expected] of Object.entries(outputs)) {
    const shape = program.values[program.outputs[name]!]!.shape;
    expect(results[name]!.dims, name).toEqual([...shape]);
    const actual = Array.from(results[name]!.data as Float32Array);
    expect(relativeError(actual, Array.from(expected, Number)), name).toBeLessThan(1e-4);
  }
  await session.release();
}

describe("onnxModel", () => {
  test("a perceptron with elementwise arithmetic of every kind", () =>
    expectSame(
      ({ x }, ctx) => {
        const w = ctx.parameter("w", [6, 4], { kind: "zeros" });
        const b = ctx.parameter("b", [4], { kind: "zeros" });
        const h = x.matmul(w).add(b);
        return {
          relu: h.relu(),
          smooth: h.sigmoid().mul(h.tanh()).add(h.exp()).sub(h.abs().log1p()),
          steps: h.greater(0.5).add(h.round()).add(h.floor()).clip(-1, 2),
          powers: h.abs().add(0.1).pow(1.5).div(h.square().add(1)).add(h.abs().sqrt()),
          constant: h.mul(0).add(3),
        };
      },
      { x: f32(3, 6) },
    ));

  test("reductions, softmax, layer norm and what moves elements", () =>
    expectSame(
      ({ x, y }, ctx) => {
        const gamma = ctx.parameter("gamma", [4], { kind: "ones" });
        const beta = ctx.parameter("beta", [4], { kind: "zeros" });
        return {
          sum: x.mul(2).sum({ axes: 1 }),
          max: x.max({ axes: [0, 2], keepDims: true }),
          mean: x.mean(),
          softmax: x.softmax(),
          transposed: x.transpose([2, 0, 1]).reshape([-1, 3]),
          parts: x.slice(1, 1, 3).pad(2, 1, 2),
          norm: x.emit("layer_norm", [x, gamma, beta], { epsilon: 1e-5 }),
          joined: x.emit("concat", [x, y], { axis: 1 }),
        };
      },
      { x: f32(2, 3, 4), y: f32(2, 2, 4) },
    ));

  test("places along an axis, and the causal mask of a decoder", () => {
    const model = gpt({ vocabulary: 5, width: 4, layers: 1, heads: 2, positions: 6 });
    return expectSame(
      ({ x, ids }, ctx) => ({
        rows: elementwise((a) => e.add(a, e.index(-3)), x),
        sums: elementwise((a) => e.mul(a, e.index(-2)), x).sum({ axes: [0, 2] }),
        logits: model.forward({ ids }, ctx),
      }),
      { x: f32(3, 4, 2), ids: i32(2, 5) },
    );
  });

  test("recurrent layers, stacked, from zeros and from given states", () =>
    expectSame(
      ({ x, hidden, cell }, ctx) => ({
        lstm: lstm(ctx, "lstm", x, { units: 3, layers: 2 }),
        continued: lstm(ctx, "continued", x, { units: 3, initialState: { hidden, cell } }),
        gru: gru(ctx, "gru", x, { units: 3, layers: 2 }),
        continuedGru: gru(ctx, "continued-gru", x, { units: 3, initialState: hidden }),
      }),
      { x: f32(2, 5, 4), hidden: f32(1, 2, 3), cell: f32(1, 2, 3) },
    ));

  test.each(["lstm", "gru"] as const)("%s of inputs that no product projects", (kind) => {
    const gates = kind === "lstm" ? 4 : 3;
    return expectSame(
      ({ xw, weight, bias, h0, c0 }) => ({
        y: kind === "lstm" ? xw.emit("lstm", [xw, weight, h0, c0], {}) : xw.emit("gru", [xw, weight, bias, h0], {}),
      }),
      { xw: f32(5, 2, gates * 3), weight: f32(3, gates * 3), bias: f32(gates * 3), h0: f32(2, 3), c0: f32(2, 3) },
    );
  });

  test("a language model has one node a layer, which takes the product in front of it", async () => {
    const model = lstmLanguageModel({ vocabulary: 5, width: 6 });
    const forward: ModelFunction<"ids"> = ({ ids }, ctx) => ({ logits: model.forward({ ids }, ctx) });
    const inputs = { ids: i32(2, 7) };
    await expectSame(forward, inputs);
    const program = trace(forward, { inputs, training: false });
    const sizes = Object.entries(program.parameters).map(([name, { value }]): [string, number] => [
      name,
      program.values[value]!.shape.reduce((size, extent) => size * extent, 1),
    ]);
    const zeros = new Map(sizes.map(([name, size]) => [name, new Float32Array(size)]));
    const bytes = onnxModel(program, (name) => zeros.get(name));
    const text = new TextDecoder("latin1").decode(bytes);
    // Field 4 of a node is its type.
    const nodes = (type: string): number => text.split(`\x22${String.fromCharCode(type.length)}${type}`).length - 1;
    expect([nodes("LSTM"), nodes("Gemm")]).toEqual([2, 1]);
  });

  test("names of inputs and outputs stay, integers are cast where they are numbers", () =>
    expectSame(({ n, x }) => ({ sum: x.add(n) }), { n: i32(3), x: f32(2, 3) }));

  test("says what has no counterpart, and which weight is missing", () => {
    const dropping = trace(({ x }) => x.emit("softmax_grad", [x, x], {}), { inputs: { x: f32(2, 3) } });
    expect(() => onnxModel(dropping, () => undefined)).toThrow(/softmax_grad: it has no counterpart/);
    const cells = trace(
      ({ xw, w, h }) => new Tensor(xw.trace, xw.trace.builder.emit("lstm", [xw.id, w.id, h.id, h.id], {})[1]!),
      {
        inputs: { xw: f32(3, 2, 8), w: f32(2, 8), h: f32(2, 2) },
      },
    );
    expect(() => onnxModel(cells, () => undefined)).toThrow(/lstm: only its states have a counterpart/);
    const weighted = trace(({ x }, ctx) => x.mul(ctx.parameter("w", [3], { kind: "ones" })), {
      inputs: { x: f32(2, 3) },
    });
    expect(() => onnxModel(weighted, () => new Float32Array(2))).toThrow(/parameter w \[3\] has 2 numbers, not 3/);
    expect(() => onnxModel(weighted, () => undefined, { outputs: ["score"] })).toThrow(/no output score.*output/);
  });
});
