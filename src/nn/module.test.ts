// Layers as values: they make the programs of the functions they stand for.
import { describe, expect, expectTypeOf, it } from "vitest";
import { print, type Tensor, type TensorType, type TraceContext, trace } from "../program/index.ts";
import {
  activate,
  averagePool2d,
  batchNorm,
  conv2d,
  dropout,
  embedding,
  globalAveragePool,
  groupNorm,
  gru,
  layerNorm,
  layers,
  linear,
  lstm,
  type Module,
  maxPool2d,
  module,
  multiHeadAttention,
  residual,
  sequential,
  transformerLayer,
} from "./index.ts";

const program = (body: (x: Tensor, ctx: TraceContext) => Tensor, type: TensorType): string =>
  print(trace(({ x }, ctx) => body(x, ctx), { inputs: { x: type } }));

const picture: TensorType = { shape: [2, 6, 6, 4], dtype: "f32" };
const sequence: TensorType = { shape: [2, 5, 8], dtype: "f32" };

const pairs: [made: Module, x: TensorType, body: (ctx: TraceContext, x: Tensor) => Tensor][] = [
  [layers.linear(3, { activation: "relu" }), sequence, (ctx, x) => linear(ctx, "it", x, 3, { activation: "relu" })],
  [layers.conv2d(8, { kernel: 3, groups: 2 }), picture, (ctx, x) => conv2d(ctx, "it", x, 8, { kernel: 3, groups: 2 })],
  [
    layers.embedding({ vocabulary: 7, dim: 3 }),
    { shape: [2, 5], dtype: "i32" },
    (ctx, x) => embedding(ctx, "it", x, { vocabulary: 7, dim: 3 }),
  ],
  [layers.batchNorm({ momentum: 0.5 }), picture, (ctx, x) => batchNorm(ctx, "it", x, { momentum: 0.5 })],
  [layers.layerNorm(), sequence, (ctx, x) => layerNorm(ctx, "it", x)],
  [layers.groupNorm({ groups: 2 }), picture, (ctx, x) => groupNorm(ctx, "it", x, { groups: 2 })],
  [layers.lstm({ units: 3, layers: 2 }), sequence, (ctx, x) => lstm(ctx, "it", x, { units: 3, layers: 2 })],
  [layers.gru({ units: 3 }), sequence, (ctx, x) => gru(ctx, "it", x, { units: 3 })],
  [layers.multiHeadAttention({ heads: 2 }), sequence, (ctx, x) => multiHeadAttention(ctx, "it", x, { heads: 2 })],
  [layers.transformerLayer({ heads: 4 }), sequence, (ctx, x) => transformerLayer(ctx, "it", x, { heads: 4 })],
  [layers.maxPool2d({ kernel: 2 }), picture, (ctx, x) => ctx.scope("it", () => maxPool2d(x, { kernel: 2 }))],
  [layers.averagePool2d({ kernel: 3 }), picture, (ctx, x) => ctx.scope("it", () => averagePool2d(x, { kernel: 3 }))],
  [layers.globalAveragePool(), picture, (ctx, x) => ctx.scope("it", () => globalAveragePool(x))],
  [layers.dropout(0.3), sequence, (ctx, x) => ctx.scope("it", () => dropout(x, { rate: 0.3 }))],
  [layers.activation("gelu"), sequence, (ctx, x) => ctx.scope("it", () => activate("gelu", x))],
  [layers.flatten(), picture, (ctx, x) => ctx.scope("it", () => x.flatten())],
];

describe("layers", () => {
  it.each(pairs.map(([made, x, body]) => ({ kind: made.kind, made, x, body })))("$kind", ({ made, x, body }) => {
    expect(program((v, ctx) => made.apply(ctx, "it", v), x)).toBe(program((v, ctx) => body(ctx, v), x));
  });

  it("has every kind once, under its own name", () => {
    expect(pairs.map(([{ kind }]) => kind).sort()).toEqual(Object.keys(layers).sort());
  });

  it("keep what they were made with, typed", () => {
    const layer = layers.conv2d(8, { kernel: [3, 1], stride: 2 });
    expect(layer).toMatchObject({ kind: "conv2d", config: { channels: 8, kernel: [3, 1], stride: 2 } });
    expectTypeOf(layer.kind).toEqualTypeOf<"conv2d">();
    expectTypeOf(layer.config.channels).toEqualTypeOf<number>();
  });

  it("of one's own", () => {
    const scale = module("scale", { by: 2 }, (_ctx, _name, x, { by }) => x.mul(by));
    expect(program((x, ctx) => scale.apply(ctx, "it", x), sequence)).toBe(program((x) => x.mul(2), sequence));
  });
});

describe("sequential and residual", () => {
  const inner = layers.linear(8);

  it("apply their parts in order, by number or by name", () => {
    const parts = [layers.linear(4), layers.activation("tanh")] as const;
    const body = (first: string, second: string) => (x: Tensor, ctx: TraceContext) =>
      ctx.scope("net", () => {
        const y = linear(ctx, first, x, 4);
        return ctx.scope(second, () => y.tanh());
      });
    const numbered = sequential(parts);
    const named = sequential({ project: parts[0], squash: parts[1] });
    expect(program((x, ctx) => numbered.apply(ctx, "net", x), sequence)).toBe(program(body("0", "1"), sequence));
    expect(program((x, ctx) => named.apply(ctx, "net", x), sequence)).toBe(
      program(body("project", "squash"), sequence),
    );
  });

  it("add what the body computes to x, or to its shortcut", () => {
    const plain = residual(inner);
    expect(program((x, ctx) => plain.apply(ctx, "net", x), sequence)).toBe(
      program((x, ctx) => ctx.scope("net", () => x.add(linear(ctx, "body", x, 8))), sequence),
    );
    const projected = residual(layers.linear(3), layers.linear(3, { bias: false }));
    expect(program((x, ctx) => projected.apply(ctx, "net", x), sequence)).toBe(
      program(
        (x, ctx) =>
          ctx.scope("net", () => linear(ctx, "shortcut", x, 3, { bias: false }).add(linear(ctx, "body", x, 3))),
        sequence,
      ),
    );
  });

  it("make layers of their own each time they are applied; a name twice is refused", () => {
    const apply = (...names: string[]) =>
      trace(({ x }, ctx) => names.reduce((y, name) => inner.apply(ctx, name, y), x), { inputs: { x: sequence } });
    expect(Object.keys(apply("a", "b").parameters)).toEqual(["a/weight", "a/bias", "b/weight", "b/bias"]);
    expect(() => apply("a", "a")).toThrow("parameter a/weight exists already");
  });
});
