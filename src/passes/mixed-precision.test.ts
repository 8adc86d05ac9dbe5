// Mixed precision: what becomes half, what stays f32, and that numbers and gradients stay close to those of f32.
import { describe, expect, test } from "vitest";
import { relativeError } from "../engine/testing.ts";
import * as e from "../kernels/expr.ts";
import { attention, batchNorm, conv2d, crossEntropy, layerNorm, linear } from "../nn/index.ts";
import { differentiate } from "../program/differentiate.ts";
import type { Op, Program, TensorType } from "../program/ir.ts";
import { interpret } from "../program/reference.ts";
import type { Tensor } from "../program/tensor.ts";
import { randomFeed, randomFrom } from "../program/testing.ts";
import { type ModelFunction, trace } from "../program/trace.ts";
import { verify } from "../program/verify.ts";
import { mixedPrecision } from "./mixed-precision.ts";

const f32 = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });

const picture = trace(
  ({ x, label }, ctx) => {
    let y = conv2d(ctx, "conv", x, 6, { kernel: 3, padding: 1, bias: false });
    y = batchNorm(ctx, "norm", y)
      .relu()
      .add(conv2d(ctx, "short", x, 6, { kernel: 1 }));
    const logits = linear(ctx, "head", y.mean({ axes: [1, 2] }), 4);
    return { loss: crossEntropy(logits, label).mean(), logits };
  },
  { inputs: { x: f32(3, 4, 4, 2), label: { shape: [3], dtype: "i32" } } },
);

const typesOf = (program: Program, kind: Op["kind"]): string[] =>
  program.ops.filter((op) => op.kind === kind).map((op) => program.values[op.outputs[0]!]!.dtype);

const isFloat = (dtype: string): boolean => dtype === "f32" || dtype === "bf16" || dtype === "f16";

describe.each(["bf16", "f16"] as const)("%s", (dtype) => {
  test("products and convolutions are half, sums, softmax and outputs f32, the rest as its operands are", () => {
    const program = mixedPrecision(picture, { dtype });
    verify(program);
    expect(typesOf(program, "conv2d")).toEqual([dtype, dtype]);
    expect(typesOf(program, "matmul")).toEqual([dtype]);
    expect(typesOf(program, "batch_norm")).toEqual([dtype]);
    expect(new Set(typesOf(program, "reduce"))).toEqual(new Set(["f32"]));
    expect(typesOf(program, "softmax_cross_entropy")).toEqual(["f32"]);
    for (const id of Object.values(program.outputs)) expect(program.values[id]!.dtype).toBe("f32");
    for (const { value } of Object.values(program.parameters)) expect(program.values[value]!.dtype).toBe("f32");
  });

  test("each weight is cast once, gradients reach the f32 weights", () => {
    const shared = trace(
      ({ x }, ctx) => {
        const w = ctx.parameter("w", [2, 2], { kind: "ones" });
        return { loss: x.matmul(w).matmul(w).sum() };
      },
      { inputs: { x: f32(3, 2) } },
    );
    const program = mixedPrecision(shared, { dtype });
    expect(program.ops.filter((op) => op.kind === "map")).toHaveLength(2);
    const { program: backward, gradients } = differentiate(program, { loss: "loss" });
    verify(backward);
    expect(backward.values[gradients.w!]!.dtype).toBe("f32");
  });

  test("outputs and gradients are those of f32 to the precision of the type", () => {
    const steps = { bf16: 2 ** -8, f16: 2 ** -11 }[dtype];
    const run = (program: Program) => {
      const { program: backward, gradients } = differentiate(program, { loss: "loss" });
      const { inputs, parameters } = randomFeed(program, randomFrom(3), { classes: 4 });
      for (const [name, values] of Object.entries(parameters)) if (name.includes("variance")) values.fill(1);
      const { outputs, value } = interpret(backward, inputs, { parameters });
      return { outputs, gradients: Object.entries(gradients).map(([name, id]) => [name, [...value(id)]] as const) };
    };
    const [exact, half] = [run(picture), run(mixedPrecision(picture, { dtype }))];
    expect(relativeError([...half.outputs.logits!].map(Number), [...exact.outputs.logits!].map(Number))).toBeLessThan(
      8 * steps,
    );
    for (const [i, [name, values]] of exact.gradients.entries()) {
      const size = Math.max(1, ...values.map((v) => Math.abs(Number(v))));
      const error = relativeError(
        half.gradients[i]![1].map((v) => Number(v) / size),
        values.map((v) => Number(v) / size),
      );
      expect(error, name).toBeLessThan(16 * steps);
    }
  });
});

describe("lists", () => {
  const model: ModelFunction<"x"> = ({ x }, ctx) => {
    const inner = (name: string, y: Tensor): Tensor => linear(ctx, name, layerNorm(ctx, `${name}/norm`, y), 4);
    const y = inner("a", x);
    return {
      y: inner("b", attention(y, y, y, { heads: 2 })),
      scale: y.emit("map", [y], { exprs: [e.exp(e.input(0))] }),
    };
  };
  const program = trace(model, { inputs: { x: f32(2, 3, 4) } });

  test("a kind or a scope can be kept in f32, a scope overrules a kind", () => {
    const halves = (lists: object) => typesOf(mixedPrecision(program, { dtype: "bf16", lists }), "matmul");
    expect(halves({})).toEqual(["bf16", "bf16"]);
    expect(halves({ black: ["matmul"] })).toEqual(["f32", "f32"]);
    expect(halves({ black: ["b"] })).toEqual(["bf16", "f32"]);
    expect(halves({ black: ["matmul"], white: ["a"] })).toEqual(["bf16", "f32"]);
  });

  test("softmax stays f32, its product half; exp gives f32", () => {
    const mixed = mixedPrecision(program, { dtype: "bf16" });
    expect(typesOf(mixed, "softmax")).toEqual(["f32"]);
    expect(typesOf(mixed, "batch_matmul")).toEqual(["bf16", "bf16"]);
    const exp = mixed.ops.find((op) => op.kind === "map" && op.attrs.exprs[0]!.op === "exp")!;
    expect(mixed.values[exp.outputs[0]!]!.dtype).toBe("f32");
  });

  test("no op mixes half types with f32 in an operand that must agree", () => {
    for (const op of mixedPrecision(program, { dtype: "bf16" }).ops) {
      if (op.kind !== "matmul" && op.kind !== "batch_matmul") continue;
      const types = op.inputs.slice(0, 2).map((id) => mixedPrecision(program, { dtype: "bf16" }).values[id]!.dtype);
      expect(types.every((type) => isFloat(type) && type === types[0])).toBe(true);
    }
  });

  test("a name that is neither a kind nor a scope is refused", () => {
    expect(() => mixedPrecision(program, { dtype: "bf16", lists: { white: ["conv3d"] } })).toThrow(
      /white list.*conv3d/,
    );
  });
});
