// softmax, its cross-entropy, the norms and fm against the reference, over shapes that do not fill vectors.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { relativeError, runOp, type Tensor, tensor } from "../testing.ts";
import { expectReference, extent, extentOrZero, floats, tensors } from "./against-reference.ts";

const matrix = fc.tuple(extentOrZero, extent);
const runs = { numRuns: 50 };
const scaled = (x: Tensor, factor: number, shift = 0): Tensor => ({
  ...x,
  data: x.data.map((v) => Math.fround(v * factor + shift)),
});

describe("softmax", () => {
  test("softmax", () => {
    const cases = fc.tuple(fc.nat(3), extentOrZero, extent).chain((shape) => tensors(shape));
    fc.assert(
      fc.property(cases, fc.constantFrom(1, 20, 40), (inputs, factor) => {
        expectReference({ kind: "softmax", inputs: inputs.map((x) => scaled(x, factor)) }, 1e-6);
      }),
      runs,
    );
  });

  test("softmax_grad", () => {
    const cases = matrix.chain((shape) => tensors(shape, shape));
    fc.assert(
      fc.property(cases, (inputs) => void expectReference({ kind: "softmax_grad", inputs }, 1e-4)),
      runs,
    );
  });

  const labelled = matrix.chain(([batch, n]) =>
    fc.tuple(
      floats([batch, n]),
      fc.array(fc.nat(n - 1), { minLength: batch, maxLength: batch }).map((labels) => tensor([batch], labels, "i32")),
      floats([batch]),
    ),
  );

  test("softmax_cross_entropy", () => {
    fc.assert(
      fc.property(labelled, fc.constantFrom(1, 25), ([logits, labels], factor) => {
        expectReference({ kind: "softmax_cross_entropy", inputs: [scaled(logits, factor), labels] }, 3e-6);
      }),
      runs,
    );
  });

  test("softmax_cross_entropy_grad", () => {
    fc.assert(
      fc.property(labelled, ([probabilities, labels, dloss]) => {
        expectReference({ kind: "softmax_cross_entropy_grad", inputs: [dloss, probabilities, labels] }, 1e-6);
      }),
      runs,
    );
  });

  test("a label that is no class makes the loss NaN", () => {
    for (const label of [-1, 3]) {
      const { outputs } = runOp({
        kind: "softmax_cross_entropy",
        inputs: [tensor([1, 3], [1, 2, 3]), tensor([1], [label], "i32")],
        outputs: [tensor([1], []), tensor([1, 3], [])],
      });
      expect(outputs[0]![0]).toBeNaN();
      expect(outputs[1]!.every((p) => p > 0)).toBe(true);
    }
  });

  test("logits far apart neither overflow nor vanish", () => {
    const { outputs } = runOp({
      kind: "softmax_cross_entropy",
      inputs: [tensor([2, 3], [1000, -1000, 0, -1e30, -1e30, -1e30]), tensor([2], [0, 1], "i32")],
      outputs: [tensor([2], []), tensor([2, 3], [])],
    });
    expect(relativeError(outputs[0]!, [0, Math.log(3)])).toBeLessThan(1e-6);
    expect(relativeError(outputs[1]!, [1, 0, 0, 1 / 3, 1 / 3, 1 / 3])).toBeLessThan(1e-6);
  });
});

describe("norms", () => {
  const attrs = { epsilon: 1e-3 };

  test("layer_norm", () => {
    const cases = fc.tuple(extentOrZero, extent).chain(([rows, n]) => tensors([rows, n], [n], [n]));
    fc.assert(
      fc.property(cases, (inputs) => void expectReference({ kind: "layer_norm", inputs, attrs }, 2e-4)),
      runs,
    );
  });

  test("layer_norm_grad", () => {
    const cases = fc
      .tuple(fc.nat(3), extent, extent)
      .chain(([a, b, n]) => tensors([a, b, n], [a, b, n], [n], [a, b], [a, b]));
    fc.assert(
      fc.property(cases, (inputs) => void expectReference({ kind: "layer_norm_grad", inputs }, 2e-4)),
      runs,
    );
  });

  const weights = (batch: number): fc.Arbitrary<Tensor> =>
    fc.array(fc.constantFrom(0, 1, 1), { minLength: batch, maxLength: batch }).map((data) => tensor([batch], data));

  test("batch_norm in training and inference", () => {
    const cases = matrix.chain(([batch, n]) => fc.tuple(tensors([batch, n], [n], [n], [n], [n]), weights(batch)));
    fc.assert(
      fc.property(cases, fc.boolean(), ([[x, gamma, beta, mean, variance], weight], training) => {
        const positive = scaled({ ...variance!, data: variance!.data.map(Math.abs) }, 1, 0.125);
        const inputs = [x!, gamma!, beta!, mean!, positive, weight];
        expectReference({ kind: "batch_norm", inputs, attrs: { ...attrs, momentum: 0.9, training } }, 2e-4);
      }),
      runs,
    );
  });

  test("batch_norm of nothing but padding leaves the running values", () => {
    const row = tensor([2], [1, 2]);
    const inputs = [tensor([2, 2], [5, 6, 7, 8]), row, row, row, row, tensor([2], [0, 0])];
    expectReference({ kind: "batch_norm", inputs, attrs: { ...attrs, momentum: 0.9, training: true } }, 1e-3);
  });

  test("batch_norm_grad", () => {
    const cases = matrix.chain(([batch, n]) =>
      fc.tuple(tensors([batch, n], [batch, n], [n], [n], [n]), weights(batch)),
    );
    fc.assert(
      fc.property(
        cases,
        ([inputs, weight]) => void expectReference({ kind: "batch_norm_grad", inputs: [...inputs, weight] }, 2e-4),
      ),
      runs,
    );
  });
});

describe("factorisation machine", () => {
  const shape = fc.tuple(fc.nat(5), fc.nat(7), fc.oneof(extent, fc.constantFrom(20, 48)));

  test("fm", () => {
    fc.assert(
      fc.property(
        shape.chain((s) => tensors(s)),
        ([x]) => void expectReference({ kind: "fm", inputs: [scaled(x!, 0.25)] }, 2e-4),
      ),
      runs,
    );
  });

  test("fm_grad", () => {
    const cases = shape.chain(([batch, fields, dim]) => tensors([batch, 1], [batch, fields, dim], [batch, dim]));
    fc.assert(
      fc.property(cases, (inputs) => void expectReference({ kind: "fm_grad", inputs }, 1e-5)),
      runs,
    );
  });
});
