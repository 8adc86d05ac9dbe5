import { describe, expect, it } from "vitest";
import { bindKernels, compileKernels } from "./compile.ts";
import * as e from "./expr.ts";
import { fold } from "./fold.ts";
import { Graph } from "./graph.ts";
import { Lowering } from "./lower.ts";
import { assemble } from "./module.ts";
import type { Kernel, KernelFunction, MapKernel } from "./spec.ts";
import { FunctionBuilder, valueType } from "./wasm.ts";

const x = e.input(0);
const map = (expr: e.Expr, shape: number[] = [8], inputs: MapKernel["inputs"] = [{ shape }]): MapKernel => ({
  type: "map",
  exprs: [expr],
  shape,
  inputs,
});

/** The number of nodes that expressions of four varying operands become. */
const nodesOf = (...exprs: e.Expr[]): number => {
  const graph = new Graph(Array.from({ length: 4 }, () => ({ varies: true, level: 1 })));
  const lowering = new Lowering(graph, ["f32", "f32", "f32", "f32"]);
  for (const expr of exprs) lowering.lower(expr);
  return graph.nodes.length;
};

describe("compileKernels", () => {
  it("compiles equal kernels once and tells apart numbers that JSON does not write", () => {
    const kernels = [e.add(x, 1), e.add(x, 2), e.add(x, 1), e.max(x, Infinity), e.max(x, -Infinity)].map((expr) =>
      map(expr),
    );
    expect(compileKernels(kernels).names).toEqual(["k0", "k1", "k0", "k2", "k3"]);
  });

  it("makes modules that any shared memory binds", () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true });
    const [double] = bindKernels(compileKernels([map(e.mul(x, 2))]), memory);
    const floats = new Float32Array(memory.buffer, 1024, 16);
    floats.set([1, 2, 3, 4, 5, 6, 7, 8]);
    double!(1024, 1024 + 32);
    expect([...floats.subarray(8)]).toEqual([2, 4, 6, 8, 10, 12, 14, 16]);
  });

  it("compiles nothing to an empty module", () => {
    expect(compileKernels([]).names).toEqual([]);
  });

  it.each([
    ["i32", new WebAssembly.Memory({ initial: 65536, maximum: 65536, shared: true })],
    ["i64", new WebAssembly.Memory({ initial: 262144n, maximum: 262144n, shared: true, address: "i64" })],
  ] as const)("reaches the end of the largest memory with addresses of type %s", (addressType, memory) => {
    const [double] = bindKernels(compileKernels([map(e.mul(x, 2), [5])], addressType), memory);
    const end = memory.buffer.byteLength;
    const floats = new Float32Array(memory.buffer, end - 40, 10);
    floats.set([1, 2, 3, 4, 5]);
    double!(end - 40, end - 20);
    expect([...floats.subarray(5)]).toEqual([2, 4, 6, 8, 10]);
  });

  it("moves pointers by more than 4 GiB", () => {
    const memory = new WebAssembly.Memory({ initial: 262144n, maximum: 262144n, shared: true, address: "i64" });
    const fn = new FunctionBuilder(2, "i64");
    fn.increment(0, 2 ** 33);
    fn.increment(0, -4);
    fn.load(0, 0, 1, 4);
    const value = fn.local(valueType.v128);
    fn.set(value);
    fn.store(1, 0, 1, value, 4);
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(assemble([{ name: "k", body: fn }], "i64")), {
      env: { memory },
    });
    new Float32Array(memory.buffer, 2 ** 33 + 65536 - 4, 1)[0] = 5;
    (exports.k as KernelFunction)(65536, 2 ** 34 - 4);
    expect(new Float32Array(memory.buffer, 2 ** 34 - 4, 1)[0]).toBe(5);
  });

  it.each<[string, Kernel, string]>([
    [
      "an operand that is missing",
      map(e.add(x, e.input(3))),
      "expression 0 of a map kernel reads operand 3, but there are 1",
    ],
    [
      "shapes that do not broadcast",
      map(x, [4, 3], [{ shape: [4] }]),
      "input 0 of a map kernel has shape [4], which does not broadcast to [4, 3]",
    ],
    ["a size that is no integer", map(x, [2.5]), "a map kernel has shape [2.5]"],
    ["rowMean outside of rows", map(e.rowMean(x)), "uses rowMean, which is allowed only in update rules"],
    ["a seed that is a float", map(e.uniform(x, 0)), "the seed of uniform must be a u32 operand"],
    [
      "a repeated axis",
      { type: "reduce", op: "sum", exprs: [x], shape: [2], inputs: [{ shape: [2] }], axes: [0, 0] },
      "has axes [0, 0]",
    ],
    [
      "a row without elements",
      {
        type: "rowUpdate",
        rule: { slots: [], scalars: [], weight: x, state: [] },
        dim: 0,
        weightOffset: 0,
        slotOffsets: [],
      },
      "dim 0",
    ],
    [
      "slots without offsets",
      {
        type: "rowUpdate",
        rule: { slots: [{ name: "s", initial: 0 }], scalars: [], weight: x, state: [x] },
        dim: 1,
        weightOffset: 0,
        slotOffsets: [],
      },
      "1 slots has 1 state expressions and its row 0 slot offsets",
    ],
  ])("refuses %s", (_, kernel, message) => {
    expect(() => compileKernels([kernel])).toThrow(message);
  });
});

describe("the graph", () => {
  it("holds common parts of all expressions once", () => {
    const square = (): e.Expr => e.mul(e.input(1), e.input(1));
    const sum = (): e.Expr => e.add(e.input(2), square());
    // Operands 0, 1, 2, their square, sum, root and difference.
    expect(nodesOf(e.sub(e.input(0), e.sqrt(sum())), sum())).toBe(7);
    expect(nodesOf(e.add(e.input(0), e.input(1)), e.add(e.input(1), e.input(0)))).toBe(3);
  });

  it("multiplies for small powers and exact reciprocals", () => {
    expect(nodesOf(e.pow(x, 2))).toBe(2);
    expect(nodesOf(e.pow(x, 3))).toBe(3);
    expect(nodesOf(e.pow(x, 0.5))).toBe(2);
    expect(nodesOf(e.div(x, 4), e.mul(x, 0.25))).toBe(3);
  });
});

describe("constant folding", () => {
  it("computes what needs no operand", () => {
    expect(fold(e.add(x, e.mul(e.exp(0), e.sub(5, 2))))).toEqual(e.add(x, 3));
    expect(fold(e.select(e.lt(1, 2), x, e.log(x)))).toEqual(x);
    expect(fold(e.mul(e.add(0, e.neg(e.neg(e.div(x, 1)))), e.sigmoid(0)))).toEqual(e.mul(x, 0.5));
  });

  it("keeps what NaN or infinity would change", () => {
    expect(fold(e.mul(x, 0))).toEqual(e.mul(x, 0));
    expect(fold(e.sub(x, x))).toEqual(e.sub(x, x));
  });
});
