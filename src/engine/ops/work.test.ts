// Convolutions, pooling, batched products, embeddings and recurrent layers on the cpu device against the program's reference:
// how operands, attributes and scratch memory reach the provider and the kernels.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { runOp, tensor } from "../testing.ts";
import { expectReference, tensors } from "./against-reference.ts";

const runs = { numRuns: 25 };
const small = fc.integer({ min: 1, max: 6 });

describe("pictures", () => {
  const conv = { stride: [2, 1], padding: [1, 0, 1, 2], dilation: [1, 2], groups: 2 } as const;
  const [x, w, y] = [
    [2, 5, 4, 4],
    [3, 2, 2, 6],
    [2, 2, 5, 6],
  ];

  test("conv2d and its gradients", () => {
    fc.assert(
      fc.property(tensors(x!, w!, y!, [6]), ([pictures, weights, dy, bias]) => {
        expectReference({ kind: "conv2d", inputs: [pictures!, weights!], attrs: conv });
        const attrs = { ...conv, activation: "relu" };
        expectReference({ kind: "conv2d", inputs: [pictures!, weights!, bias!], attrs });
        expectReference({ kind: "conv2d_input_grad", inputs: [dy!, weights!], attrs: { ...conv, shape: x } });
        for (const withBias of [false, true]) {
          const of = { ...conv, shape: w, bias: withBias };
          expectReference({ kind: "conv2d_weight_grad", inputs: [pictures!, dy!], attrs: of });
        }
      }),
      { numRuns: 5 },
    );
  });

  test("pool2d and its gradient", () => {
    const window = { kernel: [3, 2], stride: [2, 1], padding: [1, 0, 0, 1], countPadding: true, training: true };
    fc.assert(
      fc.property(tensors([2, 5, 4, 3], [2, 2, 4, 3]), ([pictures, dy]) => {
        const [, places] = expectReference({ kind: "pool2d", inputs: [pictures!], attrs: { ...window, mode: "max" } });
        expectReference({ kind: "pool2d", inputs: [pictures!], attrs: { ...window, mode: "average" } });
        const shape = [2, 5, 4, 3];
        const known = tensor([2, 2, 4, 3], places!, "u8");
        expectReference({ kind: "pool2d_grad", inputs: [dy!, known], attrs: { ...window, mode: "max", shape } });
        expectReference({ kind: "pool2d_grad", inputs: [dy!], attrs: { ...window, mode: "average", shape } });
      }),
      { numRuns: 5 },
    );
  });
});

describe("norms that stay ops", () => {
  test("batch_norm_grad", () => {
    const shapes = fc.tuple(small, small, fc.integer({ min: 1, max: 20 }));
    const cases = shapes.chain(([b, h, n]) => tensors([b, h, n], [b, h, n], [n], [n], [n]));
    fc.assert(
      fc.property(cases, ([dy, x, gamma, mean, spread]) => {
        const rstd = tensor(
          spread!.shape,
          [...spread!.data].map((v) => 0.5 + Math.abs(v as number)),
        );
        const inputs = [dy!, x!, gamma!, mean!, rstd];
        expectReference({ kind: "batch_norm_grad", inputs, attrs: { epsilon: 1e-5 } }, 1e-4);
      }),
      runs,
    );
  });
});

describe("batch_matmul", () => {
  test("in all layouts", () => {
    const perms = fc.constantFrom(undefined, [0, 2, 1, 3], [0, 2, 3, 1], [1, 0, 3, 2]);
    // What is multiplied has this shape, what lies in memory is its transpose.
    const stored = (shape: readonly number[], perm: readonly number[] | undefined): readonly number[] =>
      perm === undefined ? shape : shape.map((_, axis) => shape[perm.indexOf(axis)]!);
    const cases = fc
      .tuple(small, small, small, fc.boolean(), fc.boolean(), perms, perms, perms)
      .chain(([m, n, k, transposeA, transposeB, permA, permB, permC]) => {
        const a = [2, 3, ...(transposeA ? [k, m] : [m, k])];
        const b = [2, 3, ...(transposeB ? [n, k] : [k, n])];
        const attrs = {
          ...{ transposeA, transposeB },
          ...(permA && { permA }),
          ...(permB && { permB }),
          ...(permC && { permC }),
        };
        return fc.tuple(tensors(stored(a, permA), stored(b, permB)), fc.constant(attrs));
      });
    fc.assert(
      fc.property(cases, ([inputs, attrs]) => void expectReference({ kind: "batch_matmul", inputs, attrs })),
      { numRuns: 60 },
    );
  });
});

describe("embedding", () => {
  const shape = fc.tuple(small, fc.integer({ min: 1, max: 19 }), fc.integer({ min: 0, max: 9 }));

  test("gathers rows and adds their gradients", () => {
    const cases = shape.chain(([rows, dim, count]) =>
      fc.tuple(
        tensors([rows, dim], [count, dim]),
        fc.array(fc.integer({ min: 0, max: rows - 1 }), { minLength: count, maxLength: count }),
      ),
    );
    fc.assert(
      fc.property(cases, ([[weights, dy], ids]) => {
        const of = tensor([ids.length], ids, "i32");
        expectReference({ kind: "embedding", inputs: [weights!, of] });
        const attrs = { rows: weights!.shape[0] };
        expectReference({ kind: "embedding_grad", inputs: [of, dy!], attrs });
      }),
      runs,
    );
  });

  test.each(["bf16", "f16"] as const)("gathers rows of %s", (dtype) => {
    const weights = tensor([2, 3], [1.5, -2, 0.25, 8, 0, -0.5], dtype);
    const { outputs } = runOp({
      kind: "embedding",
      inputs: [weights, tensor([3], [1, 7, 0], "u32")],
      outputs: [tensor([3, 3], [], dtype)],
    });
    expect(outputs[0]).toEqual([8, 0, -0.5, Number.NaN, Number.NaN, Number.NaN, 1.5, -2, 0.25]);
  });

  test("unknown ids read and write nothing", () => {
    const ids = tensor([3], [2, -1, 1], "i32");
    const { outputs } = runOp({
      kind: "embedding",
      inputs: [tensor([2, 1], [5, 6]), ids],
      outputs: [tensor([3, 1], [])],
    });
    expect(outputs[0]).toEqual([Number.NaN, Number.NaN, 6]);
    const sums = runOp({
      kind: "embedding_grad",
      inputs: [ids, tensor([3, 1], [1, 2, 3])],
      outputs: [tensor([2, 1], [])],
      attrs: { rows: 2 },
    });
    expect(sums.outputs[0]).toEqual([0, 3]);
  });
});

describe("recurrent layers", () => {
  test("lstm, gru and their gradients", () => {
    const shape = fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 3 }), fc.constantFrom(1, 3, 4, 9));
    const cases = shape.chain(([t, b, h]) =>
      tensors([t, b, 4 * h], [h, 4 * h], [t, b, 3 * h], [h, 3 * h], [3 * h], [b, h], [b, h], [t, b, h]),
    );
    fc.assert(
      fc.property(cases, ([xw, w, xw3, w3, bias, h0, c0, dy]) => {
        const [, cells, gates] = expectReference({ kind: "lstm", inputs: [xw!, w!, h0!, c0!] });
        const like = (data: number[], shape: readonly number[]) => tensor(shape, data);
        const kept = [like(gates!, xw!.shape), like(cells!, dy!.shape)];
        expectReference({ kind: "lstm_grad", inputs: [dy!, ...kept, w!, c0!] }, 1e-4);
        const [y, own] = expectReference({ kind: "gru", inputs: [xw3!, w3!, bias!, h0!] });
        const states = [like(own!, xw!.shape), like(y!, dy!.shape)];
        expectReference({ kind: "gru_grad", inputs: [dy!, ...states, w3!, h0!] }, 1e-4);
      }),
      runs,
    );
  });
});
