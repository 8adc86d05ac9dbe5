// What lowered ops compute on the engine, against the float64 reference of the ops themselves, over shapes that do not fill
// vectors.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { extent, extentOrZero, floats, tensors } from "../engine/ops/against-reference.ts";
import { wasmProvider } from "../engine/providers/index.ts";
import { scratchBytes } from "../engine/scratch.ts";
import { Bench, relativeError, type Tensor, tensor, testHeap } from "../engine/testing.ts";
import { ProgramBuilder } from "../program/builder.ts";
import type { Op, OpAttrs, OpKind, Program } from "../program/ir.ts";
import { definitionFor } from "../program/ops/catalogue.ts";
import { plan } from "../program/planner.ts";
import { interpret } from "../program/reference.ts";
import { verify } from "../program/verify.ts";
import { lower } from "./lower.ts";

const heap = testHeap();
const provider = wasmProvider(heap);

interface Case<K extends OpKind> {
  readonly kind: K;
  readonly inputs: readonly Tensor[];
  readonly attrs: OpAttrs[K];
}

/** A program of one op, whose operands are named by their positions; those that it writes are parameters. */
function programOf<K extends OpKind>({ kind, inputs, attrs }: Case<K>): Program {
  const builder = new ProgramBuilder();
  const written = definitionFor({ kind, attrs } as unknown as Op).writes?.(attrs as never) ?? [];
  const ids = inputs.map(({ shape, dtype }, i) =>
    written.includes(i)
      ? builder.parameter(`${i}`, shape, { kind: "zeros" }, { trainable: false })
      : builder.input(`${i}`, { shape, dtype }),
  );
  for (const [i, id] of builder.emit(kind, ids, attrs).entries()) builder.output(`${i}`, id);
  return builder.build();
}

/** The op's results by its lowered program on the engine, and the parameters afterwards. */
function run<K extends OpKind>(op: Case<K>): { outputs: number[][]; parameters: Record<string, number[]> } {
  const lowered = lower(programOf(op));
  verify(lowered);
  expect(lowered.ops.map(({ kind }) => kind)).not.toContain(op.kind);
  const planned = plan(lowered, { scratch: (signature) => scratchBytes(signature, provider) });
  const bench = new Bench(planned, { heap, provider });
  for (const named of [planned.inputs, planned.parameters]) {
    for (const [name, operand] of Object.entries(named)) bench.write(operand, op.inputs[Number(name)]!.data);
  }
  bench.executable.run();
  const outputs = Object.values(planned.outputs).map((operand) => bench.read(operand));
  const parameters = Object.fromEntries(
    Object.entries(planned.parameters).map(([name, operand]) => [name, bench.read(operand)]),
  );
  bench.executable.dispose();
  heap.free(bench.arena);
  heap.free(bench.shared);
  return { outputs, parameters };
}

/** Runs the op both ways and compares the outputs and what was written over its operands. */
function expectLowered<K extends OpKind>(op: Case<K>, tolerance: number): void {
  const actual = run(op);
  const program = programOf(op);
  const named = (names: Readonly<Record<string, unknown>>): Record<string, Float64Array> =>
    Object.fromEntries(Object.keys(names).map((name) => [name, Float64Array.from(op.inputs[Number(name)]!.data)]));
  const parameters = named(program.parameters);
  const { outputs } = interpret(program, named(program.inputs), { parameters });
  for (const [i, output] of Object.values(outputs).entries()) {
    expect(relativeError(actual.outputs[i]!, Array.from(output, Number)), `output ${i}`).toBeLessThanOrEqual(tolerance);
  }
  for (const [name, values] of Object.entries(parameters)) {
    expect(relativeError(actual.parameters[name]!, [...values]), `operand ${name}`).toBeLessThanOrEqual(tolerance);
  }
}

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
        expectLowered({ kind: "softmax", inputs: inputs.map((x) => scaled(x, factor)), attrs: {} }, 1e-6);
      }),
      runs,
    );
  });

  test("softmax_grad", () => {
    const cases = matrix.chain((shape) => tensors(shape, shape));
    fc.assert(
      fc.property(cases, (inputs) => void expectLowered({ kind: "softmax_grad", inputs, attrs: {} }, 1e-4)),
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
        expectLowered({ kind: "softmax_cross_entropy", inputs: [scaled(logits, factor), labels], attrs: {} }, 3e-6);
      }),
      runs,
    );
  });

  test("softmax_cross_entropy_grad", () => {
    fc.assert(
      fc.property(labelled, ([probabilities, labels, dloss]) => {
        expectLowered({ kind: "softmax_cross_entropy_grad", inputs: [dloss, probabilities, labels], attrs: {} }, 1e-6);
      }),
      runs,
    );
  });

  test("a label that is no class makes the loss NaN", () => {
    for (const label of [-1, 3]) {
      const { outputs } = run({
        kind: "softmax_cross_entropy",
        inputs: [tensor([1, 3], [1, 2, 3]), tensor([1], [label], "i32")],
        attrs: {},
      });
      expect(outputs[0]![0]).toBeNaN();
      expect(outputs[1]!.every((p) => p > 0)).toBe(true);
    }
  });

  test("logits far apart neither overflow nor vanish", () => {
    const { outputs } = run({
      kind: "softmax_cross_entropy",
      inputs: [tensor([2, 3], [1000, -1000, 0, -1e30, -1e30, -1e30]), tensor([2], [0, 1], "i32")],
      attrs: {},
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
      fc.property(cases, (inputs) => void expectLowered({ kind: "layer_norm", inputs, attrs }, 2e-4)),
      runs,
    );
  });

  test("layer_norm_grad", () => {
    const cases = fc
      .tuple(fc.nat(3), extent, extent)
      .chain(([a, b, n]) => tensors([a, b, n], [a, b, n], [n], [a, b], [a, b]));
    fc.assert(
      fc.property(cases, (inputs) => void expectLowered({ kind: "layer_norm_grad", inputs, attrs: {} }, 2e-4)),
      runs,
    );
  });

  /** Sums are taken from row 0 on, which keeps their digits where it is a row like the others: padding stands last. */
  const weights = (batch: number): fc.Arbitrary<Tensor> =>
    fc
      .array(fc.constantFrom(0, 1, 1), { minLength: batch, maxLength: batch })
      .map((data) => tensor([batch], [1, ...data].slice(0, batch)));

  test("batch_norm in training and inference", () => {
    const cases = matrix.chain(([batch, n]) => fc.tuple(tensors([batch, n], [n], [n], [n], [n]), weights(batch)));
    fc.assert(
      fc.property(cases, fc.boolean(), ([[x, gamma, beta, mean, variance], weight], training) => {
        const positive = scaled({ ...variance!, data: variance!.data.map(Math.abs) }, 1, 0.125);
        const inputs = [x!, gamma!, beta!, mean!, positive, weight];
        expectLowered({ kind: "batch_norm", inputs, attrs: { ...attrs, momentum: 0.9, training } }, 2e-4);
      }),
      runs,
    );
  });

  test("batch_norm of nothing but padding leaves the running values", () => {
    const row = tensor([2], [1, 2]);
    const inputs = [tensor([2, 2], [5, 6, 7, 8]), row, row, row, row, tensor([2], [0, 0])];
    expectLowered({ kind: "batch_norm", inputs, attrs: { ...attrs, momentum: 0.9, training: true } }, 1e-3);
  });

  test("batch_norm_grad", () => {
    const cases = matrix.chain(([batch, n]) =>
      fc.tuple(tensors([batch, n], [batch, n], [n], [n], [n]), weights(batch)),
    );
    fc.assert(
      fc.property(
        cases,
        ([inputs, weight]) =>
          void expectLowered({ kind: "batch_norm_grad", inputs: [...inputs, weight], attrs: {} }, 2e-4),
      ),
      runs,
    );
  });

  test("gradients of batch norm in bf16 stay, where the provider has the processor's bf16, unless rows have weights", () => {
    const vector = tensor([3], [1, 2, 3]);
    const kinds = (dtype: "f32" | "bf16", ...more: Tensor[]): string[] => {
      const x = { ...tensor([2, 3], [1, 2, 3, 4, 5, 6]), dtype };
      const inputs = [x, x, vector, vector, vector, ...more];
      const program = programOf({ kind: "batch_norm_grad", inputs, attrs: dtype === "f32" ? {} : { dtype } });
      return lower(program, { nativeBf16: true }).ops.map(({ kind }) => kind);
    };
    expect(kinds("bf16")).toEqual(["batch_norm_grad"]);
    expect(kinds("f32")).not.toContain("batch_norm_grad");
    expect(kinds("bf16", tensor([2], [1, 0]))).not.toContain("batch_norm_grad");
  });
});
