// Tracing: names, scopes, sharing, and errors that say what and where.
import { describe, expect, it } from "vitest";
import { batchNorm } from "./batch-norm.ts";
import { ShapeError } from "./errors.ts";
import { concat, dropout, sigmoidCrossEntropy } from "./functions.ts";
import type { Program, TableSpec, TensorType } from "./ir.ts";
import { print, summarize } from "./print.ts";
import type { Tensor } from "./tensor.ts";
import { type TraceContext, trace } from "./trace.ts";
import { verify } from "./verify.ts";

const f32 = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });
const spec: TableSpec = {
  name: "t",
  seed: 1,
  fields: [{ name: "v", dim: 4, slots: [], init: { kind: "zeros", scale: 0 } }],
};
const inputs = { x: f32(2, 3), ids: { shape: [2], dtype: "u64" } } as const;
const build = (
  model: (inputs: { readonly x: Tensor; readonly ids: Tensor }, ctx: TraceContext) => Tensor | Record<string, Tensor>,
): Program => trace<"x" | "ids">(model, { inputs });

describe("trace", () => {
  it("prefixes parameters and ops by their scopes", () => {
    const program = build(({ x }, ctx) =>
      ctx.scope("tower", () =>
        ctx.scope("0", () => x.mul(ctx.parameter("w", [3], { kind: "ones" }, { group: "wide" }))),
      ),
    );
    expect(program.parameters).toMatchObject({ "tower/0/w": { trainable: true, group: "wide" } });
    expect(program.ops[0]!.scope).toBe("tower/0");
    verify(program);
  });

  it("is plain data", () => {
    const program = build(({ x, ids }, ctx) => ({
      y: dropout(x, { rate: 0.5 }),
      v: ctx.table(spec).lookup(ids).gather("v"),
    }));
    expect(structuredClone(program)).toEqual(program);
    expect(JSON.parse(JSON.stringify(program))).toEqual(program);
  });

  it("prints itself", () => {
    const program = build(({ x }, ctx) =>
      ctx.scope("a", () => x.mul(2).add(ctx.parameter("b", [3], { kind: "constant", value: 1 }))),
    );
    expect(print(program)).toBe(
      [
        "input x: f32[2,3]",
        "input ids: u64[2]",
        "parameter a/b: f32[3] constant(1) group=default",
        "%2: f32[2,3] = map (x * 2)  # a",
        "%4: f32[2,3] = map (%2 + a/b)  # a",
        "output output = %4",
        "",
      ].join("\n"),
    );
    expect(summarize(program)).toBe("2 ops (2 map), 3 dense weights, 0 tables");
  });

  it("inference drops nothing, inserts nothing and takes running statistics", () => {
    const model = ({ x, ids }: { x: Tensor; ids: Tensor }, ctx: TraceContext): Tensor => {
      ctx.table(spec).lookup(ids);
      const [gamma, beta, runningMean, runningVariance] = ["g", "b", "m", "v"].map((name) =>
        ctx.parameter(name, [3], { kind: "ones" }),
      );
      return dropout(
        batchNorm(x, {
          gamma: gamma!,
          beta: beta!,
          runningMean: runningMean!,
          runningVariance: runningVariance!,
          weight: x.slice(1, 0, 1).reshape([2]),
        }),
        { rate: 0.5 },
      );
    };
    const program = trace<"x" | "ids">(model, { inputs, training: false });
    expect(program.ops.map(({ kind }) => kind)).toEqual(["lookup", "slice", "reshape", "batch_norm"]);
    expect(program.ops[0]!.attrs).toEqual({ table: "t", insert: false });
    expect(program.ops.at(-1)!.outputs).toHaveLength(1);
  });
});

describe("errors", () => {
  const cases: readonly (readonly [string, Parameters<typeof build>[0], RegExp])[] = [
    [
      "shapes that do not broadcast",
      ({ x }) => x.add(x.transpose()),
      /map\(f32\[2,3\], f32\[3,2\]\): shapes \[2,3\] and \[3,2\] do not broadcast/,
    ],
    ["inner dimensions", ({ x }) => x.matmul(x), /matmul\(f32\[2,3\], f32\[2,3\]\): inner dimensions differ: 3 and 2/],
    ["a reshape of another size", ({ x }) => x.reshape([4]), /6 elements do not make the shape \[4\]/],
    ["a reshape that does not divide", ({ x }) => x.reshape([4, -1]), /6 elements do not make the shape \[4,1.5\]/],
    ["a bad axis", ({ x }) => x.sum({ axes: 2 }), /axis 2 is not one of the 2 axes of \[2,3\]/],
    ["a repeated axis", ({ x }) => x.sum({ axes: [1, -1] }), /axes \[1,1\] repeat/],
    ["a range outside", ({ x }) => x.slice(1, 2, 4), /\[2, 4\) is not a range of axis 1, of length 3/],
    ["a bad permutation", ({ x }) => x.transpose([0, 0]), /\[0,0\] does not permute 2 axes/],
    ["arithmetic of ids", ({ ids }) => ids.add(1), /64-bit ids have no arithmetic/],
    ["concat of other shapes", ({ x }) => concat([x, x.transpose()]), /inputs differ in more than axis 1/],
    ["concat of nothing", () => concat([]), /at least one tensor/],
    ["labels of another shape", ({ x }) => sigmoidCrossEntropy(x, x.sum({ axes: 1 })), /\[2,3\] and \[2\] differ/],
    ["a dropout rate", ({ x }) => dropout(x, { rate: 1 }), /rate 1 is not in \[0, 1\)/],
    ["clip limits", ({ x }) => x.clip(1, 0), /clip\(1, 0\)/],
    ["a look-up of numbers", ({ x }, ctx) => ctx.table(spec).lookup(x).rows, /the ids must be u64, got f32/],
    ["an unknown field", ({ ids }, ctx) => ctx.table(spec).lookup(ids).gather("w"), /table t has no field w: it has v/],
    [
      "a pooled rank-1 look-up",
      ({ ids }, ctx) => ctx.table(spec).lookup(ids).gatherPool("v", "sum"),
      /must have rank 2, got \[2\]/,
    ],
    [
      "a table declared twice",
      ({ ids }, ctx) =>
        ctx
          .table(spec)
          .lookup(ids)
          .gather("v")
          .add(ctx.table({ ...spec, seed: 2 }).lookup(ids).rows),
      /table t is declared twice/,
    ],
    [
      "a parameter declared twice",
      (_, ctx) => ctx.parameter("w", [1], { kind: "ones" }).add(ctx.parameter("w", [1], { kind: "ones" })),
      /parameter w exists already/,
    ],
    [
      "a parameter of no shape",
      (_, ctx) => ctx.parameter("w", [-1], { kind: "ones" }),
      /parameter w has the shape \[-1\]/,
    ],
    ["an unknown input", (all) => (all as Record<string, Tensor>).y!.neg(), /no input y: the model gets x, ids/],
  ];
  for (const [name, model, message] of cases) {
    it(name, () => {
      expect(() => build(model)).toThrow(message);
      expect(() => build(model)).toThrow(ShapeError);
    });
  }

  it("name the scope and the model's own line", () => {
    expect(() => build(({ x }, ctx) => ctx.scope("mlp/0", () => x.matmul(x)))).toThrow(
      /, in scope mlp\/0, at .*trace\.test\.ts:\d+:\d+$/,
    );
  });

  it("tensors of two traces do not mix", () => {
    let kept: Tensor | undefined;
    build(({ x }) => {
      kept = x;
      return x;
    });
    expect(() => build(({ x }) => x.add(kept!))).toThrow(/two different traces/);
  });
});

describe("verify", () => {
  const program = build(({ x }) => x.neg().exp());
  const broken: readonly (readonly [string, Program, RegExp])[] = [
    ["order", { ...program, ops: program.ops.toReversed() }, /op 0 \(map\) reads value 2 before it is defined/],
    ["two definitions", { ...program, ops: [...program.ops, program.ops[0]!] }, /defines value 2 again/],
    [
      "types",
      { ...program, values: program.values.map((v) => (v.id === 2 ? { ...v, shape: [2] } : v)) },
      /gives \(f32\[2,3\]\), but its outputs are \(f32\[2\]\)/,
    ],
    ["missing outputs", { ...program, ops: [] }, /output output is value 3, which nothing defines/],
    ["ids", { ...program, values: program.values.toReversed() }, /value 0 calls itself 3/],
    [
      "writes",
      {
        ...program,
        ops: [
          {
            kind: "update",
            inputs: [0],
            outputs: [],
            attrs: { exprs: [{ op: "const", value: 1 }], targets: [0] },
            scope: "",
          },
          ...program.ops,
        ],
      },
      /op 0 \(update\) writes value 0, which is not a parameter/,
    ],
  ];
  for (const [name, bad, message] of broken) {
    it(`finds a fault in ${name}`, () => {
      expect(() => verify(bad)).toThrow(message);
    });
  }
});
