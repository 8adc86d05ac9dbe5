// Transposes around matrix products disappear into them, and nothing that is computed changes.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { relativeError } from "../engine/testing.ts";
import { differentiate } from "../program/differentiate.ts";
import type { OpAttrs, OpKind, Program, TensorType } from "../program/ir.ts";
import { interpret } from "../program/reference.ts";
import type { Tensor } from "../program/tensor.ts";
import { randomFeed, randomFrom } from "../program/testing.ts";
import { trace } from "../program/trace.ts";
import { verify } from "../program/verify.ts";
import { absorbTransposes, eliminateDeadCode } from "./index.ts";

const f32 = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });

const absorbed = (program: Program): Program => {
  const after = eliminateDeadCode(absorbTransposes(program));
  verify(after);
  return after;
};

const kinds = ({ ops }: Program): OpKind[] => ops.map(({ kind }) => kind);

function expectSameOutputs(before: Program, after: Program, seed = 1): void {
  const { inputs } = randomFeed(before, randomFrom(seed));
  const [expected, actual] = [before, after].map((program) => interpret(program, inputs).outputs);
  expect(Object.keys(actual!)).toEqual(Object.keys(expected!));
  for (const [name, values] of Object.entries(expected!)) {
    expect(relativeError([...(actual![name] as Float64Array)], [...(values as Float64Array)]), name).toBeLessThan(
      1e-12,
    );
  }
}

describe("absorbed transposes", () => {
  it("attention written with transposes needs none, nor do its gradients", () => {
    const inputs = { q: f32(2, 5, 6), k: f32(2, 4, 6), v: f32(2, 4, 6) };
    const heads = (x: Tensor): Tensor => x.reshape([2, -1, 3, 2]).transpose([0, 2, 1, 3]);
    const forward = trace(
      ({ q, k, v }) => {
        const scores = heads(q).matmul(heads(k).transpose([0, 1, 3, 2]));
        const probabilities = scores.mul(1 / Math.sqrt(2)).softmax();
        const context = probabilities.matmul(heads(v)).transpose([0, 2, 1, 3]);
        return { loss: context.reshape([2, 5, 6]).square().sum() };
      },
      { inputs },
    );
    const { program, inputGradients } = differentiate(forward, { loss: "loss", inputs: ["q", "k", "v"] });
    const plain = { ...program, outputs: { ...program.outputs, ...inputGradients } };
    const after = absorbed(plain);
    expect(kinds(plain).filter((kind) => kind === "transpose").length).toBeGreaterThan(5);
    expect(kinds(after)).not.toContain("transpose");
    expectSameOutputs(plain, after);
  });

  it("any permutations of batches, where rows or columns lie together", () => {
    const perm = fc.constantFrom([0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]);
    fc.assert(
      fc.property(perm, perm, perm, (left, right, result) => {
        const stored = (shape: number[], order: readonly number[]): TensorType =>
          f32(...shape.map((_, axis) => shape[order.indexOf(axis)]!));
        const before = trace(({ a, b }) => a.transpose(left).matmul(b.transpose(right)).transpose(result), {
          inputs: { a: stored([2, 3, 4], left), b: stored([2, 4, 5], right) },
        });
        const after = absorbed(before);
        // What has its last axis among the batches stays a copy.
        const copies = [left, right].filter((order) => order[0] === 2).length + (result.indexOf(0) === 2 ? 1 : 0);
        expect(kinds(after).filter((kind) => kind === "transpose")).toHaveLength(copies);
        expectSameOutputs(before, after);
      }),
    );
  });

  it("plain products read transposed operands by their flags", () => {
    const before = trace(({ a, b }) => a.transpose().matmul(b.transpose().transpose().transpose()), {
      inputs: { a: f32(3, 2), b: f32(4, 3) },
    });
    const after = absorbed(before);
    expect(kinds(after)).toEqual(["matmul"]);
    expect(after.ops[0]!.attrs).toMatchObject({ transposeA: true, transposeB: true } satisfies OpAttrs["matmul"]);
    expectSameOutputs(before, after);
  });

  it("a product between two others is transposed once", () => {
    const inputs = { a: f32(2, 3, 4), b: f32(2, 4, 5), c: f32(2, 3, 6) };
    const before = trace(({ a, b, c }) => a.matmul(b).transpose([0, 2, 1]).matmul(c), { inputs });
    const after = absorbed(before);
    expect(kinds(after)).toEqual(["batch_matmul", "batch_matmul"]);
    expectSameOutputs(before, after);
  });

  it("results that others read too, or that the program gives, stay as they are", () => {
    const inputs = { a: f32(2, 3, 4), b: f32(2, 4, 5) };
    const before = trace(
      ({ a, b }) => {
        const product = a.matmul(b);
        return { product, turned: product.transpose([0, 2, 1]) };
      },
      { inputs },
    );
    const after = absorbed(before);
    expect(kinds(after)).toEqual(["batch_matmul", "transpose"]);
    expectSameOutputs(before, after);
  });
});
