// Convolutions, pooling, batched products and embeddings: gradients against central differences, shapes refused by name.
import { describe, expect, it } from "vitest";
import { differentiate } from "../differentiate.ts";
import { embedding } from "../functions.ts";
import type { OpAttrs, TensorType } from "../ir.ts";
import { interpret } from "../reference.ts";
import { checkFunction } from "../testing.ts";
import { trace } from "../trace.ts";

const f32 = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });

const conv: OpAttrs["conv2d"] = { stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1 };

describe("conv2d", () => {
  const settings: { name: string; attrs: OpAttrs["conv2d"]; x: number[]; w: number[] }[] = [
    { name: "plain", attrs: conv, x: [2, 4, 5, 2], w: [3, 2, 2, 3] },
    { name: "padded", attrs: { ...conv, padding: [1, 1, 1, 1] }, x: [1, 3, 3, 2], w: [3, 3, 2, 2] },
    { name: "asymmetric", attrs: { ...conv, stride: [2, 1], padding: [0, 1, 2, 0] }, x: [2, 5, 4, 1], w: [2, 3, 1, 2] },
    { name: "strided", attrs: { ...conv, stride: [2, 3] }, x: [1, 7, 8, 2], w: [3, 2, 2, 2] },
    { name: "dilated", attrs: { ...conv, dilation: [2, 2] }, x: [1, 6, 5, 1], w: [2, 2, 1, 2] },
    { name: "grouped", attrs: { ...conv, groups: 2 }, x: [1, 3, 3, 4], w: [2, 2, 2, 6] },
    { name: "depthwise", attrs: { ...conv, groups: 3 }, x: [1, 3, 3, 3], w: [2, 2, 1, 3] },
  ];
  for (const { name, attrs, x, w } of settings) {
    it(`${name}, with and without a bias`, () => {
      const inputs = { x: f32(...x), w: f32(...w), bias: f32(w[3]!) };
      checkFunction((v) => v.x.emit("conv2d", [v.x, v.w, v.bias], attrs), { inputs, seed: 3 });
      checkFunction((v) => v.x.emit("conv2d", [v.x, v.w], { ...attrs, activation: "relu" }), { inputs, seed: 4 });
    });
  }

  it("refuses what does not fit", () => {
    const run = (x: number[], w: number[], attrs = conv) =>
      trace((v) => v.x.emit("conv2d", [v.x, v.w], attrs), { inputs: { x: f32(...x), w: f32(...w) } });
    expect(() => run([1, 4, 4, 3], [3, 3, 2, 8])).toThrow(/take 2 channels in 1 groups, got 3/);
    expect(() => run([1, 4, 4, 3], [3, 3, 1, 8], { ...conv, groups: 3 })).toThrow(/3 groups do not divide/);
    expect(() => run([1, 2, 2, 1], [3, 3, 1, 1])).toThrow(/does not fit into a picture of \[2,2\]/);
    expect(() => run([1, 4, 4, 1], [3, 3, 1, 1], { ...conv, stride: [0, 1] })).toThrow(/stride \[0,1\]/);
    expect(() => run([4, 4, 1], [3, 3, 1, 1])).toThrow(/takes pictures \[B,H,W,C\]/);
  });
});

describe("pool2d", () => {
  const attrs = { kernel: [3, 2], stride: [2, 1], padding: [1, 0, 0, 1], countPadding: false, training: true } as const;
  for (const mode of ["max", "average"] as const) {
    for (const countPadding of mode === "average" ? [false, true] : [false]) {
      it(`${mode}${countPadding ? ", padding counted" : ""}`, () => {
        // Seeds without two maxima of a window so close that a difference of inputs swaps them.
        for (const seed of [11, 12, 13, 14, 15]) {
          checkFunction(({ x }) => x.emit("pool2d", [x], { ...attrs, mode, countPadding }), {
            inputs: { x: f32(2, 5, 4, 3) },
            seed,
          });
        }
      });
    }
  }

  it("windows overlap, the first of equal maxima counts", () => {
    const program = trace(({ x }) => x.emit("pool2d", [x], { ...attrs, mode: "max", padding: [0, 0, 0, 0] }), {
      inputs: { x: f32(1, 3, 2, 1) },
    });
    const { value } = interpret(program, { x: [1, 7, 2, 7, 7, 0] });
    expect([...value(program.ops[0]!.outputs[1]!)]).toEqual([1]);
  });
});

describe("batch_matmul", () => {
  for (const transposeA of [false, true]) {
    for (const transposeB of [false, true]) {
      it(`transposed: ${transposeA}, ${transposeB}, as stored and with permuted axes`, () => {
        const a = transposeA ? [2, 3, 4, 5] : [2, 3, 5, 4];
        const b = transposeB ? [2, 3, 2, 4] : [2, 3, 4, 2];
        const swap = ([p, q, r, s]: number[]): number[] => [p!, r!, q!, s!];
        const perm = [0, 2, 1, 3];
        const attrs = { transposeA, transposeB };
        checkFunction((v) => v.a.emit("batch_matmul", [v.a, v.b], attrs), {
          inputs: { a: f32(...a), b: f32(...b) },
          seed: 1,
        });
        checkFunction(
          (v) => v.a.emit("batch_matmul", [v.a, v.b], { ...attrs, permA: perm, permB: perm, permC: perm }),
          {
            inputs: { a: f32(...swap(a)), b: f32(...swap(b)) },
            seed: 2,
          },
        );
      });
    }
  }

  it("a permuted operand is the transposed one", () => {
    const inputs = { a: f32(2, 4, 3, 5), b: f32(2, 3, 5, 2) };
    const both = trace(
      ({ a, b }) => ({
        absorbed: a.emit("batch_matmul", [a, b], { transposeA: false, transposeB: false, permA: [0, 2, 1, 3] }),
        explicit: a.emit("batch_matmul", [a.transpose([0, 2, 1, 3]), b], { transposeA: false, transposeB: false }),
      }),
      { inputs },
    );
    const { outputs } = interpret(both, {
      a: Array.from({ length: 120 }, (_, i) => Math.sin(i)),
      b: Array.from({ length: 60 }, (_, i) => Math.cos(i)),
    });
    expect([...outputs.absorbed!]).toEqual([...outputs.explicit!]);
  });
});

describe("embedding", () => {
  const ids: TensorType = { shape: [2, 3], dtype: "i32" };

  it("gathers rows; gradients of repeated ids add up", () => {
    checkFunction((v) => v.w.emit("embedding", [v.w, v.ids], {}).square(), {
      inputs: { w: f32(4, 2), ids },
      seed: 5,
      classes: 4,
    });
  });

  it("rows have the weights' type; gradients add up in f32", () => {
    const forward = trace(
      ({ w, ids }) => {
        const rows = embedding(w.cast("bf16"), ids);
        return { rows, loss: rows.sum() };
      },
      { inputs: { w: f32(4, 2), ids } },
    );
    expect(forward.values[forward.outputs.rows!]).toMatchObject({ shape: [2, 3, 2], dtype: "bf16" });
    const { program, inputGradients } = differentiate(forward, { loss: "loss", inputs: ["w"] });
    const { value } = interpret(program, { w: new Float64Array(8), ids: [3, 0, 3, 3, 1, 0] });
    expect(program.values[inputGradients.w!]!.dtype).toBe("f32");
    expect([...value(inputGradients.w!)]).toEqual([2, 2, 1, 1, 0, 0, 3, 3]);
  });

  it("an unknown id is a row of NaN", () => {
    const program = trace((v) => v.w.emit("embedding", [v.w, v.ids], {}), {
      inputs: { w: f32(2, 1), ids: { shape: [4], dtype: "i32" } },
    });
    const { outputs } = interpret(program, { w: [3, 4], ids: [1, 2, -1, 0] });
    expect([...outputs.output!]).toEqual([4, Number.NaN, Number.NaN, 3]);
  });
});
