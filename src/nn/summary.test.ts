// Summaries against counts by hand, and against published ones of known models.
import { describe, expect, it } from "vitest";
import { bert, resNet50 } from "../models/index.ts";
import type { TensorType } from "../program/index.ts";
import { batchNorm, layers, linear, lstm, sequential, summary } from "./index.ts";

const f32 = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });

describe("summary", () => {
  it("counts parameters, arithmetic and results of each layer", () => {
    const net = sequential({
      conv: layers.conv2d(8, { kernel: 3, padding: 1 }),
      norm: layers.batchNorm(),
      pool: layers.maxPool2d({ kernel: 2 }),
      flat: layers.flatten(),
      out: layers.linear(5, { bias: false }),
    });
    const { rows, total } = summary(net, { x: f32(2, 4, 6, 3) });
    const [conv, norm, pool, flat, out] = ["conv", "norm", "pool", "flat", "out"].map(
      (name) => rows.find(({ layer }) => layer === name)!,
    );
    const pixels = 2 * 4 * 6;
    expect(conv).toMatchObject({ shape: [2, 4, 6, 8], parameters: 9 * 3 * 8 + 8, fixed: 0 });
    expect(conv!.flops).toBeGreaterThanOrEqual(2 * pixels * 8 * 9 * 3);
    expect(norm).toMatchObject({ shape: [2, 4, 6, 8], parameters: 16, fixed: 16 });
    // Mean and reciprocal deviation of each channel are results too.
    expect(norm!.activationBytes).toBe(4 * (pixels * 8 + 2 * 8));
    expect(pool).toMatchObject({ shape: [2, 2, 3, 8], parameters: 0 });
    // A reshape writes nothing.
    expect(flat).toMatchObject({ shape: [2, 48], activationBytes: 0, flops: 0 });
    expect(out).toMatchObject({ shape: [2, 5], parameters: 48 * 5, flops: 2 * 2 * 48 * 5, activationBytes: 4 * 10 });
    for (const key of ["parameters", "fixed", "flops", "activationBytes"] as const) {
      expect(total[key]).toBe(rows.reduce((sum, row) => sum + row[key], 0));
    }
  });

  it("counts a parameter that two layers share once", () => {
    const { rows, total } = summary(
      ({ x }, ctx) => {
        const weight = ctx.parameter("shared/weight", [4, 4], { kind: "zeros" });
        return ctx.scope("b", () => ctx.scope("a", () => x!.matmul(weight)).matmul(weight));
      },
      { x: f32(2, 4) },
    );
    expect(rows.map(({ layer, parameters, flops }) => [layer, parameters, flops])).toEqual([
      ["b/a", 16, 2 * 2 * 4 * 4],
      ["b", 0, 2 * 2 * 4 * 4],
    ]);
    expect(total.parameters).toBe(16);
  });

  it("counts the products of every step of a recurrent layer", () => {
    const { total } = summary(({ x }, ctx) => lstm(ctx, "rnn", x!, { units: 50 }), { x: f32(3, 7, 40) });
    const products = 2 * 3 * 7 * (40 + 50) * 200;
    expect(total.flops).toBeGreaterThanOrEqual(products);
    expect(total.flops).toBeLessThan(1.1 * products);
  });

  it("groups layers by the first parts of their names", () => {
    const { rows } = summary(
      ({ x }, ctx) => ctx.scope("head", () => linear(ctx, "b", batchNorm(ctx, "norm", linear(ctx, "a", x!, 4)), 3)),
      { x: f32(2, 6) },
      { depth: 1 },
    );
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({ layer: "head", shape: [2, 3], parameters: 28 + 8 + 15, fixed: 8 });
  });

  it("is a table that ends with the total", () => {
    const { text } = summary(layers.linear(2000, { bias: false }), { x: f32(1, 1000) });
    expect(text.split("\n")).toEqual([
      "layer   output    parameters  MFLOP  activations MiB",
      "linear  [1,2000]   2 000 000   4.00             0.01",
      "total              2 000 000   4.00             0.01",
    ]);
  });

  it("of ResNet-50 and BERT-base are the published sizes", () => {
    const vision = resNet50();
    const resNet = summary(
      (columns, ctx) => vision.forward(columns, ctx),
      { image: f32(1, 224, 224, 3) },
      { depth: 1 },
    );
    expect(resNet.total.parameters).toBe(25_557_032);
    // 4.09 G multiplications and additions, and some per cent of elementwise work.
    expect(resNet.total.flops / 2e9).toBeGreaterThan(4.08);
    expect(resNet.total.flops / 2e9).toBeLessThan(4.3);
    const language = bert({ classes: 2 });
    const base = summary((columns, ctx) => language.forward(columns, ctx), { ids: { shape: [1, 16], dtype: "i32" } });
    // The encoder with its pooler (109 482 240), and the classifier.
    expect(base.total.parameters).toBe(109_482_240 + 768 * 2 + 2);
  });
});
