// Rows of a weight matrix by integer ids, and the gradient of the matrix: dense, for vocabularies that fit.
import { ShapeError } from "../errors.ts";
import type { FloatType, TensorType, ValueId } from "../ir.ts";
import { cast } from "./broadcast.ts";
import {
  expectCount,
  expectFloat,
  expectRank,
  expectShape,
  expectType,
  f32,
  numbers,
  type OpDefinition,
} from "./definition.ts";

function expectIds(type: TensorType): void {
  if (type.dtype !== "i32" && type.dtype !== "u32") throw new ShapeError(`ids must be i32 or u32, got ${type.dtype}`);
}

/** weights [V,D], ids [..] → [..,D] of the weights' type; an id that is none of 0…V−1 gives a row of NaN. */
export const embedding: OpDefinition<"embedding"> = {
  infer(inputs) {
    expectCount(inputs, 2);
    const [weights, ids] = inputs as [TensorType, TensorType];
    expectFloat(weights, "the weights");
    expectRank(weights, 2, "the weights");
    expectIds(ids);
    return [{ shape: [...ids.shape, weights.shape[1]!], dtype: weights.dtype }];
  },
  gradient({ op, builder, outputGradients, needs }) {
    const [weights, ids] = op.inputs as [ValueId, ValueId];
    if (!needs[0]) return [undefined, undefined];
    const { shape, dtype } = builder.typeOf(weights);
    const dy = cast(builder, outputGradients[0]!, "f32");
    const [dw] = builder.emit("embedding_grad", [ids, dy], { rows: shape[0]! });
    return [cast(builder, dw!, dtype as FloatType), undefined];
  },
  reference({ inputs, outputs }) {
    const [weights, ids, out] = [numbers(inputs[0]), numbers(inputs[1]), numbers(outputs[0])];
    const [rows, dim] = inputs[0]!.shape as [number, number];
    for (const [at, id] of ids.entries()) {
      const known = id >= 0 && id < rows;
      for (let j = 0; j < dim; j++) out[at * dim + j] = known ? weights[id * dim + j]! : Number.NaN;
    }
  },
};

/** ids [..], dy [..,D] → dweights f32 [V,D]: the sum over the occurrences of each id; unknown ids add nothing. */
export const embedding_grad: OpDefinition<"embedding_grad"> = {
  infer(inputs, { rows }) {
    expectCount(inputs, 2);
    const [ids, dy] = inputs as [TensorType, TensorType];
    expectIds(ids);
    expectType(dy, "f32", "the gradient");
    if (!Number.isInteger(rows) || rows < 0) throw new ShapeError(`${rows} rows are no number of rows`);
    const dim = dy.shape.at(-1) ?? 0;
    expectShape(dy, [...ids.shape, dim], "the gradient");
    return [f32(rows, dim)];
  },
  reference({ attrs, inputs, outputs }) {
    const [ids, dy, dw] = [numbers(inputs[0]), numbers(inputs[1]), numbers(outputs[0])];
    const dim = outputs[0]!.shape[1]!;
    for (const [at, id] of ids.entries()) {
      if (id < 0 || id >= attrs.rows) continue;
      for (let j = 0; j < dim; j++) dw[id * dim + j]! += dy[at * dim + j]!;
    }
  },
};
