// What stands around softmax and norms becomes part of their kernels, and what they compute stays the same.
import { describe, expect, it } from "vitest";
import { add, index, input } from "../kernels/expr.ts";
import { batchNorm } from "../program/batch-norm.ts";
import { differentiate } from "../program/differentiate.ts";
import { dropout, layerNorm } from "../program/functions.ts";
import type { OpOf, Program, TensorType } from "../program/ir.ts";
import { interpret } from "../program/reference.ts";
import { Tensor } from "../program/tensor.ts";
import { randomFeed, randomFrom } from "../program/testing.ts";
import { type TraceContext, trace } from "../program/trace.ts";
import { verify } from "../program/verify.ts";
import { optimize } from "./optimize.ts";

const f32 = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });

/** The kinds of the optimized program, which gives what the traced one gives. */
function optimized(program: Program): { kinds: string[]; rows: OpOf<"rows">[] } {
  const after = optimize(program);
  verify(after);
  const { inputs, parameters } = randomFeed(program, randomFrom(3), { low: -2, high: 2, classes: 3 });
  const state = (): { parameters: Record<string, Float64Array> } => ({
    parameters: Object.fromEntries(Object.entries(parameters).map(([name, values]) => [name, values.map(Math.abs)])),
  });
  const [moved, expected] = [state(), state()];
  const { outputs } = interpret(after, inputs, moved);
  for (const [name, values] of Object.entries(interpret(program, inputs, expected).outputs)) {
    for (const [i, value] of values.entries())
      expect(Number(outputs[name]![i]), `${name}[${i}]`).toBeCloseTo(Number(value), 9);
  }
  for (const [name, values] of Object.entries(expected.parameters)) {
    for (const [i, value] of values.entries()) expect(moved.parameters[name]![i], name).toBeCloseTo(value, 9);
  }
  const instructions = after.ops.filter(({ kind }) => kind !== "reshape" && kind !== "slice");
  return {
    kinds: instructions.map(({ kind }) => kind),
    rows: after.ops.filter((op) => op.kind === "rows"),
  };
}

const traced = <Name extends string>(
  model: (inputs: { readonly [K in Name]: Tensor }, ctx: TraceContext) => Tensor | Record<string, Tensor>,
  inputs: Record<Name, TensorType>,
  training = true,
): Program => trace<Name>(model, { inputs, training });

const parameter = (ctx: TraceContext, name: string, n: number): Tensor => ctx.parameter(name, [n], { kind: "ones" });
const norm = (x: Tensor, ctx: TraceContext): Tensor =>
  layerNorm(x, parameter(ctx, "gamma", x.shape.at(-1)!), parameter(ctx, "beta", x.shape.at(-1)!));

describe("fusion with rows", () => {
  it("scale and mask before a softmax, dropout and a cast behind it are one kernel", () => {
    const program = traced(
      ({ x, mask }) => {
        const weights = x.mul(0.125).add(mask).softmax();
        return { dropped: dropout(weights, { rate: 0.5 }).cast("bf16") };
      },
      { x: f32(2, 3, 5), mask: f32(2, 1, 5) },
    );
    const { kinds, rows } = optimized(program);
    expect(kinds).toEqual(["rows"]);
    expect(rows[0]!.attrs.dtypes).toEqual(["bf16"]);
  });

  it("a softmax and its dropout are results of one kernel in training, their gradients of another", () => {
    const forward = traced(({ x, y }) => ({ loss: dropout(x.softmax(), { rate: 0.5 }).mul(y).sum() }), {
      x: f32(4, 6),
      y: f32(4, 6),
    });
    const { program, inputGradients } = differentiate(forward, { loss: "loss", inputs: ["x"] });
    const whole = { ...program, outputs: { ...program.outputs, dx: inputGradients.x! } };
    const { kinds, rows } = optimized(whole);
    expect(kinds).toEqual(["rows", "reduce", "rows"]);
    expect(rows.map(({ outputs }) => outputs.length)).toEqual([2, 1]);
  });

  it("a residual sum that only the norm reads is computed in it", () => {
    const program = traced(({ x, y }, ctx) => norm(x.add(dropout(y, { rate: 0.5 })), ctx).relu(), {
      x: f32(4, 6),
      y: f32(4, 6),
    });
    expect(optimized(program).kinds).toEqual(["rows"]);
  });

  it("a residual sum that is read again is written by a map of its own", () => {
    const program = traced(
      ({ x, y }, ctx) => {
        const sum = x.exp().add(y);
        return { sum: sum.cast("bf16"), y: norm(sum, ctx) };
      },
      { x: f32(4, 6), y: f32(4, 6) },
    );
    expect(optimized(program).kinds).toEqual(["map", "map", "rows"]);
  });

  it("numbers a row are not read as a row", () => {
    const program = traced(
      ({ x }) => {
        const [y, mean] = x.trace.builder.emit(
          "layer_norm",
          [x.id, x.slice(0, 0, 1).reshape([4]).id, x.slice(0, 1, 2).reshape([4]).id],
          {
            epsilon: 1e-5,
          },
        );
        return new Tensor(x.trace, y!).mul(new Tensor(x.trace, mean!));
      },
      { x: f32(4, 4) },
    );
    expect(optimized(program).kinds).toEqual(["rows", "map"]);
  });

  it("a result that is read in between stays where it is", () => {
    const program = traced(
      ({ x, w }) => {
        const y = x.softmax();
        return y.matmul(w).mul(y);
      },
      { x: f32(4, 4), w: f32(4, 4) },
    );
    expect(optimized(program).kinds).toEqual(["rows", "matmul", "map"]);
  });

  it("indices are not moved to a loop in which they mean another place", () => {
    const program = traced(
      ({ column, x }) => {
        const exprs = [add(input(0), index(-1))];
        const [moved] = x.trace.builder.emit("map", [column.id], { exprs, shape: [3, 1] });
        return new Tensor(x.trace, moved!).mul(x);
      },
      { column: f32(3, 1), x: f32(3, 4) },
    );
    expect(optimized(program).kinds).toEqual(["map", "map"]);
  });
});

describe("batch normalisation", () => {
  const normalized = (x: Tensor, ctx: TraceContext): Tensor => {
    const n = x.shape.at(-1)!;
    const fixed = { trainable: false } as const;
    return batchNorm(x, {
      gamma: parameter(ctx, "gamma", n),
      beta: parameter(ctx, "beta", n),
      runningMean: ctx.parameter("mean", [n], { kind: "zeros" }, fixed),
      runningVariance: ctx.parameter("variance", [n], { kind: "ones" }, fixed),
    });
  };
  const picture = { x: f32(2, 3, 3, 5), skip: f32(2, 3, 3, 5) };

  it("takes the addition and the activation behind it into its map", () => {
    const model = ({ x, skip }: { x: Tensor; skip: Tensor }, ctx: TraceContext): Tensor =>
      normalized(x, ctx).add(skip).relu();
    expect(optimized(traced(model, picture)).kinds).toEqual(["reduce", "map", "update", "map"]);
    expect(optimized(traced(model, picture, false)).kinds).toEqual(["map", "map"]);
  });

  it("its gradient reads the activation's mask twice rather than write the masked gradient", () => {
    const forward = traced(({ x, skip }, ctx) => {
      const y = normalized(x, ctx).relu();
      return { y, loss: y.mul(skip).sum() };
    }, picture);
    const { program, inputGradients } = differentiate(forward, { loss: "loss", inputs: ["x"] });
    const { kinds } = optimized({ ...program, outputs: { y: program.outputs.y!, dx: inputGradients.x! } });
    // Statistics, coefficients, the activation; the sums, coefficients and dx.
    expect(kinds).toEqual(["reduce", "map", "update", "map", "reduce", "map", "map"]);
  });
});
