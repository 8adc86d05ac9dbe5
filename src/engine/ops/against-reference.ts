// For tests: an op on the cpu device beside the program's float64 reference of the same op.
import fc from "fast-check";
import { expect } from "vitest";
import type { OpKind } from "../../program/ir.ts";
import { definitionOf } from "../../program/ops/catalogue.ts";
import type { NdArray, OpDefinition } from "../../program/ops/definition.ts";
import { sizeOf } from "../tensor.ts";
import { type OpCase, relativeError, runOp, type Tensor, tensor } from "../testing.ts";

const toArray = ({ shape, data }: Tensor): NdArray => ({ shape, data: Float64Array.from(data) });

/** Runs an op both ways and compares the outputs and what was written over the inputs. */
export function expectReference(op: Omit<OpCase, "outputs">, tolerance = 1e-5): number[][] {
  const definition = definitionOf(op.kind as OpKind) as unknown as OpDefinition<"softmax">;
  const attrs = op.attrs ?? {};
  const types = definition.infer(op.inputs, attrs, () => {
    throw new Error("no tables here");
  });
  const inputs = op.inputs.map(toArray);
  const outputs = types.map(({ shape }) => ({ shape, data: new Float64Array(sizeOf(shape)) }));
  definition.reference({
    attrs,
    inputs,
    outputs,
    table: () => {
      throw new Error("no tables here");
    },
  });
  const actual = runOp({ ...op, outputs: types });
  for (const [i, output] of outputs.entries()) {
    expect(relativeError(actual.outputs[i]!, [...output.data]), `output ${i}`).toBeLessThanOrEqual(tolerance);
  }
  for (const [i, input] of inputs.entries()) {
    expect(
      relativeError(actual.inputs[i]!, [...(input.data as Float64Array)]),
      `input ${i} afterwards`,
    ).toBeLessThanOrEqual(tolerance);
  }
  return actual.outputs;
}

const element = fc.integer({ min: -3000, max: 3000 }).map((n) => Math.fround(n / 1000));

/** A tensor of f32 numbers in [-3, 3]. */
export const floats = (shape: readonly number[]): fc.Arbitrary<Tensor> =>
  fc.array(element, { minLength: sizeOf(shape), maxLength: sizeOf(shape) }).map((data) => tensor(shape, data));

/** Extents that meet vector widths, their neighbours and nothing at all. */
export const extent: fc.Arbitrary<number> = fc.oneof(
  fc.integer({ min: 1, max: 9 }),
  fc.constantFrom(16, 17, 31, 33, 64, 65),
);

export const extentOrZero: fc.Arbitrary<number> = fc.oneof(
  { weight: 9, arbitrary: extent },
  { weight: 1, arbitrary: fc.constant(0) },
);

/** Tensors of the given shapes, in order. */
export const tensors = (...shapes: readonly (readonly number[])[]): fc.Arbitrary<Tensor[]> =>
  fc.tuple(...shapes.map(floats));
