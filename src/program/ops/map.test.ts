// Gradients of elementwise arithmetic and reductions against central differences; broadcasting against numpy's rules.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as e from "../../kernels/expr.ts";
import { roundTo } from "../../kernels/half.ts";
import { type Differentiated, differentiate } from "../differentiate.ts";
import { concat, dropout, sigmoidCrossEntropy, weightedMean, where } from "../functions.ts";
import type { Program, Shape, TensorType } from "../ir.ts";
import { interpret } from "../reference.ts";
import { elementwise, Tensor } from "../tensor.ts";
import { checkFunction } from "../testing.ts";
import { trace } from "../trace.ts";
import { verify } from "../verify.ts";

const differentiateInput = (program: Program): Differentiated =>
  differentiate(program, { loss: "output", inputs: ["x"] });
const f32 = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });
const shapes = fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 3 });
const seeds = fc.integer({ min: 0, max: 1e6 });
/** A shape and another that broadcasts to it. */
const broadcastPair = shapes.chain((shape) =>
  fc
    .tuple(fc.integer({ min: 0, max: shape.length }), fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }))
    .map(([drop, ones]): [Shape, Shape] => [shape, shape.slice(drop).map((d, i) => (ones[i] ? 1 : d))]),
);

const unary: Readonly<Record<string, { apply: (x: Tensor) => Tensor; low?: number; high?: number }>> = {
  neg: { apply: (x) => x.neg() },
  abs: { apply: (x) => x.abs(), low: 0.1 },
  exp: { apply: (x) => x.exp() },
  log: { apply: (x) => x.log(), low: 0.2, high: 2 },
  log1p: { apply: (x) => x.log1p(), low: -0.5 },
  sqrt: { apply: (x) => x.sqrt(), low: 0.2, high: 2 },
  square: { apply: (x) => x.square() },
  tanh: { apply: (x) => x.tanh() },
  sigmoid: { apply: (x) => x.sigmoid(), low: -4, high: 4 },
  "relu above 0": { apply: (x) => x.relu(), low: 0.1 },
  "relu below 0": { apply: (x) => x.relu(), low: -1, high: -0.1 },
  "clip inside": { apply: (x) => x.clip(-2, 2) },
  "clip outside": { apply: (x) => x.clip(0, 0.1), low: 0.2 },
  "pow 3": { apply: (x) => x.pow(3) },
  "pow -1.5": { apply: (x) => x.pow(-1.5), low: 0.3, high: 2 },
  "floor has no gradient": { apply: (x) => x.mul(0).add(x.floor()), low: 0.1, high: 0.9 },
  "number operands": { apply: (x) => x.mul(3).sub(1).div(4).add(2) },
  "used twice": { apply: (x) => x.sigmoid().mul(x.exp()).add(x) },
};

describe("elementwise gradients", () => {
  for (const [name, { apply, low = -1, high = 1 }] of Object.entries(unary)) {
    it(name, () => {
      fc.assert(
        fc.property(shapes, seeds, (shape, seed) =>
          checkFunction(({ x }) => apply(x), { inputs: { x: f32(...shape) }, seed, low, high }),
        ),
        { numRuns: 10 },
      );
    });
  }

  const binary: Readonly<Record<string, { apply: (x: Tensor, y: Tensor) => Tensor; low?: number }>> = {
    add: { apply: (x, y) => x.add(y) },
    sub: { apply: (x, y) => x.sub(y) },
    mul: { apply: (x, y) => x.mul(y) },
    div: { apply: (x, y) => x.div(y), low: 0.3 },
    pow: { apply: (x, y) => x.pow(y), low: 0.3 },
    maximum: { apply: (x, y) => x.maximum(y) },
    minimum: { apply: (x, y) => x.minimum(y) },
    where: { apply: (x, y) => where(x.greater(y), x.mul(2), y.square()) },
    "comparison has no gradient": { apply: (x, y) => x.less(y).add(x).add(y) },
  };
  for (const [name, { apply, low = -1 }] of Object.entries(binary)) {
    it(`${name} of broadcast operands, both ways round`, () => {
      fc.assert(
        fc.property(broadcastPair, seeds, ([wide, narrow], seed) => {
          const inputs = { x: f32(...wide), y: f32(...narrow) };
          checkFunction(({ x, y }) => apply(x, y), { inputs, seed, low, high: 1.5 });
          checkFunction(({ x, y }) => apply(y, x), { inputs, seed, low, high: 1.5 });
        }),
        { numRuns: 10 },
      );
    });
  }

  it("two operands that broadcast against each other", () => {
    checkFunction(({ x, y }) => x.mul(y.exp()), { inputs: { x: f32(3, 1), y: f32(1, 2) }, seed: 1 });
  });

  it("several outputs of one map", () => {
    checkFunction(
      ({ x, y }) => {
        const pair = x.trace.builder.emit("map", [x.id, y.id], {
          exprs: [e.mul(e.input(0), e.input(1)), e.tanh(e.input(0))],
        });
        return concat(pair.map((id) => new Tensor(x.trace, id)));
      },
      { inputs: { x: f32(2, 3), y: f32(3) }, seed: 2 },
    );
  });

  it("relu has gradient 0 at 0, sigmoid cross-entropy ½ − y", () => {
    const gradient = (model: (x: Tensor) => Tensor): number => {
      const program = trace(({ x }) => model(x).sum(), { inputs: { x: f32(1) } });
      const { program: backward, inputGradients } = differentiateInput(program);
      return interpret(backward, { x: [0] }).value(inputGradients.x!)[0] as number;
    };
    expect(gradient((x) => x.relu())).toBe(0);
    expect(gradient((x) => sigmoidCrossEntropy(x, x.mul(0).add(1)))).toBe(-0.5);
  });
});

describe("reductions", () => {
  const axesOf = (shape: Shape, mask: readonly boolean[]): number[] =>
    shape.flatMap((_, axis) => (mask[axis] ? [axis] : []));
  const masks = fc.array(fc.boolean(), { minLength: 3, maxLength: 3 });

  for (const op of ["sum", "mean", "max"] as const) {
    it(`${op} over any axes`, () => {
      fc.assert(
        fc.property(shapes, masks, fc.boolean(), seeds, (shape, mask, keepDims, seed) =>
          checkFunction(({ x }) => x[op]({ axes: axesOf(shape, mask), keepDims }), {
            inputs: { x: f32(...shape) },
            seed,
          }),
        ),
        { numRuns: 25 },
      );
    });
  }

  it("an expression of broadcast inputs", () => {
    for (const op of ["sum", "max"] as const) {
      checkFunction(
        ({ x, y }) =>
          x.emit("reduce", [x, y], { op, axes: [1], keepDims: false, exprs: [e.mul(e.exp(e.input(0)), e.input(1))] }),
        { inputs: { x: f32(2, 3, 2), y: f32(3, 1) }, seed: 3, low: 0.1 },
      );
    }
  });

  it("elements that tie for the maximum share its gradient", () => {
    const program = trace(({ x }) => x.max(), { inputs: { x: f32(4) } });
    const { program: backward, inputGradients } = differentiateInput(program);
    expect([...interpret(backward, { x: [1, 5, 5, 2] }).value(inputGradients.x!)]).toEqual([0, 0.5, 0.5, 0]);
  });

  it("weighted mean, of weights that are all 0 too", () => {
    checkFunction(({ x, w }) => weightedMean(x.square(), w), { inputs: { x: f32(5), w: f32(5) }, seed: 4, low: 0.1 });
    const program = trace(({ x, w }) => weightedMean(x, w), { inputs: { x: f32(2), w: f32(2) } });
    expect(interpret(program, { x: [3, 4], w: [0, 0] }).outputs.output![0]).toBe(0);
  });
});

describe("dropout", () => {
  it("drops the share it says, keeps the mean, and gives the same mask to the gradient", () => {
    const n = 4000;
    const program = trace(({ x }) => dropout(x, { rate: 0.25 }), { inputs: { x: f32(n) } });
    const x = new Float64Array(n).fill(1);
    const y = interpret(program, { x, seed: [7] }).outputs.output!;
    const zeros = [...y].filter((v) => v === 0).length;
    expect(zeros / n).toBeGreaterThan(0.22);
    expect(zeros / n).toBeLessThan(0.28);
    const { program: backward, inputGradients } = differentiateInput(
      trace(({ x }) => dropout(x, { rate: 0.25 }).sum(), { inputs: { x: f32(n) } }),
    );
    expect([...interpret(backward, { x, seed: [7] }).value(inputGradients.x!)]).toEqual([...y]);
    expect([...interpret(program, { x, seed: [8] }).outputs.output!]).not.toEqual([...y]);
  });

  it("is the identity in inference, and two dropouts differ", () => {
    const model = ({ x }: { readonly x: Tensor }): Record<string, Tensor> => ({
      a: dropout(x, { rate: 0.5 }),
      b: dropout(x, { rate: 0.5 }),
    });
    const inputs = { x: f32(64) };
    const x = new Float64Array(64).fill(1);
    expect([...interpret(trace(model, { inputs, training: false }), { x }).outputs.a!]).toEqual([...x]);
    const { a, b } = interpret(trace(model, { inputs }), { x, seed: [1] }).outputs;
    expect([...a!]).not.toEqual([...b!]);
  });
});

it("elementwise() computes any expression", () => {
  checkFunction(({ x, y }) => elementwise((a, b) => e.div(e.tanh(a), e.add(1, e.exp(b))), x, y), {
    inputs: { x: f32(2, 2), y: f32(2) },
    seed: 5,
  });
});

describe("half precision", () => {
  const types = ["bf16", "f16"] as const;

  it.each(types)("a map rounds its output to %s", (dtype) => {
    const program = trace<"x">(
      ({ x }) => {
        const half = x.mul(1.1).cast(dtype);
        return { half, sum: half.add(x), constant: x.mul(0).add(0.3).cast(dtype).cast("f32") };
      },
      { inputs: { x: f32(5) } },
    );
    const x = [0.1, -3, 1000.3, 1e-6, 0];
    const half = x.map((value) => roundTo(dtype, value * 1.1));
    const { outputs } = interpret(program, { x });
    expect([...outputs.half!]).toEqual(half);
    expect([...outputs.sum!]).toEqual(half.map((value, i) => value + x[i]!));
    expect([...outputs.constant!]).toEqual(x.map(() => roundTo(dtype, 0.3)));
  });

  it.each(types)("a gradient has its input's type, %s", (dtype) => {
    const forward = trace<"x" | "row" | "half">(
      ({ x, row, half }) => ({
        output: x.cast(dtype).mul(row.cast(dtype)).add(half).mul(half).sum(),
      }),
      { inputs: { x: f32(2, 3), row: f32(3), half: { shape: [2, 3], dtype } } },
    );
    const { program, inputGradients } = differentiate(forward, { loss: "output", inputs: ["x", "row", "half"] });
    verify(program);
    const types = ["x", "row", "half"].map((name) => program.values[inputGradients[name]!]!.dtype);
    expect(types).toEqual(["f32", "f32", dtype]);
    const halves = program.ops.filter((op) => op.outputs.some((id) => program.values[id]!.dtype === dtype));
    // Two casts forward; backward the gradients of both casts' results and of the half input.
    expect(halves.length).toBeGreaterThanOrEqual(5);
    const feed = { x: [0.5, 1, 2, 4, 8, 1], row: [1, 2, 0.5], half: [2, 1, 2, 1, 2, 1] };
    const run = interpret(program, feed);
    expect([...run.value(inputGradients.x!)]).toEqual([2, 2, 1, 1, 4, 0.5]);
    expect([...run.value(inputGradients.row!)]).toEqual([5, 17, 5]);
    expect([...run.value(inputGradients.half!)]).toEqual([4.5, 4, 5, 6, 20, 2.5]);
  });
});
