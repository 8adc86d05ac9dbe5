// What layers refuse: by the layer's name, the value and what is allowed, or with the line of the model.
import { describe, expect, it } from "vitest";
import { type Tensor, type TensorType, type TraceContext, trace } from "../program/index.ts";
import {
  type ActivationName,
  activate,
  conv2d,
  embedding,
  groupNorm,
  gru,
  linear,
  lstm,
  positionEmbedding,
} from "./index.ts";

const shapes: Readonly<Record<"picture" | "sequence" | "state", TensorType>> = {
  picture: { shape: [1, 4, 4, 3], dtype: "f32" },
  sequence: { shape: [2, 5, 3], dtype: "f32" },
  state: { shape: [2, 4], dtype: "f32" },
};

type Layer = (ctx: TraceContext, inputs: Readonly<Record<keyof typeof shapes, Tensor>>) => Tensor;

const cases: readonly (readonly [message: string, layer: Layer])[] = [
  ["linear a: units must be an integer of at least 1, got 0", (ctx, { sequence }) => linear(ctx, "a", sequence, 0)],
  ["linear a: units must be an integer of at least 1, got 2.5", (ctx, { sequence }) => linear(ctx, "a", sequence, 2.5)],
  [
    "conv2d a: height must be an integer of at least 1, got 0",
    (ctx, { picture }) => conv2d(ctx, "a", picture, 4, { kernel: [0, 3] }),
  ],
  [
    "conv2d a: 2 groups do not divide the 3 channels of its input",
    (ctx, { picture }) => conv2d(ctx, "a", picture, 4, { kernel: 3, groups: 2 }),
  ],
  ["groupNorm a: 2 groups do not divide 3 channels", (ctx, { picture }) => groupNorm(ctx, "a", picture, { groups: 2 })],
  [
    "embedding a: vocabulary must be an integer of at least 1, got NaN",
    (ctx, { state }) => embedding(ctx, "a", state, { vocabulary: Number.NaN, dim: 2 }),
  ],
  [
    "positionEmbedding a: 7 places are more than the 6 it has",
    (ctx) => positionEmbedding(ctx, "a", 7, { vocabulary: 6, dim: 2 }),
  ],
  ["lstm a: expected sequences [B,T,I], got [1,4,4,3]", (ctx, { picture }) => lstm(ctx, "a", picture, { units: 4 })],
  [
    "lstm a: layers must be an integer of at least 1, got 0",
    (ctx, { sequence }) => lstm(ctx, "a", sequence, { units: 4, layers: 0 }),
  ],
  [
    "gru a: the initial hidden must be [layers,B,H] = [1,2,4], got [2,4]",
    (ctx, { sequence, state }) => gru(ctx, "a", sequence, { units: 4, initialState: state }),
  ],
  [
    'there is no activation "swish"; there are relu, sigmoid, tanh,',
    (_, { state }) => activate("swish" as ActivationName, state),
  ],
];

describe("layers refuse", () => {
  it.each(cases)("%s", (message, layer) => {
    expect(() => trace((inputs, ctx) => layer(ctx, inputs), { inputs: shapes })).toThrow(message);
  });

  it("with the model's line, not one of their own", () => {
    const run = () => trace(({ picture }, ctx) => conv2d(ctx, "a", picture, 4, { kernel: 5 }), { inputs: shapes });
    expect(run).toThrow(/does not fit into a picture of \[4,4\].*, in scope a, at .*options\.test\.ts:\d+:\d+$/);
  });
});
