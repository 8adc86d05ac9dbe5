// Every pass leaves what a program computes as it was, on random training steps; and each does what it is there for.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { input, sub } from "../kernels/expr.ts";
import type { UpdateRule } from "../kernels/update-rule.ts";
import { differentiate } from "../program/differentiate.ts";
import { concat, dropout } from "../program/functions.ts";
import type { Op, Program, TensorType } from "../program/ir.ts";
import { placeUpdates } from "../program/place-updates.ts";
import { plan } from "../program/planner.ts";
import { print } from "../program/print.ts";
import { interpret } from "../program/reference.ts";
import type { Tensor } from "../program/tensor.ts";
import { checkPlan } from "../program/testing-plan.ts";
import { type TraceContext, trace } from "../program/trace.ts";
import { verify } from "../program/verify.ts";
import {
  absorbTransposes,
  eliminateCommonSubexpressions,
  eliminateDeadCode,
  foldConstants,
  fuse,
  fuseElementwise,
  fuseMatmul,
  lower,
  optimize,
  simplifyMatmul,
} from "./index.ts";
import { mixedPrecision } from "./mixed-precision.ts";
import { type Effects, effectsOf, randomProgram } from "./testing.ts";

const passes = {
  absorbTransposes,
  simplifyMatmul,
  eliminateDeadCode,
  eliminateCommonSubexpressions,
  foldConstants,
  fuseMatmul,
  fuseElementwise,
  lower,
  "fuse after lower": (program: Program): Program => fuse(lower(program)),
  optimize,
};

function expectSameEffects(actual: Effects, expected: Effects): void {
  for (const part of ["outputs", "parameters", "table"] as const) {
    expect(Object.keys(actual[part])).toEqual(Object.keys(expected[part]));
    for (const [name, numbers] of Object.entries(expected[part])) {
      for (const [i, number] of numbers.entries()) {
        expect(actual[part][name]![i], `${part} ${name}[${i}]`).toBeCloseTo(number, 9);
      }
    }
  }
}

it("a bias and an activation go into a product in half precision, which then rounds once", () => {
  const program = trace(
    ({ x }, ctx) => {
      const w = ctx.parameter("w", [4, 3], { kind: "glorot-uniform" });
      const b = ctx.parameter("b", [3], { kind: "zeros" });
      return { y: x!.matmul(w).add(b).relu() };
    },
    { inputs: { x: { shape: [2, 4], dtype: "f32" } }, training: true },
  );
  const kinds = fuseMatmul(mixedPrecision(program, { dtype: "bf16" })).ops.map(
    ({ kind, inputs }) => `${kind} ${inputs.length}`,
  );
  expect(kinds.filter((kind) => kind.startsWith("matmul"))).toEqual(["matmul 3"]);
  expect(kinds.filter((kind) => kind === "map 2")).toEqual([]);
});

describe("random training steps", () => {
  for (const [name, pass] of Object.entries(passes)) {
    it(`${name} keeps outputs, updates and tables`, () => {
      fc.assert(
        fc.property(fc.integer({ min: 0, max: 1e9 }), (seed) => {
          const before = randomProgram(seed);
          const after = pass(before);
          verify(after);
          expectSameEffects(effectsOf(after, seed), effectsOf(before, seed));
        }),
        { numRuns: 40 },
      );
    });
  }

  it("plans of optimized programs keep every value until its last reader", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e9 }), (seed) => {
        const program = optimize(randomProgram(seed, 30));
        checkPlan(program, plan(program, { scratch: ({ kind }) => (kind === "matmul" ? 200 : 0) }));
      }),
      { numRuns: 40 },
    );
  });

  it("optimize is idempotent", () => {
    for (let seed = 0; seed < 10; seed++) {
      const once = optimize(randomProgram(seed));
      expect(print(optimize(once))).toBe(print(once));
    }
  });
});

const f32 = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });
const kinds = (program: Program): string[] => program.ops.map((op) => op.kind);
const traced = <Name extends string>(
  model: (inputs: { readonly [K in Name]: Tensor }, ctx: TraceContext) => Tensor | Record<string, Tensor>,
  inputs: Record<Name, TensorType>,
): Program => trace<Name>(model, { inputs });

describe("fusion", () => {
  it("moves bias and activation into the product, in training too", () => {
    for (const activation of ["relu", "sigmoid", "tanh"] as const) {
      const forward = traced(
        ({ x }, ctx) => {
          const y = x
            .matmul(ctx.parameter("w", [3, 2], { kind: "zeros" }))
            .add(ctx.parameter("b", [2], { kind: "zeros" }));
          return { loss: y[activation]().sum() };
        },
        { x: f32(4, 3) },
      );
      const { program, gradients } = differentiate(forward, { loss: "loss" });
      const step = optimize({ ...program, outputs: { ...program.outputs, grad: gradients.w! } });
      const product = step.ops.find((op) => op.kind === "matmul")!;
      expect(product.attrs).toMatchObject({ activation });
      expect(product.inputs).toHaveLength(3);
      expect(kinds(step)).toEqual(["matmul", "reduce", "map", "matmul"]);
    }
  });

  it("keeps a product apart whose value is read elsewhere", () => {
    const program = traced(({ x }) => ({ a: x.matmul(x), b: x.matmul(x).relu() }), { x: f32(2, 2) });
    expect(kinds(optimize(program))).toEqual(["matmul", "map"]);
  });

  it("joins a chain into one map, and into a reduction", () => {
    const chain = traced(({ x, y }) => x.mul(y).add(1).tanh().square().sub(y), { x: f32(2, 3), y: f32(3) });
    expect(kinds(optimize(chain))).toEqual(["map"]);
    const sum = traced(({ x, y }) => x.mul(y).exp().sum({ axes: 1 }), { x: f32(2, 3), y: f32(3) });
    expect(kinds(optimize(sum))).toEqual(["reduce"]);
  });

  it("does not compute expensive work twice, but cheap work", () => {
    const shared = (f: (x: Tensor) => Tensor): Program =>
      traced(({ x, y }) => ({ a: f(x).mul(y), b: f(x).sum() }), { x: f32(2, 3), y: f32(2, 3) });
    expect(kinds(optimize(shared((x) => x.exp())))).toEqual(["map", "map", "reduce"]);
    expect(kinds(optimize(shared((x) => x.mul(2))))).toEqual(["map", "reduce"]);
  });

  it("does not repeat expensive work over a broadcast axis", () => {
    const program = traced(({ x, y }) => x.mul(y.exp()), { x: f32(8, 3), y: f32(3) });
    expect(kinds(optimize(program))).toEqual(["map", "map"]);
  });

  it("keeps the place at which random numbers are drawn", () => {
    const program = traced(({ x, y }) => dropout(x, { rate: 0.5 }).mul(y), { x: f32(3), y: f32(2, 3) });
    expect(kinds(optimize(program))).toEqual(["map", "map"]);
    const same = traced(({ x, y }) => dropout(x, { rate: 0.5 }).mul(y), { x: f32(2, 3), y: f32(2, 3) });
    expect(kinds(optimize(same))).toEqual(["map"]);
  });

  it("an update in between does not part an activation's gradient from what follows", () => {
    const forward = traced(
      ({ x }, ctx) => {
        const h = x.matmul(ctx.parameter("w", [3, 4], { kind: "ones" })).relu();
        return { loss: h.matmul(ctx.parameter("out", [4, 1], { kind: "ones" })).sum() };
      },
      { x: f32(5, 3) },
    );
    const sgd: UpdateRule = { slots: [], scalars: [], weight: sub(input(0), input(1)), state: [] };
    const step = placeUpdates(differentiate(forward, { loss: "loss" }), { parameter: () => sgd, field: () => sgd });
    expect(kinds(optimize(step))).toEqual([
      "matmul",
      "matmul",
      "reduce",
      "map",
      "matmul",
      "reshape",
      "map",
      "update",
      "matmul",
      "update",
    ]);
  });

  it("does not carry a reader of a weight past its update", () => {
    const base = traced(
      ({ x }, ctx) => {
        const w = ctx.parameter("w", [2], { kind: "zeros" });
        const before = w.mul(3);
        x.trace.builder.emit("update", [w.id, x.id], {
          exprs: [{ op: "input", index: 1 }],
          targets: [0],
        });
        return before.add(x);
      },
      { x: f32(2) },
    );
    expect(kinds(fuseElementwise(base))).toEqual(["map", "update", "map"]);
    expect(kinds(optimize(base))).toEqual(["map", "update"]);
  });
});

describe("half precision", () => {
  for (const dtype of ["bf16", "f16"] as const) {
    it(`${dtype} values are rounded also where they are folded or fused`, () => {
      const program = traced(
        ({ x }) => {
          const half = x.mul(1.1).cast(dtype);
          const copy = half.cast("f32");
          return { half, sum: half.add(x).sum(), copy, constant: x.mul(0).add(0.3).cast(dtype).cast("f32") };
        },
        { x: f32(5) },
      );
      const fused = optimize(program);
      verify(fused);
      expect(kinds(fused).sort()).toEqual(["map", "map", "map", "reduce"]);
      const feed = { x: [0.1, -3, 1000.3, 1e-6, 0] };
      expect(interpret(fused, feed).outputs).toEqual(interpret(program, feed).outputs);
    });
  }

  it("an activation that a product cannot round stays a map", () => {
    const program = traced(({ x }) => x.matmul(x).relu().cast("bf16"), { x: f32(2, 2) });
    expect(kinds(optimize(program))).toEqual(["matmul", "map"]);
  });
});

describe("simpler products", () => {
  it.each(["bf16", "f16"] as const)("of thin matrices are those of whole ones in %s", (dtype) => {
    for (const [rows, inner, columns] of [
      [4, 3, 1],
      [4, 1, 3],
      [1, 3, 1],
      [4, 3, 2],
    ] as const) {
      const forward = traced(
        ({ x }, ctx) => {
          const hidden = x.matmul(ctx.parameter("w", [3, inner], { kind: "glorot-uniform" })).tanh();
          const y = hidden.matmul(ctx.parameter("v", [inner, columns], { kind: "glorot-uniform" }));
          const part = y.matmul(ctx.parameter("u", [columns, 4], { kind: "glorot-uniform" })).slice(1, 1, 3);
          return { loss: y.mul(y).sum().add(part.sum()) };
        },
        { x: f32(rows, 3) },
      );
      const half = mixedPrecision(forward, { dtype });
      const { program, gradients } = differentiate(half, { loss: "loss" });
      const step = { ...program, outputs: { ...program.outputs, ...gradients } };
      const simple = simplifyMatmul(step);
      verify(simple);
      verify(optimize(step));
      const values = (name: string, length: number): Float64Array =>
        Float64Array.from({ length }, (_, i) => Math.sin(i + name.charCodeAt(0)));
      const parameters = {
        w: values("w", 3 * inner),
        v: values("v", inner * columns),
        u: values("u", columns * 4),
      };
      const of = (it: Program) => interpret(it, { x: values("x", rows * 3) }, { parameters }).outputs;
      const expected = of(step);
      for (const [name, numbers] of Object.entries(of(simple))) {
        for (const [i, x] of numbers.entries()) expect(x, `${name}[${i}]`).toBeCloseTo(Number(expected[name]![i]), 2);
      }
    }
  });

  it("an outer product is a map that fuses, even of a parameter that is updated", () => {
    const program = traced(
      ({ x }, ctx) => {
        const w = ctx.parameter("w", [3, 1], { kind: "ones" });
        const y = x.matmul(w, { transposeB: true }).relu();
        x.trace.builder.emit("update", [w.id, y.slice(0, 0, 1).reshape([3, 1]).id], {
          exprs: [{ op: "input", index: 1 }],
          targets: [0],
        });
        return y;
      },
      { x: f32(2, 1) },
    );
    const optimized = optimize(program);
    expect(kinds(optimized)).toEqual(["reshape", "map", "slice", "reshape", "update"]);
    checkPlan(optimized, plan(optimized));
  });

  it("only the part of a product that is read is computed", () => {
    const right = traced(({ x, y }) => x.matmul(y, { transposeB: true }).slice(1, 1, 3), {
      x: f32(2, 3),
      y: f32(4, 3),
    });
    const left = traced(({ x, y }) => x.matmul(y).slice(0, 1, 2), { x: f32(2, 3), y: f32(3, 4) });
    for (const program of [left, right]) {
      expect(kinds(optimize(program))).toEqual(["slice", "matmul"]);
      expect(plan(optimize(program)).instructions).toHaveLength(1);
    }
    const scattered = traced(({ x, y }) => x.matmul(y).slice(1, 1, 2), { x: f32(2, 3), y: f32(3, 4) });
    expect(kinds(optimize(scattered))).toEqual(["matmul", "slice"]);
  });
});

describe("common subexpressions", () => {
  it("are computed once, but again after a write to what they read", () => {
    const program = traced(
      ({ x }, ctx) => {
        const w = ctx.parameter("w", [2], { kind: "zeros" });
        const before = w.exp().add(w.exp());
        x.trace.builder.emit("update", [w.id, x.id], { exprs: [{ op: "input", index: 1 }], targets: [0] });
        return { before, after: w.exp() };
      },
      { x: f32(2) },
    );
    expect(kinds(eliminateCommonSubexpressions(program))).toEqual(["map", "map", "update", "map"]);
  });
});

describe("constants and copies", () => {
  it("a value that is one number disappears", () => {
    const program = traced(({ x }) => x.mul(0).add(2).reshape([6]).reshape([2, 3]).mul(x), { x: f32(2, 3) });
    const [op, ...rest] = optimize(program).ops as [Op];
    expect(rest).toEqual([]);
    expect(print(optimize(program))).toContain("(2 * x)");
    expect(op.inputs).toHaveLength(1);
  });

  it("an output that is a copy of an input stays a copy", () => {
    const program = traced(({ x }) => x.mul(1), { x: f32(2) });
    expect(kinds(optimize(program))).toEqual(["map"]);
  });

  it("unread ops and outputs of maps go, effects stay", () => {
    const program = traced(
      ({ x }) => {
        concat([x, x]).exp();
        return x.sum();
      },
      { x: f32(2) },
    );
    expect(kinds(optimize(program))).toEqual(["reduce"]);
  });
});
